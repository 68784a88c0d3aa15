// Package daemon puts coordinator, agent, bus and web together to what runs
// on one machine: myriad serve, or what up starts in the background.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"myriad/agent"
	"myriad/api"
	"myriad/bus"
	"myriad/coord"
	"myriad/kernel"
	"myriad/store"
	"myriad/trust"
	"myriad/web"
)

// Config is what a daemon must know. RunDir and StateDir are required, and
// Pnode unless NoAgent is set.
type Config struct {
	RunDir   string
	StateDir string
	Pnode    agent.Pnode
	Racks    agent.Racks // nil: the sockets in RunDir
	// Calibrate sees to it that Pnode knows what its own path costs: see
	// agent.Config. It may be nil.
	Calibrate func(ctx context.Context, say func(doing string)) error
	Name      string // of this machine; empty: its host name
	Version   string
	Auto      bool // it ends a moment after its last platform

	// Listen and LeafListen are where agents and relays of other machines join,
	// as in bus.ServerOptions; the authority in StateDir vouches for it.
	Listen     string
	LeafListen string
	Join       *bus.Remote // a bus elsewhere, instead of one's own; nil: one's own
	NoAgent    bool        // this machine carries no vnodes
	Site       string      // where this machine is
	Address    netip.Addr  // by which tunnels of other pnodes reach it; invalid: found out
	VNIBase    uint8       // see coord.Config
	TakeOver   bool        // see agent.Config
	// Key gives the public key of this machine's WireGuard, zero if it has none.
	// It is called once the directories are the daemon's own. nil: none.
	Key func() [32]byte

	Ready func()                           // called when it answers; may be nil
	Logf  func(format string, args ...any) // nil: silent
}

var _ agent.Pnode = (*kernel.Pnode)(nil)

// Socket is where the daemon of a run directory answers.
func Socket(runDir string) string { return filepath.Join(runDir, "api.sock") }

// farewell is how long answers may take that are under way at the end.
const farewell = 2 * time.Second

// Run is a daemon until ctx ends, a client asks for its end, or, with Auto, it
// is not needed any more. Vnodes live on. A removal under way is finished
// first.
func Run(ctx context.Context, c Config) error {
	if c.Pnode == nil && !c.NoAgent {
		return errors.New("run daemon: needs a pnode, or no agent")
	}
	m := machine{RunDir: c.RunDir, StateDir: c.StateDir, Name: c.Name, Logf: c.Logf}
	if err := m.claim(ctx, Holder{Role: RoleDaemon}); err != nil {
		return err
	}
	defer m.release()
	c.Name, c.Logf = m.Name, m.Logf
	d := &daemon{Config: c}
	unlisten, err := d.noteListening()
	if err != nil {
		return err
	}
	defer unlisten()
	if err := d.openBus(); err != nil {
		return err
	}
	defer d.closeBus()
	return d.run(ctx)
}

// daemon is a daemon at work.
type daemon struct {
	Config
	server *bus.Server // nil: the bus is elsewhere
	usage  usage
	stand  standing
}

// run starts the parts in the order in which they need each other, and ends
// them the other way round.
func (d *daemon) run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if !d.NoAgent {
		agentEnds, err := d.startAgent(ctx, end)
		if err != nil {
			return err
		}
		defer agentEnds()
	}
	conn, err := d.connect(ctx, "coordinator")
	if err != nil {
		return err
	}
	records, err := store.Open(ctx, conn)
	if err != nil {
		conn.Close()
		return err
	}
	identity, err := coordinatorIdentity(d.StateDir, d.RunDir)
	if err != nil {
		conn.Close()
		return err
	}
	settings := coord.Config{Conn: conn, Store: records, Identity: identity, Holder: identity, Version: d.Version, VNIBase: d.VNIBase, StandBy: d.stand.by, Logf: d.Logf}
	if d.Join != nil {
		settings.Lease = lease
		if settings.Identity, err = sharedIdentity(ctx, conn, identity); err != nil {
			conn.Close()
			return err
		}
	}
	c := coord.New(settings)
	coordinatorEnds := d.start(end, c.Run)
	if err := d.awaitLead(ctx, c); err != nil {
		coordinatorEnds()
		return err
	}
	webCloses, webEnds, err := d.serve(c, end)
	if err != nil {
		coordinatorEnds()
		return err
	}
	if d.Ready != nil {
		d.Ready()
	}
	var aside sync.WaitGroup
	aside.Go(func() { d.followSecret(ctx) })
	if d.Auto {
		aside.Go(func() {
			d.usage.awaitUnused(ctx, c.AwaitEmpty)
			end(errEnded)
		})
	}
	<-ctx.Done()
	webCloses()
	aside.Wait()
	coordinatorEnds()
	webEnds()
	if cause := context.Cause(ctx); !errors.Is(cause, errEnded) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// startAgent starts the agent of this machine.
func (d *daemon) startAgent(ctx context.Context, end context.CancelCauseFunc) (stop func(), err error) {
	identity, err := trust.Identity(filepath.Join(d.StateDir, "machine"))
	if err != nil {
		return nil, err
	}
	conn, err := d.connect(ctx, d.Name)
	if err != nil {
		return nil, err
	}
	c := agent.Config{Name: d.Name, Machine: identity, Site: d.Site, RunDir: d.RunDir, Version: d.Version,
		Pnode: d.Pnode, Racks: d.Racks, Calibrate: d.Calibrate, TakeOver: d.TakeOver, Logf: d.Logf}
	if d.Key != nil && (d.listens() || d.Join != nil) {
		c.Key = d.Key()
	}
	if at := d.underlay(conn); at != nil {
		c.Address = at.find
	}
	return d.start(end, func(ctx context.Context) error { return agent.Run(ctx, conn, c) }), nil
}

// underlay is how others reach this machine; nil if there are no others.
func (d *daemon) underlay(conn *bus.Conn) *underlay {
	at := &underlay{fixed: d.Address, logf: d.Logf}
	switch {
	case at.fixed.IsValid():
	case d.Join != nil:
		at.near, at.again = conn.LocalAddr, conn.Reconnect
	case !d.listens():
		return nil
	default:
		// Where it listens at one address, others come by that.
		if at.fixed = hostAddress(d.Listen); !at.fixed.IsValid() {
			at.fixed = hostAddress(d.LeafListen)
		}
	}
	return at
}

// errEnded is the cause of an end that was wanted.
var errEnded = errors.New("the daemon has ended")

// start runs a part until the function that it gives is called, which waits
// for its end. A part that fails ends the daemon.
func (d *daemon) start(end context.CancelCauseFunc, part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := part(ctx); err != nil {
			d.Logf("daemon: %v", err)
			end(err)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// serve answers on the socket: after shut only what was asked before, and
// after stop nothing.
func (d *daemon) serve(c *coord.Coordinator, end context.CancelCauseFunc) (shut, stop func(), err error) {
	listener, err := listen(Socket(d.RunDir))
	if err != nil {
		return nil, nil, err
	}
	handler := web.New(web.Config{
		Coordinator: c,
		Version:     api.Version{Version: d.Version, Pid: os.Getpid(), Auto: d.Auto, Bus: d.busURL()},
		Shutdown:    func() { end(errEnded) },
		StandBy:     d.stand.leader,
		Logf:        d.Logf,
	})
	requests, cancel := context.WithCancel(context.Background())
	s := &http.Server{
		Handler:           d.usage.count(handler),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second,
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			end(fmt.Errorf("serve: %w", err)) // it is ending already if it was shut
		}
	})
	shut = func() {
		d.usage.close()
		listener.Close()
	}
	stop = func() {
		ctx, enough := context.WithTimeout(context.Background(), farewell)
		defer enough()
		_ = s.Shutdown(ctx) // what takes longer is broken off
		cancel()
		s.Close()
		serving.Wait()
	}
	return shut, stop, nil
}

// listen makes the socket. Stale ones are nobody's: the lock is ours.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove a former socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil { // the directory lets nobody else in meanwhile
		l.Close()
		return nil, err
	}
	return l, nil
}
