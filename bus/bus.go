// Package bus carries messages between the coordinator and the agents, and
// keeps what must outlive them. It is the only importer of NATS.
//
// On one machine the NATS server lives in the process that uses it and has no
// port; agents on other machines reach one by URL. Above this package the two
// look the same:
//
//   - Publish and Subscribe spread announcements;
//   - Request and Handle are one question and one answer;
//   - Open and HandleStream are calls that carry messages both ways for as
//     long as they take, and in which a slow reader slows the writer down;
//   - Bucket, Objects and Log keep small records, large ones and events.
//
// Values cross as CBOR, errors as program.Problem. A message that is larger
// than a NATS server takes by default belongs in a stream or in Objects.
//
// # When a connection is lost
//
// It is sought for ever. Meanwhile Publish fails, rather than being heard
// later when it is no longer true; a Request waits for the connection, and
// fails if it goes before the answer. Streams number their messages: one in
// which nothing is under way goes on when the connection is back, any other one
// ends with a program.Problem at both sides, within some seconds, and what was
// received till then is what was sent, in order. A question that the bus
// delivers twice is answered once. Records are tried again until the servers of
// a cluster have a new leader, and are written exactly once.
//
// # Who may do what
//
// A server of ours listens where it is told to, by TLS 1.3, to those who know
// the secret. An agent's user name is its pnode's. It may hear calls to that
// pnode and the coordinator's announcements, announce what agents announce,
// ask for programs, and answer. It may not hear or ask other agents, lead,
// or touch records; a server grants that by name and subject, so a bug or an
// agent that lies cannot do it either. A relay may do what its site's agents
// may, and applies the same rules to them.
//
// Not prevented: the secret is one for all, so whoever has it can join under
// the name of any pnode, or as a relay, and then says and hears what
// that one would. An agent can say something untrue of its own pnode, and can
// load the server. An agent that guesses where an answer is awaited can send
// another one: for streams that is 128 random bits, for other questions less.
// On a server that is not ours, its own users and permissions hold.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"myriad/program"
)

// root is the first token of every subject.
const root = "myriad"

// Conn is one party's connection. It owns what its handlers run in.
type Conn struct {
	nats     *nats.Conn
	name     string
	dir      string      // where the server keeps records, if that is this machine's business
	replicas int         // of records; 0: as the server can
	ended    func() bool // tells whether the server in this process has ended; nil: it is elsewhere
	agent    bool        // it has the rights of an agent, no more
	logf     func(string, ...any)
	ctx      context.Context // of every handler
	cancel   context.CancelFunc
	work     sync.WaitGroup // handlers that run
	once     atomic.Bool    // it has been connected
	heard    memory         // of questions

	mu      sync.Mutex      // held also while work grows, so that it does not once closed
	session context.Context // ends when the connection is lost
	lost    context.CancelFunc
	told    []func(bool) // of losing the connection, and having it back
	local   netip.Addr
	dialed  error // of the last attempt to connect
	said    time.Time
	what    string
}

// newConn gives a Conn that is not connected.
func newConn(name string, logf func(string, ...any)) *Conn {
	c := &Conn{name: name, logf: logf}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.session, c.lost = context.WithCancel(c.ctx)
	return c
}

func (c *Conn) connect(url string, options ...nats.Option) error {
	all := []nats.Option{
		nats.Name(c.name), nats.CustomInboxPrefix(insidePrefix),
		// What could not be said is not said later: it would be out of date.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.connected(false, err) }),
		nats.ReconnectHandler(func(*nats.Conn) { c.connected(true, nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.complain(err) }),
	}
	nc, err := nats.Connect(url, append(all, options...)...)
	if err != nil {
		return fmt.Errorf("connect to bus: %w", err)
	}
	c.nats = nc
	c.once.Store(true)
	return nil
}

// connected is told when the connection is lost and back.
func (c *Conn) connected(yes bool, err error) {
	c.mu.Lock()
	closed := c.ctx.Err() != nil
	if yes {
		c.session, c.lost = context.WithCancel(c.ctx)
	} else {
		c.lost()
	}
	told := slices.Clone(c.told)
	c.mu.Unlock()
	if closed {
		return
	}
	if c.logf != nil && yes {
		c.logf("bus: %s is connected again", c.name)
	} else if c.logf != nil {
		c.logf("bus: %s has lost its connection: %v", c.name, cmp.Or(err, io.EOF))
	}
	for _, f := range told {
		f(yes)
	}
}

// complain tells of what went wrong beside any call.
func (c *Conn) complain(err error) {
	if c.logf != nil && c.ctx.Err() == nil && !errors.Is(err, nats.ErrAuthorization) {
		c.logf("bus: %s: %v", c.name, err)
	}
}

// Connected has f called when the connection is lost, and when it is back. f
// must not wait.
func (c *Conn) Connected(f func(bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, f)
}

// Stats counts what the connection took and gave, in messages and bytes.
func (c *Conn) Stats() (inMsgs, outMsgs, inBytes, outBytes uint64) {
	s := c.nats.Stats()
	return s.InMsgs, s.OutMsgs, s.InBytes, s.OutBytes
}

// Close cancels the handlers that run, waits for them, and lets the
// connection go.
func (c *Conn) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.work.Wait()
	c.nats.Close()
}

// run starts f in a goroutine that Close waits for, unless c is closed.
func (c *Conn) run(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() == nil {
		c.work.Go(f)
	}
}

// Flush returns when the server has taken everything sent so far, so that
// what was subscribed is in force.
func (c *Conn) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	return problem("flush bus", c.nats.FlushWithContext(ctx))
}

// Subject joins tokens to a subject, each of them escaped, so that a host
// name with dots remains one token.
func Subject(tokens ...string) string {
	var b strings.Builder
	b.WriteString(root)
	for _, t := range tokens {
		b.WriteByte('.')
		b.WriteString(escape(t))
	}
	return b.String()
}

// escape writes a token with letters, digits, - and _ only; any other byte
// becomes =XX.
func escape(token string) string {
	plain := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
	}
	var b strings.Builder
	for i := range len(token) {
		if c := token[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// problem says what went wrong on the way, as something that can cross to
// the one who asked. It is nil for a nil error.
func problem(op string, err error) error {
	var p *program.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, nats.ErrNoResponders):
		return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: "nobody answers"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: "no answer in time"}
	}
	return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: err.Error()}
}
