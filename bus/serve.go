package bus

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myriad/program"
)

// Agents do not read records themselves: they have no right to, and their
// servers may be relays that keep none. They ask for an object piece by piece.
// The coordinator answers, from a copy that it holds while it is asked for;
// and so does a relay for its site, so that what thousands of agents there
// read crosses the line between the sites once.
//
// Those who answer are of one queue group: a server gives a question to one
// that is its own, if there is one. A relay asks on a subject of its own, as it
// would else ask itself.

// wanted asks for a piece of an object.
type wanted struct {
	Name   string
	Offset int // bytes
}

// piece is a piece of an object.
type piece struct {
	Size   int               // of the object, in bytes
	Digest [sha256.Size]byte // of the object
	Data   []byte
}

const (
	servers    = "objects" // the queue group
	shelfSize  = 128 << 20 // bytes of objects that are held to answer from
	fetchAhead = 4         // pieces that are asked for at once
	// fetchAttempt lets pieces come over a line of 1 Mbit/s.
	fetchAttempt = 15 * time.Second
)

// servedAs is the subject of questions for an object store; relayed: from
// relays.
func servedAs(store string, relayed bool) string {
	if relayed {
		store += "-relayed"
	}
	return Subject(store)
}

// Serve answers agents and relays that read objects of the store, until the
// connection is closed.
func (o *Objects) Serve() error {
	s := &shelf{load: o.records}
	for _, relayed := range []bool{false, true} {
		if err := o.conn.serve(s, servedAs(o.name, relayed)); err != nil {
			return err
		}
	}
	return nil
}

// relay answers agents of a site, from what it fetches itself.
func (c *Conn) relay(store string) error {
	s := &shelf{load: func(ctx context.Context, name string) ([]byte, error) {
		return c.fetch(ctx, servedAs(store, true), "read record "+store+"/"+name, name)
	}}
	return c.serve(s, servedAs(store, false))
}

// serve answers one question after the other, so that however many ask,
// little more than what they ask for is held.
func (c *Conn) serve(s *shelf, subject string) error {
	_, err := c.nats.QueueSubscribe(subject, servers, func(m *nats.Msg) {
		var q wanted
		err := Decode(m.Data, &q)
		var p piece
		if err == nil {
			p, err = s.piece(c.ctx, q)
		}
		c.answer(m, p, err)
	})
	return problem("serve "+subject, err)
}

// shelf holds the objects that were asked for last.
type shelf struct {
	load func(ctx context.Context, name string) ([]byte, error)

	mu    sync.Mutex
	books list.List // of *book, the one asked for last in front
	size  int
}

type book struct {
	name   string
	bytes  []byte
	digest [sha256.Size]byte
}

// piece gives the piece of an object that begins at the offset.
func (s *shelf) piece(ctx context.Context, q wanted) (piece, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.find(ctx, q.Name)
	if err != nil {
		return piece{}, err
	}
	if q.Offset < 0 || q.Offset > len(b.bytes) {
		return piece{}, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read " + q.Name, Cause: fmt.Sprintf("it has %d bytes, and none at %d", len(b.bytes), q.Offset)}
	}
	end := min(q.Offset+objectChunk, len(b.bytes))
	return piece{Size: len(b.bytes), Digest: b.digest, Data: b.bytes[q.Offset:end]}, nil
}

func (s *shelf) find(ctx context.Context, name string) (*book, error) {
	for e := s.books.Front(); e != nil; e = e.Next() {
		if b := e.Value.(*book); b.name == name {
			s.books.MoveToFront(e)
			return b, nil
		}
	}
	value, err := s.load(ctx, name)
	if err != nil {
		return nil, err
	}
	b := &book{name, value, sha256.Sum256(value)}
	s.books.PushFront(b)
	s.size += len(value)
	for s.size > shelfSize && s.books.Len() > 1 {
		s.size -= len(s.books.Remove(s.books.Back()).(*book).bytes)
	}
	return b, nil
}

// fetch reads an object from those who serve it, and checks it against the
// digest they tell.
func (c *Conn) fetch(ctx context.Context, subject, op, name string) ([]byte, error) {
	first, err := c.fetchPiece(ctx, subject, op, wanted{Name: name})
	if err != nil {
		return nil, err
	}
	if first.Size < len(first.Data) || first.Size > biggest || len(first.Data) == 0 && first.Size > 0 {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: op, Cause: fmt.Sprintf("it is said to have %d bytes", first.Size)}
	}
	value := make([]byte, first.Size)
	at := copy(value, first.Data)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	slots := make(chan struct{}, fetchAhead)
	for ; at < len(value) && ctx.Err() == nil; at += objectChunk {
		from := at
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			p, err := c.fetchPiece(ctx, subject, op, wanted{name, from})
			if err == nil && (p.Size != first.Size || p.Digest != first.Digest || len(p.Data) != min(objectChunk, len(value)-from)) {
				err = &program.Problem{Kind: program.KindConflict, Rack: -1, Op: op, Cause: "somebody writes it anew"}
			}
			if err != nil {
				cancel(err)
				return
			}
			copy(value[from:], p.Data)
		})
	}
	work.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(value); !bytes.Equal(sum[:], first.Digest[:]) {
		return nil, &program.Problem{Kind: program.KindInternal, Rack: -1, Op: op, Cause: "it does not have the bytes that its digest says"}
	}
	return value, nil
}

// fetchPiece asks until there is an answer.
func (c *Conn) fetchPiece(ctx context.Context, subject, op string, q wanted) (p piece, err error) {
	b, err := Encode(q)
	if err != nil {
		return p, err
	}
	err = c.tryEach(ctx, op, fetchAttempt, func(ctx context.Context) error {
		m, err := c.ask(ctx, subject, b)
		if errors.Is(err, errLost) {
			return nats.ErrDisconnected // ask again
		}
		if err != nil {
			return err
		}
		p, err = answered[piece](op, m, nil)
		return err
	})
	return p, err
}
