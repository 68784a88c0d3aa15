package rack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Frames sends and receives the frames of the wire on a connection. Send may
// be called by several goroutines at once, Receive by one.
type Frames struct {
	r    *bufio.Reader
	body []byte // of the frame being received

	mu  sync.Mutex // held while sending
	w   io.Writer
	out bytes.Buffer // the frame being sent
}

// keepBuffer is the largest buffer that is kept between frames: a rack's
// whole specification passes once, and must not stay in memory for ever.
const keepBuffer = 256 << 10

// NewFrames makes frames of the bytes of a connection.
func NewFrames(rw io.ReadWriter) *Frames {
	return &Frames{r: bufio.NewReaderSize(rw, 4<<10), w: rw}
}

// wire is how values become bytes. The limits keep a hostile frame from
// costing much more memory than its own length; the longest array that is
// meant is that of the routes of a full rack, a few hundred for each vnode.
var wire = sync.OnceValue(func() (m struct {
	enc cbor.UserBufferEncMode
	dec cbor.DecMode
}) {
	var err error
	if m.enc, err = (cbor.EncOptions{}).UserBufferEncMode(); err != nil {
		panic(err)
	}
	m.dec, err = cbor.DecOptions{
		MaxNestedLevels:  16,
		MaxArrayElements: 1 << 22,
		MaxMapPairs:      1 << 8,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		UTF8:             cbor.UTF8DecodeInvalid, // arguments are bytes, not text
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
})

// Send writes one value as a frame.
func (f *Frames) Send(v any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.Reset()
	f.out.Write([]byte{0, 0, 0, 0})
	if err := wire().enc.MarshalToBuffer(v, &f.out); err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	b := f.out.Bytes()
	if len(b)-4 > MaxFrame {
		f.out = bytes.Buffer{}
		return fmt.Errorf("send frame: %d bytes, more than the %d of a frame", len(b)-4, MaxFrame)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := f.w.Write(b)
	if f.out.Cap() > keepBuffer {
		f.out = bytes.Buffer{}
	}
	return err
}

// Receive reads one frame into v, which must point to a zero value: fields
// that the frame leaves out are left alone. At the end of the connection,
// between frames, it returns io.EOF.
func (f *Frames) Receive(v any) error {
	var head [4]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("receive frame: %w", err)
		}
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("receive frame: %d bytes announced, more than the %d of a frame", n, MaxFrame)
	}
	if err := f.readBody(int(n)); err != nil {
		return fmt.Errorf("receive frame: %w", err)
	}
	if err := wire().dec.Unmarshal(f.body, v); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	if cap(f.body) > keepBuffer {
		f.body = nil
	}
	return nil
}

// readBody reads n bytes, growing its memory as they come rather than as they
// were announced.
func (f *Frames) readBody(n int) error {
	const step = 1 << 20
	f.body = f.body[:0]
	for len(f.body) < n {
		from := len(f.body)
		to := min(n, max(from+step, 2*from))
		if cap(f.body) < to {
			grown := make([]byte, from, to)
			copy(grown, f.body)
			f.body = grown
		}
		f.body = f.body[:to]
		if _, err := io.ReadFull(f.r, f.body[from:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
