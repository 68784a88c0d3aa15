package rack

import (
	"bytes"
	"time"
)

// batch gathers outputs and exits into frames, so that a thousand short
// processes cost tens of frames.
type batch struct {
	frames  *Frames
	data    []byte // what outputs refer to; never moved while they do
	outputs []Output
	exits   []Exit
	first   time.Time     // when the oldest of them came
	sent    time.Time     // when the last frame went
	pause   time.Duration // before the next
	broken  bool          // the client is gone: what comes is dropped
}

const (
	batchSize = 192 << 10 // of data
	readSize  = 64 << 10  // what a pipe holds
	lineSize  = 8 << 10   // longer lines are passed on in pieces

	quickFlush  = 5 * time.Millisecond  // after silence
	steadyFlush = 50 * time.Millisecond // between frames, while many vnodes have more
)

// newBatch makes a batch for a call to so many vnodes. Where there are few, a
// person may be waiting for each line.
func newBatch(frames *Frames, vnodes int) batch {
	return batch{
		frames: frames,
		data:   make([]byte, 0, batchSize),
		pause:  min(time.Duration(vnodes)*quickFlush, steadyFlush),
	}
}

// room gives memory to read into, where took will find it. It makes room by
// sending what there is.
func (b *batch) room(s *stream) ([]byte, error) {
	var err error
	if cap(b.data)-len(b.data) < len(s.held)+readSize {
		err = b.flush(true)
	}
	from := len(b.data) + len(s.held)
	return b.data[from : from+readSize], err
}

// took accounts for n bytes that were read into room: whole lines go into the
// batch, the rest is held until its line ends.
func (b *batch) took(vnode string, stderr bool, s *stream, n int) {
	from := len(b.data)
	chunk := b.data[from : from+len(s.held)+n]
	copy(chunk, s.held)
	end := bytes.LastIndexByte(chunk, '\n') + 1
	if len(chunk)-end > lineSize {
		end = len(chunk)
	}
	s.held = append(s.held[:0], chunk[end:]...)
	if end > 0 {
		b.data = b.data[:from+end]
		b.output(Output{Vnode: vnode, Stderr: stderr, Data: chunk[:end:end]})
	}
}

// last passes on a line that will not end.
func (b *batch) last(vnode string, stderr bool, s *stream) {
	if len(s.held) > 0 {
		b.output(Output{Vnode: vnode, Stderr: stderr, Data: bytes.Clone(s.held)})
		s.held = s.held[:0]
	}
}

func (b *batch) output(o Output) {
	b.begin()
	b.outputs = append(b.outputs, o)
}

func (b *batch) exit(e ...Exit) {
	if len(e) > 0 {
		b.begin()
		b.exits = append(b.exits, e...)
	}
}

func (b *batch) begin() {
	if len(b.outputs)+len(b.exits) == 0 {
		b.first = time.Now()
	}
}

// due is when flush has something to send: zero if there is nothing.
func (b *batch) due() time.Time {
	if len(b.outputs)+len(b.exits) == 0 {
		return time.Time{}
	}
	quick, steady := b.first.Add(quickFlush), b.sent.Add(b.pause)
	if quick.After(steady) {
		return quick
	}
	return steady
}

// flush sends what is due, or everything at once. Its error says that the
// client is gone, once.
func (b *batch) flush(all bool) error {
	due := b.due()
	if due.IsZero() || !all && time.Now().Before(due) {
		return nil
	}
	var err error
	if !b.broken {
		err = b.frames.Send(&Reply{Outputs: b.outputs, Exits: b.exits})
		b.broken = err != nil
	}
	b.outputs, b.exits, b.data = b.outputs[:0], b.exits[:0], b.data[:0]
	b.sent = time.Now()
	return err
}
