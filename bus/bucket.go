package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"myriad/program"
)

// Bucket keeps small records by key: letters, digits and -/_=. in any key. It
// is what NATS calls a key-value store, and its tools can read it.
type Bucket struct {
	conn   *Conn
	name   string
	stream jetstream.Stream
}

// duplicates is how long the server remembers what it has taken, and so how
// long trying again may take.
const duplicates = 2 * time.Minute

// Bucket opens the bucket of that name, and makes it if need be.
func (c *Conn) Bucket(ctx context.Context, name string) (*Bucket, error) {
	s, err := c.keep(ctx, "open records of "+name, func(copies int) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"}, Replicas: copies,
			MaxMsgsPerSubject: 1, MaxMsgSize: 1 << 20, MaxBytes: -1, MaxMsgs: -1, MaxConsumers: -1,
			AllowRollup: true, DenyDelete: true, Discard: jetstream.DiscardNew, Duplicates: duplicates,
			// Of several servers only the leader has surely heard of what was written last.
			AllowDirect: copies == 1,
		}
	})
	return &Bucket{c, name, s}, err
}

func (b *Bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// check refuses keys that are none.
func (b *Bucket) check(op, key string) error {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-/_=.", r)
	}
	other := strings.ContainsFunc(key, func(r rune) bool { return !plain(r) })
	if key == "" || other || key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, "..") {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: op, Cause: strconv.Quote(key) + " is no key of a record"}
	}
	return nil
}

// write writes the record of a key with the given headers, by twos.
func (b *Bucket) write(ctx context.Context, op, key string, value []byte, headers ...string) (uint64, error) {
	op += " record " + b.name + "/" + key
	if err := b.check(op, key); err != nil {
		return 0, err
	}
	m := &nats.Msg{Subject: b.subject(key), Data: value, Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	return b.conn.write(ctx, op, b.stream, m)
}

// Put writes the record of a key. It is whole or not there after a crash.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) error {
	_, err := b.write(ctx, "write", key, value)
	return err
}

// last reads what was written last for a key; gone tells that this is a mark
// of having been deleted.
func (b *Bucket) last(ctx context.Context, op, key string) (m *jetstream.RawStreamMsg, gone bool, err error) {
	op += " record " + b.name + "/" + key
	if err := b.check(op, key); err != nil {
		return nil, false, err
	}
	err = b.conn.try(ctx, op, func(ctx context.Context) (err error) {
		m, err = b.stream.GetLastMsgForSubject(ctx, b.subject(key))
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return m, m.Header.Get(operation) != "", nil
}

// operation is the header of a mark of deletion.
const operation = "KV-Operation"

// Get reads the record of a key.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	value, _, err := b.GetRev(ctx, key)
	return value, err
}

// GetRev reads the record of a key, and its revision.
func (b *Bucket) GetRev(ctx context.Context, key string) ([]byte, uint64, error) {
	m, gone, err := b.last(ctx, "read", key)
	if err != nil {
		return nil, 0, err
	}
	if gone {
		return nil, 0, b.conn.kept("read record "+b.name+"/"+key, jetstream.ErrMsgNotFound)
	}
	return m.Data, m.Sequence, nil
}

// Create writes the record of a key that has none, and gives its revision.
// One that is there is a program.Problem of KindConflict.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	m, gone, err := b.last(ctx, "make", key)
	switch {
	case err == nil && gone:
		return b.update(ctx, "make", key, value, m.Sequence)
	case err == nil || ProblemOf(err).Kind == program.KindNotFound:
		return b.update(ctx, "make", key, value, 0)
	}
	return 0, err
}

// Update writes the record of a key if its revision is rev still, and gives
// the new one. If it is not, that is a program.Problem of KindConflict.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	return b.update(ctx, "change", key, value, rev)
}

func (b *Bucket) update(ctx context.Context, op, key string, value []byte, rev uint64) (uint64, error) {
	return b.write(ctx, op, key, value, jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(rev, 10))
}

// Delete removes the record of a key, and what was there before it. One that
// is not there is no error.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	_, err := b.write(ctx, "delete", key, nil, operation, "PURGE", jetstream.MsgRollup, jetstream.MsgRollupSubject)
	return err
}

// Keys lists the keys that have a record, in no order.
func (b *Bucket) Keys(ctx context.Context) ([]string, error) {
	prefix := b.subject("")
	subjects, err := b.conn.subjects(ctx, "list records of "+b.name, b.stream, prefix+">")
	var keys []string
	for _, s := range subjects {
		key := strings.TrimPrefix(s, prefix)
		_, gone, err := b.last(ctx, "read", key)
		switch p := ProblemOf(err); {
		case err == nil && !gone:
			keys = append(keys, key)
		case err != nil && p.Kind != program.KindNotFound:
			return nil, err
		}
	}
	return keys, err
}

// subjects lists what a stream has messages of.
func (c *Conn) subjects(ctx context.Context, op string, s jetstream.Stream, filter string) (list []string, err error) {
	err = c.try(ctx, op, func(ctx context.Context) error {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return err
		}
		list = list[:0]
		for subject := range info.State.Subjects {
			list = append(list, subject)
		}
		return nil
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	return list, err
}
