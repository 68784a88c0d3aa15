// Package daemon puts coordinator, agent, bus and web together to what runs
// on one machine: myriad serve, or what up starts in the background.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"myriad/agent"
	"myriad/api"
	"myriad/bus"
	"myriad/coord"
	"myriad/kernel"
	"myriad/program"
	"myriad/store"
	"myriad/web"
)

// Config is what a daemon must know. RunDir, StateDir and Pnode are required.
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
	Auto      bool                             // it ends a moment after its last platform
	Ready     func()                           // called when it answers; may be nil
	Logf      func(format string, args ...any) // nil: silent
}

var _ agent.Pnode = (*kernel.Pnode)(nil)

// Socket is where the daemon of a run directory answers.
func Socket(runDir string) string { return filepath.Join(runDir, "api.sock") }

// gcPercent trades time for memory: what the daemon holds is small beside the
// garbage of one up of 40,000 vnodes, and that is returned at its end.
const gcPercent = 50

// farewell is how long answers may take that are under way at the end.
const farewell = 2 * time.Second

// Run is a daemon until ctx ends, a client asks for its end, or, with Auto, it
// is not needed any more. Vnodes live on. A removal under way is finished
// first.
func Run(ctx context.Context, c Config) error {
	if err := c.validate(); err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	who := Holder{Role: RoleDaemon}
	if err := checkFiles(); err != nil {
		return err
	}
	run, err := claimRun(ctx, c.RunDir, who)
	if err != nil {
		return err
	}
	defer run.release()
	state, err := claimState(c.StateDir, who)
	if err != nil {
		return err
	}
	defer state.release()
	server, err := bus.NewServer(bus.ServerOptions{Dir: filepath.Join(c.StateDir, "records"), Logf: c.Logf})
	if err != nil {
		return err
	}
	defer server.Close()
	d := &daemon{Config: c, server: server}
	return d.run(ctx)
}

func (c *Config) validate() error {
	if c.RunDir == "" || c.StateDir == "" || c.Pnode == nil {
		return errors.New("run daemon: needs a run directory, a state directory and a pnode")
	}
	if n := len(Socket(c.RunDir)); n > MaxSocketPath {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "listen in " + c.RunDir,
			Cause: fmt.Sprintf("the path of the socket has %d bytes, and Linux takes %d", n, MaxSocketPath), Remedy: "choose a shorter --run-dir"}
	}
	if c.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find the name of this machine: %w", err)
		}
		c.Name = name
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return nil
}

// MaxSocketPath is how many bytes the path of a socket can have: what a socket
// address holds, less the zero at its end (unix(7)).
const MaxSocketPath = 107

// daemon is a daemon at work.
type daemon struct {
	Config
	server *bus.Server
	usage  usage
}

// run starts the parts in the order in which they need each other, and ends
// them the other way round.
func (d *daemon) run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)

	agentConn, err := d.server.Connect("agent")
	if err != nil {
		return err
	}
	agentEnds := d.start(end, func(ctx context.Context) error {
		return agent.Run(ctx, agentConn, agent.Config{Name: d.Name, RunDir: d.RunDir, Version: d.Version, Pnode: d.Pnode, Racks: d.Racks, Calibrate: d.Calibrate, Logf: d.Logf})
	})
	defer agentEnds()

	conn, err := d.server.Connect("coordinator")
	if err != nil {
		return err
	}
	records, err := store.Open(ctx, conn)
	if err != nil {
		conn.Close()
		return err
	}
	c := coord.New(coord.Config{Conn: conn, Store: records, Logf: d.Logf})
	coordinatorEnds := d.start(end, c.Run)
	if err := c.AwaitPnode(ctx, d.Name); err != nil {
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
	var auto sync.WaitGroup
	if d.Auto {
		auto.Go(func() {
			d.usage.awaitUnused(ctx, c.AwaitEmpty)
			end(errEnded)
		})
	}
	<-ctx.Done()
	webCloses()
	auto.Wait()
	coordinatorEnds()
	webEnds()
	if cause := context.Cause(ctx); !errors.Is(cause, errEnded) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
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
		Version:     api.Version{Version: d.Version, Pid: os.Getpid(), Auto: d.Auto},
		Shutdown:    func() { end(errEnded) },
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
