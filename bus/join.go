package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"myriad/program"
)

// Remote is a server, or cluster, elsewhere. Several URLs are separated by
// commas.
type Remote struct {
	URL    string      // tls://host:port, or nats://host:port
	TLS    *tls.Config // nil: as the URL says
	Secret string      // empty: the URL has what there is to know, or nothing is needed
	// Replicas is how many servers of the cluster keep each record. 0: three,
	// where there are as many, else one.
	Replicas int
}

// Times of connecting.
const (
	dialTimeout  = 5 * time.Second
	firstRetry   = 250 * time.Millisecond
	lastRetry    = 5 * time.Second
	tellEvery    = time.Minute // how often it is told that a server is still not reached
	clientPing   = 5 * time.Second
	clientPinged = 2 // pings without an answer after which a connection is lost
)

// urls reads the addresses, and checks them. Its errors have no password.
func (r *Remote) urls() ([]*url.URL, error) {
	bad := func(cause string) error {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read the address of the bus", Cause: cause,
			Remedy: "give it as tls://host:port or nats://host:port; several with commas between them"}
	}
	var urls []*url.URL
	for text := range strings.SplitSeq(r.URL, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return nil, bad("it is not a URL") // url.Error would show all of it
		case u.Scheme != "nats" && u.Scheme != "tls":
			return nil, bad(fmt.Sprintf("%q is not a scheme of it", u.Scheme))
		case u.Hostname() == "":
			return nil, bad("it has no host")
		case u.Path != "" && u.Path != "/":
			return nil, bad("it has a path")
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), "4222")
		}
		urls = append(urls, u)
	}
	switch {
	case len(urls) == 0:
		return nil, bad("there is none")
	case r.Secret != "" && r.TLS == nil:
		return nil, bad("a join token is shown to a server only by TLS")
	}
	return urls, nil
}

// shown is the addresses without passwords.
func (r *Remote) shown() string {
	urls, err := r.urls()
	if err != nil {
		return "(no address)"
	}
	var hosts []string
	for _, u := range urls {
		hosts = append(hosts, u.Host)
	}
	return strings.Join(hosts, ",")
}

// Join connects to a server elsewhere. With a secret, name is the pnode whose
// agent this is. A server that is not reached is tried again until ctx ends;
// logf is told so once, and then seldom. What trying again cannot mend is a
// program.Problem at once: a secret that is wrong, a certificate of another
// authority or not in force, a server without TLS. Once connected, the
// connection is sought for ever when it is lost.
func Join(ctx context.Context, name string, r Remote, logf func(format string, args ...any)) (*Conn, error) {
	urls, err := r.urls()
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, u := range urls {
		texts = append(texts, u.String())
	}
	wait, said, what := firstRetry, time.Time{}, ""
	for {
		c := newConn(name, logf)
		c.replicas, c.agent = r.Replicas, r.Secret != ""
		err := c.connect(strings.Join(texts, ","), c.joining(ctx, name, r)...)
		if err == nil {
			return c, nil
		}
		c.cancel()
		p, fatal := c.whyNot(r.shown(), err)
		if fatal {
			return nil, p
		}
		if logf != nil && ctx.Err() == nil && (time.Since(said) > tellEvery || p.Cause != what) {
			logf("%v; trying on", p)
			said, what = time.Now(), p.Cause
		}
		select {
		case <-ctx.Done():
			return nil, p
		case <-time.After(wait + rand.N(wait)):
		}
		wait = min(wait*3/2, lastRetry)
	}
}

// joining are the options of a connection to a server elsewhere.
func (c *Conn) joining(ctx context.Context, name string, r Remote) []nats.Option {
	options := []nats.Option{
		nats.MaxReconnects(-1), nats.Timeout(dialTimeout + handshakeTimeout), nats.SetCustomDialer(&dialer{conn: c, first: ctx}),
		nats.PingInterval(clientPing), nats.MaxPingsOutstanding(clientPinged),
		nats.IgnoreAuthErrorAbort(), nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.notBack(r.shown(), err) }),
	}
	if r.TLS != nil {
		options = append(options, nats.Secure(r.TLS.Clone()))
	}
	if r.Secret != "" {
		// What a server of ours says of its addresses may be true of its machine only.
		options = append(options, nats.UserInfo(name, r.Secret), nats.CustomInboxPrefix(inboxOf(name)), nats.IgnoreDiscoveredServers())
	}
	return options
}

// reconnectDelay spreads thousands of agents that lost the same server.
func reconnectDelay(attempts int) time.Duration {
	d := min(firstRetry<<min(attempts-1, 8), lastRetry)
	return d/2 + rand.N(d)
}

// dialer connects, and remembers how.
type dialer struct {
	conn  *Conn
	first context.Context // ends the first attempts, while nothing is connected yet
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.conn.ctx, dialTimeout)
	defer cancel()
	first := !d.conn.once.Load()
	if first {
		defer context.AfterFunc(d.first, cancel)()
	}
	var plain net.Dialer
	c, err := plain.DialContext(ctx, network, address)
	if first && err == nil {
		// What answers may say nothing for long.
		context.AfterFunc(d.first, func() {
			if !d.conn.once.Load() {
				_ = c.Close()
			}
		})
	}
	d.conn.mu.Lock()
	defer d.conn.mu.Unlock()
	d.conn.dialed = err
	if err != nil {
		return nil, err
	}
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		d.conn.local = a.AddrPort().Addr().Unmap()
	}
	return c, nil
}

// wrongSecret says that a server does not take the secret.
func wrongSecret(at string) *program.Problem {
	if at != "" {
		at = " at " + at
	}
	return &program.Problem{Kind: program.KindPermission, Rack: -1, Op: "join the bus" + at, Cause: "the server does not take the join token, or password",
		Remedy: "the token may have been replaced since: print the current one with `myriad token` where the coordinator runs"}
}

// whyNot says why there is no connection, and whether trying again is in
// vain.
func (c *Conn) whyNot(at string, err error) (p *program.Problem, fatal bool) {
	p = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "join the bus at " + at, Cause: err.Error()}
	var other *program.Problem
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &other):
		p.Kind, p.Cause, p.Remedy = other.Kind, other.Cause, other.Remedy
		return p, true
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return wrongSecret(at), true
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &host):
		p.Kind, p.Cause, p.Remedy = program.KindPermission, "the server's certificate is not believed: "+err.Error(), "if it is a server of Myriad, give the join token"
		return p, true
	case errors.Is(err, nats.ErrSecureConnWanted), errors.As(err, &record):
		p.Kind, p.Cause, p.Remedy = program.KindPermission, "the server has no TLS", "the secret is not shown to it; check the address, or give a nats:// URL without token if that is meant"
		return p, true
	case strings.Contains(strings.ToLower(err.Error()), "leafnode port"), strings.Contains(err.Error(), "leaf node port"):
		p.Kind, p.Cause, p.Remedy = program.KindInvalid, "this port is for relays", "give the address of --listen, not of --leaf-listen"
		return p, true
	case strings.Contains(err.Error(), "route port"), strings.Contains(err.Error(), "gateway port"):
		p.Kind, p.Cause, p.Remedy = program.KindInvalid, "this port is for the servers of the cluster", "give the address for clients, mostly port 4222"
		return p, true
	}
	c.mu.Lock()
	dialed := c.dialed
	c.mu.Unlock()
	p.Remedy = "check the address, that the server runs, and that no firewall is between"
	switch {
	case dialed != nil:
		p.Cause = dialed.Error()
	case errors.Is(err, nats.ErrNoInfoReceived), strings.Contains(err.Error(), "xpected INFO"), strings.Contains(err.Error(), "use of closed network"), errors.Is(err, os.ErrDeadlineExceeded):
		p.Cause = "what answers there does not speak as a bus does"
	}
	return p, false
}

// notBack tells now and then that a lost connection is not back yet.
func (c *Conn) notBack(at string, err error) {
	p, _ := c.whyNot(at, err)
	c.mu.Lock()
	tell := c.logf != nil && c.ctx.Err() == nil && (time.Since(c.said) > tellEvery || p.Cause != c.what)
	if tell {
		c.said, c.what = time.Now(), p.Cause
	}
	c.mu.Unlock()
	if tell {
		c.logf("%v; trying on", p)
	}
}

// LocalAddr is the address of this machine by which it reaches the server. It
// is invalid for a connection within the process.
func (c *Conn) LocalAddr() netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// Reconnect gives the connection up and makes another one: where this machine
// has another address now, the old one would only be found dead by its silence.
func (c *Conn) Reconnect() error { return problem("connect again", c.nats.ForceReconnect()) }
