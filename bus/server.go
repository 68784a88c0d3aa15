package bus

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"myriad/program"
)

// ServerOptions say how the embedded server keeps things, and who reaches it.
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
	// Remote makes the server a relay: a leaf node of the server there, at
	// the address where that one has LeafListen. It keeps nothing itself.
	Remote *Remote
}

// Times of connections from other machines. Where thousands come at once,
// their handshakes wait for each other.
const (
	handshakeTimeout = 20 * time.Second
	pingInterval     = 10 * time.Second // then, after two without answer, a connection is over
)

// Server is a NATS server in this process. It has no port unless asked:
// only this process can connect.
type Server struct {
	nats   *server.Server
	dir    string
	guard  *guard
	log    *serverLog
	remote *Remote
	listen bool
	leaf   bool
	relay  *Conn // by which a relay serves its site
}

// NewServer starts a server. It returns when the server is ready; a relay may
// not have reached its remote server by then, and goes on trying.
func NewServer(o ServerOptions) (*Server, error) {
	s := &Server{dir: o.Dir, remote: o.Remote, log: &serverLog{logf: o.Logf}, guard: newGuard(o.Secret), listen: o.Listen != "", leaf: o.LeafListen != ""}
	opts := &server.Options{
		ServerName: root + "-" + nuid.Next(), // relays are told apart by it
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
		MaxPayload:                 1 << 20,
		DisableJetStreamBanner:     true,
		CustomClientAuthentication: s.guard,
		PingInterval:               pingInterval,
		// What cannot be reached is tried every second, and told now and then.
		ConnectErrorReports:   600,
		ReconnectErrorReports: 600,
	}
	if err := s.reachable(opts, o); err != nil {
		return nil, err
	}
	var err error
	if s.nats, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	s.nats.SetLoggerV2(s.log, false, false, false)
	s.nats.Start()
	err = s.started(o)
	if err == nil && o.Remote != nil {
		if s.relay, err = s.connect("relay", relayPrefix); err == nil {
			err = s.relay.relay(ProgramsStore)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// reachable says where the server listens, and whom it connects to.
func (s *Server) reachable(opts *server.Options, o ServerOptions) error {
	refuse := func(cause string) error {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "start bus", Cause: cause}
	}
	if (s.listen || s.leaf) && (o.TLS == nil || o.Secret == "") {
		return refuse("it listens to other machines only with TLS and a secret")
	}
	var err error
	if s.listen {
		opts.DontListen = false
		if opts.Host, opts.Port, err = splitListen(o.Listen); err != nil {
			return refuse(err.Error())
		}
		opts.TLSConfig, opts.TLSTimeout, opts.AuthTimeout = o.TLS.Clone(), handshakeTimeout.Seconds(), handshakeTimeout.Seconds()+5
		opts.Cluster.NoAdvertise = true
	}
	if s.leaf {
		l := &opts.LeafNode
		if l.Host, l.Port, err = splitListen(o.LeafListen); err != nil {
			return refuse(err.Error())
		}
		l.TLSConfig, l.TLSTimeout, l.AuthTimeout = o.TLS.Clone(), handshakeTimeout.Seconds(), handshakeTimeout.Seconds()+5
		l.NoAdvertise = true
	}
	if o.Remote == nil {
		return nil
	}
	if o.Dir != "" {
		return refuse("a relay keeps no records")
	}
	leaf, err := o.Remote.leaf(s.log)
	opts.LeafNode.Remotes = []*server.RemoteLeafOpts{leaf}
	return err
}

// leaf is the remote server as a relay connects to it.
func (r *Remote) leaf(log *serverLog) (*server.RemoteLeafOpts, error) {
	urls, err := r.urls()
	if err != nil {
		return nil, err
	}
	leaf := &server.RemoteLeafOpts{TLSTimeout: handshakeTimeout.Seconds(), DialTimeout: dialTimeout, FirstInfoTimeout: dialTimeout, IgnoreDiscoveredServers: r.Secret != ""}
	for _, u := range urls {
		if r.Secret != "" {
			u.User = url.UserPassword(relayUser, r.Secret)
		}
		leaf.TLS = leaf.TLS || u.Scheme == "tls" || r.TLS != nil
		leaf.URLs = append(leaf.URLs, u)
	}
	if r.TLS != nil {
		leaf.TLSConfig = r.TLS.Clone()
		if verify := r.TLS.VerifyConnection; verify != nil {
			leaf.TLSConfig.VerifyConnection = func(c tls.ConnectionState) error {
				err := verify(c)
				log.refused(err)
				return err
			}
		}
	}
	return leaf, nil
}

// splitListen reads host:port as the server wants it.
func splitListen(addr string) (string, int, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", addr)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q has no port number", addr)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

// started tells what kept the server from starting.
func (s *Server) started(o ServerOptions) error {
	fatal := s.log.fatal()
	if fatal == "" && s.listen && !s.nats.ReadyForConnections(handshakeTimeout) {
		fatal = "no connections are taken"
	}
	switch {
	case strings.Contains(fatal, "listening on") || strings.Contains(fatal, "no connections"):
		return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "listen on " + strings.Trim(o.Listen+" "+o.LeafListen, " "), Cause: fatal,
			Remedy: "choose an address of this machine, and a port that nobody listens on"}
	case fatal != "" || o.Dir != "" && !s.nats.JetStreamEnabled():
		return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "open records in " + o.Dir, Cause: fatal,
			Remedy: "choose another state directory with --state-dir, or mend this one"}
	}
	return nil
}

// Close ends the server, which breaks its connections.
func (s *Server) Close() {
	if s.relay != nil {
		s.relay.Close()
	}
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

// Addr is where the server listens for agents, as host:port; empty if it does
// not.
func (s *Server) Addr() string {
	if a := s.nats.Addr(); s.listen && a != nil {
		return a.String()
	}
	return ""
}

// LeafAddr is where the server listens for relays, as host:port; empty if it
// does not.
func (s *Server) LeafAddr() string {
	if !s.leaf {
		return ""
	}
	// The server writes the port that it got into its variables.
	v, err := s.nats.Varz(nil)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(v.LeafNode.Host, strconv.Itoa(v.LeafNode.Port))
}

// SetSecret changes what those who connect from now on must know.
func (s *Server) SetSecret(secret string) { s.guard.set(secret) }

// Stats counts what the server took from connections and gave to them since
// it started, in messages and bytes.
func (s *Server) Stats() (inMsgs, outMsgs, inBytes, outBytes uint64) {
	v, err := s.nats.Varz(nil)
	if err != nil {
		return 0, 0, 0, 0
	}
	return uint64(v.InMsgs), uint64(v.OutMsgs), uint64(v.InBytes), uint64(v.OutBytes)
}

// Connections is how many agents and other parties are connected here, and
// how many relays.
func (s *Server) Connections() (clients, relays int) {
	relays = s.nats.NumLeafNodes()
	if s.remote != nil && relays > 0 {
		relays-- // the one to the remote server
	}
	clients = s.nats.NumClients()
	if s.relay != nil {
		clients--
	}
	return clients, relays
}

// Linked waits until a relay is connected to its remote server, or until what
// keeps it from that is nothing that trying again could mend.
func (s *Server) Linked(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for s.remote != nil && s.nats.NumLeafNodes() == 0 {
		if err := s.log.refusal(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "reach the server of the relay at " + s.remote.shown(), Cause: s.log.why(),
				Remedy: "check the address, and that the server there has --leaf-listen"}
		}
	}
	return nil
}

// Connect gives a connection to the server in this process.
func (s *Server) Connect(name string) (*Conn, error) { return s.connect(name, insidePrefix) }

func (s *Server) connect(name, inboxes string) (*Conn, error) {
	c := newConn(name, s.log.logf)
	c.dir, c.replicas, c.ended = s.dir, 1, func() bool { return !s.nats.Running() }
	if err := c.connect("", nats.InProcessServer(s.nats), nats.MaxReconnects(-1), nats.CustomReconnectDelay(reconnectDelay), nats.CustomInboxPrefix(inboxes), nats.UserInfo(insideUser, s.guard.inside)); err != nil {
		return nil, err
	}
	return c, nil
}

// serverLog keeps the server's complaints, and remembers why it did not
// start, and why its remote server does not take it.
type serverLog struct {
	logf   func(string, ...any)
	mu     sync.Mutex
	last   string
	leaf   string // what a connection to the remote server failed with
	refuse error  // the same, if nothing but the user can mend it
	minute time.Time
	lines  int // in that minute
}

// mostLines is how much the server says in a minute: whoever reaches a port
// can make it complain.
const mostLines = 30

func (l *serverLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *serverLog) refused(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

func (l *serverLog) refusal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refuse
}

func (l *serverLog) why() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaf
}

func (l *serverLog) say(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "leaf") || strings.Contains(text, "Leaf") {
		l.mu.Lock()
		l.leaf = text
		if strings.Contains(text, "Authorization Violation") && strings.Contains(text, "Leafnode Error") {
			l.refuse = wrongSecret("")
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	if time.Since(l.minute) > time.Minute {
		l.minute, l.lines = time.Now(), 0
	}
	l.lines++
	lines := l.lines
	l.mu.Unlock()
	switch {
	case l.logf == nil || lines > mostLines:
	case lines == mostLines:
		l.logf("bus: %s; and more of that kind, passed over for a minute", text)
	default:
		l.logf("bus: %s", text)
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
