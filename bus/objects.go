package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"myriad/program"
)

// Objects keeps large records by name. It is what NATS calls an object store,
// and its tools can read it: a stream that has, for each object, chunks, and a
// message that describes them.
type Objects struct {
	conn   *Conn
	name   string
	mu     sync.Mutex
	stream jetstream.Stream // nil: not opened yet
}

// objectChunk is how large a message of an object is, in bytes: few messages,
// and none too long on a slow line.
const objectChunk = 256 << 10

// Objects gives the object store of that name. It is made when something is
// written to it; who only reads need not be able to make one.
func (c *Conn) Objects(ctx context.Context, name string) (*Objects, error) {
	return &Objects{conn: c, name: name}, ctx.Err()
}

// objectStream is the name of the stream of an object store.
func objectStream(name string) string { return "OBJ_" + name }

func (o *Objects) chunks(id string) string { return "$O." + o.name + ".C." + id }
func (o *Objects) meta(name string) string {
	return "$O." + o.name + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// open opens the stream, and makes it if need be.
func (o *Objects) open(ctx context.Context) (jetstream.Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream != nil {
		return o.stream, nil
	}
	s, err := o.conn.keep(ctx, "open records of "+o.name, func(copies int) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: objectStream(o.name), Subjects: []string{"$O." + o.name + ".C.>", "$O." + o.name + ".M.>"}, Replicas: copies,
			MaxBytes: -1, Discard: jetstream.DiscardNew, AllowRollup: true, AllowDirect: true, Duplicates: duplicates,
		}
	})
	if err == nil {
		o.stream = s
	}
	return s, err
}

// Put writes an object.
func (o *Objects) Put(ctx context.Context, name string, value []byte) error {
	op := "write record " + o.name + "/" + name
	if err := o.conn.room(op, len(value)); err != nil {
		return err
	}
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	before, err := o.last(ctx, op, s, name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(value)
	info := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: objectChunk}},
		Bucket:     o.name, NUID: nuid.Next(), Size: uint64(len(value)), Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(sum[:]),
	}
	for rest := value; len(rest) > 0 && err == nil; info.Chunks++ {
		n := min(len(rest), objectChunk)
		_, err = o.conn.write(ctx, op, s, &nats.Msg{Subject: o.chunks(info.NUID), Data: rest[:n]})
		rest = rest[n:]
	}
	if err == nil {
		err = o.describe(ctx, op, s, &info)
	}
	if err != nil {
		o.purge(context.WithoutCancel(ctx), s, info.NUID)
		return err
	}
	if before != nil {
		o.purge(ctx, s, before.NUID)
	}
	return nil
}

// describe writes the message that makes an object be there, or be gone.
func (o *Objects) describe(ctx context.Context, op string, s jetstream.Stream, info *jetstream.ObjectInfo) error {
	b, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("encode object: %w", err)
	}
	_, err = o.conn.write(ctx, op, s, &nats.Msg{Subject: o.meta(info.Name), Data: b, Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}})
	return err
}

// purge drops chunks that nothing speaks of any more. If that fails they take
// room, no more.
func (o *Objects) purge(ctx context.Context, s jetstream.Stream, id string) {
	_ = o.conn.try(ctx, "delete chunks", func(ctx context.Context) error {
		return s.Purge(ctx, jetstream.WithPurgeSubject(o.chunks(id)))
	})
}

// last gives the description that was written last; nil where there is none.
func (o *Objects) last(ctx context.Context, op string, s jetstream.Stream, name string) (*jetstream.ObjectInfo, error) {
	var info *jetstream.ObjectInfo
	err := o.conn.try(ctx, op, func(ctx context.Context) error {
		m, err := s.GetLastMsgForSubject(ctx, o.meta(name))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil {
			info, err = parseInfo(m.Data)
		}
		return err
	})
	return info, err
}

// parseInfo reads the description of an object.
func parseInfo(b []byte) (*jetstream.ObjectInfo, error) {
	var info jetstream.ObjectInfo
	if err := json.Unmarshal(b, &info); err != nil {
		return nil, fmt.Errorf("the description of an object is damaged: %w", err)
	}
	return &info, nil
}

// Delete removes an object; one that is not there is no error.
func (o *Objects) Delete(ctx context.Context, name string) error {
	op := "delete record " + o.name + "/" + name
	if err := o.conn.room(op, 0); err != nil {
		return err
	}
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	info, err := o.last(ctx, op, s, name)
	if err != nil || info == nil || info.Deleted {
		return err
	}
	gone := *info
	gone.Deleted, gone.Size, gone.Chunks, gone.Digest = true, 0, 0, ""
	if err := o.describe(ctx, op, s, &gone); err != nil {
		return err
	}
	o.purge(ctx, s, info.NUID)
	return nil
}

// Names lists the objects, in no order.
func (o *Objects) Names(ctx context.Context) ([]string, error) {
	op := "list records of " + o.name
	s, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	prefix := "$O." + o.name + ".M."
	subjects, err := o.conn.subjects(ctx, op, s, prefix+">")
	var names []string
	for _, subject := range subjects {
		name, err := base64.URLEncoding.DecodeString(subject[len(prefix):])
		if err != nil {
			continue // not ours
		}
		info, err := o.last(ctx, op, s, string(name))
		if err != nil {
			return nil, err
		}
		if info != nil && !info.Deleted {
			names = append(names, info.Name)
		}
	}
	return names, err
}

// Get reads an object, and checks it against its digest. Thousands may read
// at once: no server keeps anything for whoever reads.
func (o *Objects) Get(ctx context.Context, name string) ([]byte, error) {
	if o.conn.agent {
		return o.conn.fetch(ctx, servedAs(o.name, false), "read record "+o.name+"/"+name, name)
	}
	return o.records(ctx, name)
}

// records reads an object where it is kept: one message, and one more for each
// chunk. What somebody writes anew meanwhile is read again.
func (o *Objects) records(ctx context.Context, name string) (value []byte, err error) {
	op := "read record " + o.name + "/" + name
	for range 3 {
		var whole bool
		if value, whole, err = o.get(ctx, op, name); whole || err != nil {
			return value, err
		}
	}
	return nil, &program.Problem{Kind: program.KindInternal, Rack: -1, Op: op, Cause: "it does not have the bytes that its digest says"}
}

// get reads an object once; whole tells that it has its digest.
func (o *Objects) get(ctx context.Context, op, name string) (value []byte, whole bool, err error) {
	m, err := o.read(ctx, op, direct{subject: o.meta(name)})
	if err != nil {
		return nil, false, err
	}
	info, err := parseInfo(m.Data)
	switch {
	case err != nil:
		return nil, false, o.conn.kept(op, err)
	case info.Deleted:
		return nil, false, o.conn.kept(op, jetstream.ErrObjectNotFound)
	case info.Size > biggest:
		return nil, false, &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: op, Cause: "it has more than 256 MiB"}
	}
	value = make([]byte, 0, info.Size)
	seq := uint64(0)
	for range info.Chunks {
		m, err := o.read(ctx, op, direct{subject: o.chunks(info.NUID), after: seq, next: true})
		if p := ProblemOf(err); p != nil && p.Kind == program.KindNotFound {
			return nil, false, nil // it was replaced meanwhile
		} else if err != nil {
			return nil, false, err
		}
		if seq, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
			return nil, false, o.conn.kept(op, fmt.Errorf("the server gave a chunk without its place: %w", err))
		}
		if value = append(value, m.Data...); len(value) > int(info.Size) {
			return nil, false, nil
		}
	}
	sum := sha256.Sum256(value)
	want, err := jetstream.DecodeObjectDigest(info.Digest)
	return value, err == nil && bytes.Equal(sum[:], want), nil
}

// direct says which message of a stream is wanted: the last one of a subject,
// or the next one after a place in the stream.
type direct struct {
	subject string
	after   uint64
	next    bool
}

// read asks any server that has the stream for a message. One that has it not,
// or not yet, may be behind the others: then the stream's leader is asked,
// which knows. This is ADR-31 of NATS.
func (o *Objects) read(ctx context.Context, op string, d direct) (m *nats.Msg, err error) {
	err = o.conn.try(ctx, op, func(ctx context.Context) error {
		subject, body := "$JS.API.DIRECT.GET."+objectStream(o.name)+"."+d.subject, []byte(nil)
		if d.next {
			subject, body = "$JS.API.DIRECT.GET."+objectStream(o.name), fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, d.after+1, d.subject)
		}
		m, err = o.conn.nats.RequestWithContext(ctx, subject, body)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			return err
		}
		if err == nil && m.Header.Get("Status") == "" {
			return nil
		}
		m, err = o.readLeader(ctx, d)
		return err
	})
	return m, err
}

// readLeader asks the leader of the stream.
func (o *Objects) readLeader(ctx context.Context, d direct) (*nats.Msg, error) {
	body := fmt.Appendf(nil, `{"last_by_subj":%q}`, d.subject)
	if d.next {
		body = fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, d.after+1, d.subject)
	}
	r, err := o.conn.nats.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+objectStream(o.name), body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(r.Data, &answer); err != nil {
		return nil, fmt.Errorf("the server's answer is damaged: %w", err)
	}
	switch {
	case answer.Error != nil && answer.Error.Code == 404:
		return nil, jetstream.ErrMsgNotFound // the message, or the stream
	case answer.Error != nil:
		return nil, answer.Error
	case answer.Message == nil:
		return nil, errors.New("the server's answer has neither message nor error")
	}
	m := &nats.Msg{Data: answer.Message.Data, Header: nats.Header{}}
	m.Header.Set(jetstream.SequenceHeader, strconv.FormatUint(answer.Message.Seq, 10))
	return m, nil
}
