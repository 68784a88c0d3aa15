package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"myriad/program"
)

// keepTimeout bounds an operation whose context has no deadline.
const keepTimeout = 10 * time.Second

func (c *Conn) jetstream() (jetstream.JetStream, error) {
	js, err := jetstream.New(c.nats, jetstream.WithDefaultTimeout(keepTimeout))
	return js, kept("open records", err)
}

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

// Bucket keeps small records by key.
type Bucket struct {
	conn *Conn
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
	return &Bucket{c, name, kv}, kept("open records of "+name, err)
}

// Put writes the record of a key. It is whole or not there after a crash.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) error {
	op := "write record " + b.name + "/" + key
	if err := b.conn.room(op, len(value)); err != nil {
		return err
	}
	_, err := b.kv.Put(ctx, key, value)
	return kept(op, err)
}

// Get reads the record of a key.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := b.kv.Get(ctx, key)
	if err != nil {
		return nil, kept("read record "+b.name+"/"+key, err)
	}
	return e.Value(), nil
}

// GetRev reads the record of a key, and its revision.
func (b *Bucket) GetRev(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := b.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, kept("read record "+b.name+"/"+key, err)
	}
	return e.Value(), e.Revision(), nil
}

// Create writes the record of a key that has none, and gives its revision.
// One that is there is a program.Problem of KindConflict.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	op := "make record " + b.name + "/" + key
	if err := b.conn.room(op, len(value)); err != nil {
		return 0, err
	}
	rev, err := b.kv.Create(ctx, key, value)
	return rev, kept(op, err)
}

// Update writes the record of a key if its revision is rev still, and gives
// the new one. If it is not, that is a program.Problem of KindConflict.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	op := "change record " + b.name + "/" + key
	if err := b.conn.room(op, len(value)); err != nil {
		return 0, err
	}
	rev, err := b.kv.Update(ctx, key, value, rev)
	return rev, kept(op, err)
}

// Delete removes the record of a key, and what was there before it.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	op := "delete record " + b.name + "/" + key
	if err := b.conn.room(op, 0); err != nil {
		return err
	}
	return kept(op, b.kv.Purge(ctx, key))
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
	conn  *Conn
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
	return &Objects{c, name, store}, kept("open records of "+name, err)
}

// Put writes an object.
func (o *Objects) Put(ctx context.Context, name string, value []byte) error {
	op := "write record " + o.name + "/" + name
	if err := o.conn.room(op, len(value)); err != nil {
		return err
	}
	_, err := o.store.PutBytes(ctx, name, value)
	return kept(op, err)
}

// Get reads an object, and checks it against its digest.
func (o *Objects) Get(ctx context.Context, name string) ([]byte, error) {
	b, err := o.store.GetBytes(ctx, name)
	return b, kept("read record "+o.name+"/"+name, err)
}

// Delete removes an object; one that is not there is no error.
func (o *Objects) Delete(ctx context.Context, name string) error {
	op := "delete record " + o.name + "/" + name
	if err := o.conn.room(op, 0); err != nil {
		return err
	}
	err := o.store.Delete(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	return kept(op, err)
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
	conn   *Conn
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
	return &Log{c, name, js, stream}, kept("open log "+name, err)
}

// Append adds an entry at the end.
func (l *Log) Append(ctx context.Context, entry []byte) error {
	op := "append to log " + l.name
	if err := l.conn.room(op, len(entry)); err != nil {
		return err
	}
	_, err := l.js.Publish(ctx, Subject("log", l.name), entry)
	return kept(op, err)
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

// kept says what is wrong with the records.
func kept(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrObjectNotFound) {
		return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: op, Cause: "there is none"}
	}
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: op, Cause: "somebody else has written it"}
	}
	p := &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: err.Error(), Remedy: "if the disk of the state directory is at fault, mend it and restart the daemon"}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) {
		p.Cause = "the records do not answer"
	}
	return p
}

// objectStream is the name of the stream of an object store.
func objectStream(name string) string { return "OBJ_" + name }
