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
package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"myriad/program"
)

// root is the first token of every subject.
const root = "myriad"

// ServerOptions say how the embedded server keeps things.
type ServerOptions struct {
	// Dir is the directory of its records. Empty: it keeps nothing, and
	// Bucket, Objects and Log are not to be had.
	Dir string
	// Logf is told what the server complains about. Optional.
	Logf func(format string, args ...any)
	// Listen is where agents of other machines connect, as host:port; port 0
	// is any that is free. Empty: nowhere.
	Listen string
	// LeafListen is where relays of other sites connect, in the same form.
	LeafListen string
	// TLS is how connections from other machines are secured, and Secret what
	// they must know. Both are required where the server listens.
	TLS    *tls.Config
	Secret string
	// Remote makes the server a relay: a leaf node of the server there.
	Remote *Remote
}

// Remote is a server, or cluster, elsewhere. Several URLs are separated by
// commas.
type Remote struct {
	URL    string      // tls://host:port, or nats://host:port
	TLS    *tls.Config // nil: as the URL says
	Secret string      // empty: the URL has what there is to know, or nothing is needed
}

// Server is a NATS server in this process. It has no port: only this process
// can connect.
type Server struct {
	nats *server.Server
	dir  string
}

// NewServer starts a server. It returns when the server is ready.
func NewServer(o ServerOptions) (*Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: root,
		DontListen: true,
		NoSigs:     true,
		JetStream:  o.Dir != "",
		StoreDir:   o.Dir,
		// Records are few; a crash of the process loses none of them, and one
		// of the machine takes the vnodes along anyhow.
		SyncInterval:       10 * time.Second,
		JetStreamMaxMemory: 16 << 20,
		JetStreamMaxStore:  16 << 30,
		// Nothing here needs more than what servers elsewhere take by default.
		MaxPayload:             1 << 20,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	log := &serverLog{logf: o.Logf}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if fatal := log.fatal(); fatal != "" || o.Dir != "" && !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "open records in " + o.Dir, Cause: fatal,
			Remedy: "choose another state directory with --state-dir, or mend this one"}
	}
	return &Server{s, o.Dir}, nil
}

// Close ends the server, which breaks its connections.
func (s *Server) Close() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

// Connect gives a connection to the server in this process.
func (s *Server) Connect(name string) (*Conn, error) {
	c, err := connect("", nats.Name(name), nats.InProcessServer(s.nats))
	if err == nil {
		c.dir = s.dir
	}
	return c, err
}

// Dial connects to a server or cluster by URL, and goes on trying when it is
// lost.
func Dial(url, name string) (*Conn, error) {
	return connect(url, nats.Name(name), nats.MaxReconnects(-1))
}

// Conn is one party's connection. It owns what its handlers run in.
type Conn struct {
	nats   *nats.Conn
	dir    string          // where the server keeps records, if that is this machine's business
	ctx    context.Context // of every handler
	cancel context.CancelFunc
	mu     sync.Mutex     // held while work grows, so that it does not once closed
	work   sync.WaitGroup // handlers that run
}

func connect(url string, options ...nats.Option) (*Conn, error) {
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to bus: %w", err)
	}
	c := &Conn{nats: nc}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
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

// serverLog keeps the server's complaints, and remembers why it did not
// start.
type serverLog struct {
	logf func(string, ...any)
	mu   sync.Mutex
	last string
}

func (l *serverLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *serverLog) say(format string, v ...any) {
	if l.logf != nil {
		l.logf("bus: "+format, v...)
	}
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = fmt.Sprintf(format, v...)
}

func (l *serverLog) Errorf(format string, v ...any) { l.say(format, v...) }
func (l *serverLog) Warnf(format string, v ...any)  { l.say(format, v...) }
func (l *serverLog) Noticef(string, ...any)         {}
func (l *serverLog) Debugf(string, ...any)          {}
func (l *serverLog) Tracef(string, ...any)          {}
