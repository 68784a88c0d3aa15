package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sys/unix"

	"myriad/program"
)

// Times of an operation on records. While the servers of a cluster choose a
// leader, which takes them a few seconds after they lost one, it is tried
// again.
const (
	keepTimeout  = 20 * time.Second // of an operation whose context has no deadline
	ownPatience  = 2 * time.Second  // for the server in this process: it has nobody to wait for
	keepAttempt  = 2 * time.Second
	keepInterval = 100 * time.Millisecond // between attempts, at first
)

// copies is how many servers of a cluster keep a record, if nobody says
// another number: one of them may fail.
const copies = 3

// reserve is what is left free on the disk of the records: what the server
// writes beside them must not fail, as it does not recover from that.
const reserve = 4 << 20

// room refuses to write what the disk has no room for. Removing something
// takes room too, at first.
func (c *Conn) room(op string, size int) error {
	var fs unix.Statfs_t
	if c.dir == "" || unix.Statfs(c.dir, &fs) != nil || fs.Bavail*uint64(fs.Bsize) >= uint64(size)+reserve {
		return nil
	}
	return &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: op, Cause: "the file system of " + c.dir + " is full", Remedy: "make room there"}
}

// try calls f, with a context for one attempt, until it succeeds, fails for
// what waiting does not mend, or the time is over. f may so be called again
// after an attempt that did succeed, but of which the answer was lost.
func (c *Conn) try(ctx context.Context, op string, f func(context.Context) error) error {
	return c.tryEach(ctx, op, keepAttempt, f)
}

// tryEach is try with attempts of a given length.
func (c *Conn) tryEach(ctx context.Context, op string, length time.Duration, f func(context.Context) error) error {
	patience := keepTimeout
	if c.dir != "" {
		patience = ownPatience
	}
	end := time.Now().Add(patience)
	if d, ok := ctx.Deadline(); ok && (c.dir == "" || d.Before(end)) {
		end = d
	}
	if most := time.Now().Add(duplicates - length); end.After(most) {
		end = most // later the servers would take it for another one
	}
	for wait := keepInterval; ; wait = min(2*wait, time.Second) {
		attempt, cancel := context.WithTimeout(ctx, length)
		err := f(attempt)
		cancel()
		switch {
		case ctx.Err() != nil && err != nil:
			return c.kept(op, ctx.Err())
		case !passing(err) || time.Now().Add(wait).After(end):
			return c.kept(op, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		case <-c.ctx.Done():
			return c.kept(op, nats.ErrConnectionClosed)
		}
	}
}

// passing tells whether waiting may mend what an attempt failed with.
func passing(err error) bool {
	var api *jetstream.APIError
	switch {
	case err == nil, errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return false
	case errors.As(err, &api):
		return api.Code == 503 || api.ErrorCode == codeInProcess
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected)
}

// Codes of the server's errors (its errors.json) that the client has no names
// for.
const (
	codeNoPeers      jetstream.ErrorCode = 10005 // the cluster has not that many servers up
	codeStorage      jetstream.ErrorCode = 10047 // nor enough room on them
	codeNotClustered jetstream.ErrorCode = 10074
	codeInProcess    jetstream.ErrorCode = 10158 // the same message is on its way already
)

// keep makes a stream of records as wanted, or as well as the servers can.
// config gives its form for a number of copies.
func (c *Conn) keep(ctx context.Context, op string, config func(copies int) jetstream.StreamConfig) (s jetstream.Stream, err error) {
	if c.agent {
		return nil, &program.Problem{Kind: program.KindPermission, Rack: -1, Op: op, Cause: "who joins by a token has no records"}
	}
	js, err := jetstream.New(c.nats, jetstream.WithDefaultTimeout(keepAttempt))
	if err != nil {
		return nil, c.kept(op, err)
	}
	want := c.replicas
	if want == 0 {
		want = copies
	}
	since := time.Now()
	err = c.try(ctx, op, func(ctx context.Context) error {
		s, err = js.CreateOrUpdateStream(ctx, config(want))
		if errors.Is(err, nats.ErrNoResponders) && time.Since(since) > ownPatience {
			return jetstream.ErrJetStreamNotEnabled // nor is any server just starting
		}
		var api *jetstream.APIError
		if want == 1 || !errors.As(err, &api) {
			return err
		}
		switch api.ErrorCode {
		case codeNotClustered:
			s, err = js.CreateOrUpdateStream(ctx, config(1))
		case codeNoPeers, codeStorage:
			// What is kept in more places stays so. What is new is kept once, and
			// more often when it is opened again and the servers are there.
			if s, err = js.Stream(ctx, config(1).Name); errors.Is(err, jetstream.ErrStreamNotFound) && c.replicas == 0 {
				s, err = js.CreateOrUpdateStream(ctx, config(1))
				c.say("the servers of the bus cannot keep %s in %d places (%v); one is not safe against its loss", config(1).Name, want, api.Description)
			}
		}
		return err
	})
	return s, err
}

func (c *Conn) say(format string, args ...any) {
	if c.logf != nil {
		c.logf("bus: "+format, args...)
	}
}

// write has a message kept, exactly once however often that takes to try, and
// gives its place in the stream.
func (c *Conn) write(ctx context.Context, op string, s jetstream.Stream, m *nats.Msg) (seq uint64, err error) {
	if err := c.room(op, len(m.Data)); err != nil {
		return 0, err
	}
	js, err := jetstream.New(c.nats)
	if err != nil {
		return 0, c.kept(op, err)
	}
	id := nuid.Next()
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set(jetstream.MsgIDHeader, id)
	tries := 0
	err = c.try(ctx, op, func(ctx context.Context) error {
		tries++
		ack, err := js.PublishMsg(ctx, m)
		if err == nil {
			seq = ack.Sequence
		} else if conflict(err) && tries > 1 {
			// Perhaps with ourselves: the answer to an earlier attempt was lost.
			last, e := s.GetLastMsgForSubject(ctx, m.Subject)
			if e != nil || last.Header.Get(jetstream.MsgIDHeader) != id {
				return err
			}
			seq, err = last.Sequence, nil
		}
		return err
	})
	return seq, err
}

// conflict tells whether somebody else was first.
func conflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == codeWrongLast)
}

// codeWrongLast is another code for the same, of newer servers.
const codeWrongLast jetstream.ErrorCode = 10164

// Log keeps the last entries of a list that only grows at its end.
type Log struct {
	conn   *Conn
	name   string
	stream jetstream.Stream
}

// Log opens the log of that name, and makes it if need be. It keeps about the
// given number of entries.
func (c *Conn) Log(ctx context.Context, name string, entries int64) (*Log, error) {
	s, err := c.keep(ctx, "open log "+name, func(copies int) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: []string{Subject("log", name)}, Replicas: copies,
			MaxMsgs: entries, MaxBytes: 64 << 20, Discard: jetstream.DiscardOld,
		}
	})
	return &Log{c, name, s}, err
}

// Append adds an entry at the end.
func (l *Log) Append(ctx context.Context, entry []byte) error {
	_, err := l.conn.write(ctx, "append to log "+l.name, l.stream, &nats.Msg{Subject: Subject("log", l.name), Data: entry})
	return err
}

// Read calls f with every entry that is kept, oldest first, until f says no.
func (l *Log) Read(ctx context.Context, f func(entry []byte) bool) error {
	op := "read log " + l.name
	var state jetstream.StreamState
	err := l.conn.try(ctx, op, func(ctx context.Context) error {
		info, err := l.stream.Info(ctx)
		if err == nil {
			state = info.State
		}
		return err
	})
	for seq := state.FirstSeq; err == nil && seq <= state.LastSeq; seq++ {
		var m *jetstream.RawStreamMsg
		err = l.conn.try(ctx, op, func(ctx context.Context) (err error) {
			m, err = l.stream.GetMsg(ctx, seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil // it made room for newer ones meanwhile
			}
			return err
		})
		if err == nil && m != nil && !f(m.Data) {
			return nil
		}
	}
	return err
}

// kept says what is wrong with the records.
func (c *Conn) kept(op string, err error) error {
	var p *program.Problem
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &p) {
		return err
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
		return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: op, Cause: "there is none"}
	case conflict(err):
		return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: op, Cause: "somebody else has written it"}
	}
	p = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: err.Error(), Remedy: "if the disk of the state directory is at fault, mend it and restart the daemon"}
	if c.dir == "" {
		p.Remedy = "see that the servers of the bus run, most of them at least, with JetStream"
	}
	if passing(err) {
		p.Cause = "the records do not answer"
	}
	return p
}
