package bus

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"myriad/program"
)

// keepTimeout bounds an operation whose context has no deadline.
const keepTimeout = 10 * time.Second

func (c *Conn) jetstream() (jetstream.JetStream, error) {
	js, err := jetstream.New(c.nats, jetstream.WithDefaultTimeout(keepTimeout))
	return js, kept("open records", err)
}

// Bucket keeps small records by key.
type Bucket struct {
	name string
	kv   jetstream.KeyValue
}

// Bucket opens the bucket of that name, and makes it if need be.
func (c *Conn) Bucket(ctx context.Context, name string) (*Bucket, error) {
	js, err := c.jetstream()
	if err != nil {
		return nil, err
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, MaxValueSize: 1 << 20})
	return &Bucket{name, kv}, kept("open records of "+name, err)
}

// Put writes the record of a key. It is whole or not there after a crash.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) error {
	_, err := b.kv.Put(ctx, key, value)
	return kept("write record "+b.name+"/"+key, err)
}

// Get reads the record of a key.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := b.kv.Get(ctx, key)
	if err != nil {
		return nil, kept("read record "+b.name+"/"+key, err)
	}
	return e.Value(), nil
}

// Delete removes the record of a key, and what was there before it.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	return kept("delete record "+b.name+"/"+key, b.kv.Purge(ctx, key))
}

// Keys lists the keys that have a record, in no order.
func (b *Bucket) Keys(ctx context.Context) ([]string, error) {
	keys, err := b.kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	return keys, kept("list records of "+b.name, err)
}

// Objects keeps large records by name.
type Objects struct {
	name  string
	store jetstream.ObjectStore
}

// Objects opens the object store of that name, and makes it if need be.
func (c *Conn) Objects(ctx context.Context, name string) (*Objects, error) {
	js, err := c.jetstream()
	if err != nil {
		return nil, err
	}
	store, err := js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: name})
	return &Objects{name, store}, kept("open records of "+name, err)
}

// Put writes an object.
func (o *Objects) Put(ctx context.Context, name string, value []byte) error {
	_, err := o.store.PutBytes(ctx, name, value)
	return kept("write record "+o.name+"/"+name, err)
}

// Get reads an object, and checks it against its digest.
func (o *Objects) Get(ctx context.Context, name string) ([]byte, error) {
	b, err := o.store.GetBytes(ctx, name)
	return b, kept("read record "+o.name+"/"+name, err)
}

// Delete removes an object; one that is not there is no error.
func (o *Objects) Delete(ctx context.Context, name string) error {
	err := o.store.Delete(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	return kept("delete record "+o.name+"/"+name, err)
}

// Names lists the objects, in no order.
func (o *Objects) Names(ctx context.Context) ([]string, error) {
	infos, err := o.store.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	return names, kept("list records of "+o.name, err)
}

// Log keeps the last entries of a list that only grows at its end.
type Log struct {
	name   string
	js     jetstream.JetStream
	stream jetstream.Stream
}

// Log opens the log of that name, and makes it if need be. It keeps about the
// given number of entries.
func (c *Conn) Log(ctx context.Context, name string, entries int64) (*Log, error) {
	js, err := c.jetstream()
	if err != nil {
		return nil, err
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{Subject("log", name)},
		MaxMsgs: entries, MaxBytes: 64 << 20, Discard: jetstream.DiscardOld,
	})
	return &Log{name, js, stream}, kept("open log "+name, err)
}

// Append adds an entry at the end.
func (l *Log) Append(ctx context.Context, entry []byte) error {
	_, err := l.js.Publish(ctx, Subject("log", l.name), entry)
	return kept("append to log "+l.name, err)
}

// Read calls f with every entry that is kept, oldest first, until f says no.
func (l *Log) Read(ctx context.Context, f func(entry []byte) bool) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return kept("read log "+l.name, err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := l.stream.GetMsg(ctx, seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue // it made room for newer ones meanwhile
		case err != nil:
			return kept("read log "+l.name, err)
		case !f(m.Data):
			return nil
		}
	}
	return nil
}

// kept says what is wrong with the records, in one sentence for each of the
// few things that go wrong with a disk.
func kept(op string, err error) error {
	if err == nil {
		return nil
	}
	p := &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: err.Error()}
	switch text := err.Error(); {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
		p.Kind, p.Cause = program.KindNotFound, "there is none"
	case strings.Contains(text, syscall.ENOSPC.Error()):
		p.Kind, p.Remedy = program.KindExhausted, "make room on the file system of the state directory"
	case strings.Contains(text, syscall.EROFS.Error()), strings.Contains(text, "not enabled"):
		p.Remedy = "the state directory cannot be written; choose another with --state-dir, or mend it and restart the daemon"
	case errors.Is(err, context.Canceled):
		return err
	}
	return p
}
