package rack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"myriad/kernel"
	"myriad/program"
)

// Config is what a rack process must know. Platform and RunDir are required.
type Config struct {
	RunDir   string
	Platform string
	Index    uint32
	Version  string    // of the build; empty: what the build says of itself
	Local    Local     // holds the vnodes; nil: the kernel's
	Ready    io.Writer // gets one line once the socket answers; may be nil
}

// Version is what a build says of itself when nobody told it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += "+" + s.Value[:12]
		}
	}
	return v
}

func (c *Config) validate() error {
	if !filepath.IsAbs(c.RunDir) || c.Platform == "" {
		return errors.New("serve rack: needs a run directory, as an absolute path, and a platform")
	}
	if filepath.Base(c.Platform) != c.Platform || c.Platform == "." || c.Platform == ".." {
		return fmt.Errorf("serve rack: %q is no name of a platform", c.Platform)
	}
	if c.Version == "" {
		c.Version = Version()
	}
	return nil
}

// server is one rack at work.
type server struct {
	Config
	home     *home
	stop     context.CancelFunc // ends Serve
	calls    sync.WaitGroup     // connections being handled
	applying chan struct{}      // holds one token: one Apply at a time

	mu     sync.Mutex
	vnodes []string // every vnode that was last asked for, sorted by slot
	up     int
}

// Serve is a rack process: it answers on the rack's socket until a client
// asks it to close or ctx ends, and lets its vnodes go when it returns.
func Serve(ctx context.Context, c Config) error {
	if err := c.validate(); err != nil {
		return err
	}
	tune()
	s := &server{Config: c, applying: make(chan struct{}, 1)}
	if err := os.MkdirAll(Dir(c.RunDir, c.Platform), 0o700); err != nil {
		return fmt.Errorf("serve rack %d: %w", c.Index, err)
	}
	path := Socket(c.RunDir, c.Platform, c.Index)
	var err error
	if s.home, err = settle(c); err != nil {
		return fmt.Errorf("serve rack %d: %w", c.Index, err)
	}
	if s.Local == nil {
		if s.Local, err = newLocal(c, s.home); err != nil {
			return fmt.Errorf("serve rack %d: %w", c.Index, err)
		}
	}
	ln, err := listen(path)
	if err != nil {
		return fmt.Errorf("serve rack %d: %w", c.Index, errors.Join(err, s.Local.Close()))
	}
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	context.AfterFunc(ctx, func() { ln.Close() })
	announce(c.Ready)
	s.calls.Go(warm)
	s.accept(ctx, ln)
	os.Remove(path) // first, so that nobody finds a rack that is going
	ended := make(chan struct{})
	go func() { s.calls.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(closePatience): // processes that even SIGKILL does not end at once
	}
	return s.Local.Close()
}

// closePatience is how long a closing rack waits for its calls: longer than
// a process has between SIGTERM and SIGKILL.
const closePatience = killAfter + time.Second

// accept hands out connections until ctx ends. It stays when descriptors run
// out: that passes.
func (s *server) accept(ctx context.Context, ln *net.UnixListener) {
	for pause := time.Duration(0); ; {
		conn, err := ln.AcceptUnix()
		switch {
		case err == nil:
			pause = 0
			s.calls.Go(func() { s.handle(ctx, conn) })
		case ctx.Err() != nil:
			return
		default:
			pause = min(max(2*pause, time.Millisecond), 100*time.Millisecond)
			time.Sleep(pause)
		}
	}
}

// requestPatience is how long a client may take to say what it wants.
const requestPatience = 10 * time.Second

// handle answers one call.
func (s *server) handle(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	frames := NewFrames(conn)
	defer func() {
		if p := recover(); p != nil { // a thousand vnodes must not go with one call
			fmt.Fprintf(os.Stderr, "rack %d: call panicked: %v\n%s", s.Index, p, debug.Stack())
			_ = frames.Send(&Reply{Err: s.problem(program.KindInternal, "answer a call", fmt.Errorf("%v", p)), Done: true})
		}
	}()
	if err := checkPeer(conn); err != nil {
		_ = frames.Send(&Reply{Err: s.problem(program.KindPermission, "answer a call", err), Done: true})
		return
	}
	var req Request
	conn.SetReadDeadline(time.Now().Add(requestPatience))
	if err := frames.Receive(&req); err != nil {
		if err != io.EOF {
			_ = frames.Send(&Reply{Err: s.problem(program.KindInvalid, "read request", err), Done: true})
		}
		return
	}
	conn.SetReadDeadline(time.Time{})
	s.answer(ctx, &session{server: s, conn: conn, frames: frames}, &req)
}

// answer does what a request asks. The last frame is sent here.
func (s *server) answer(ctx context.Context, c *session, req *Request) {
	var last Reply
	var after func()
	switch {
	case !req.single():
		last.Err = s.problem(program.KindInvalid, "read request", errors.New("not exactly one thing is asked"))
	case req.Hello != nil:
		last.Info = s.info()
	case req.Apply != nil:
		last = s.apply(ctx, c, req.Apply)
		after = debug.FreeOSMemory
	case req.Observe != nil:
		last = s.observe(ctx, c)
	case req.Exec != nil:
		last.Err = c.exec(ctx, req.Exec)
	case req.Probe != nil:
		last.Err = c.probe(ctx, req.Probe)
	case req.Hold != nil:
		last.Err = s.result("hold packets", s.Local.Hold(ctx, req.Hold.Want))
		if req.Hold.Want == nil {
			after = debug.FreeOSMemory
		}
	case req.Held != nil:
		var err error
		last.Held, err = s.Local.Held(ctx)
		last.Err = s.result("count held packets", err)
	case req.Close != nil:
		after = s.stop
	}
	last.Done = true
	_ = c.frames.Send(&last) // a client that is gone has no use for it
	if after != nil {
		after()
	}
}

// single says whether exactly one thing is asked.
func (r *Request) single() bool {
	n := 0
	for _, set := range []bool{r.Hello != nil, r.Apply != nil, r.Observe != nil, r.Exec != nil, r.Probe != nil,
		r.Hold != nil, r.Held != nil, r.Close != nil} {
		if set {
			n++
		}
	}
	return n == 1
}

func (s *server) info() *Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Info{Platform: s.Platform, Index: s.Index, Pid: os.Getpid(), Version: s.Version, Wire: Wire, Vnodes: s.up}
}

// progressEvery is how often a client is told of progress.
const progressEvery = 20 * time.Millisecond

// apply makes the rack's vnodes as the specification says.
func (s *server) apply(ctx context.Context, c *session, spec *kernel.RackSpec) Reply {
	op := fmt.Sprintf("apply rack %d", s.Index)
	if spec.Platform != s.Platform || spec.Rack.Index != s.Index {
		return Reply{Err: s.problem(program.KindInvalid, op,
			fmt.Errorf("the specification is of platform %s, rack %d", spec.Platform, spec.Rack.Index))}
	}
	ctx, release := c.watch(ctx)
	defer release()
	select {
	case s.applying <- struct{}{}:
		defer func() { <-s.applying }()
	case <-ctx.Done():
		return Reply{Err: s.problem(program.KindUnavailable, op, ctx.Err())}
	}
	var told time.Time
	progress := func(up int) {
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			_ = c.frames.Send(&Reply{Up: up}) // if it is gone, ctx ends
		}
	}
	notes := s.home.bindHosts()
	s.setVnodes(spec.Rack.Vnodes)
	report, problems, writes, err := s.Local.Apply(ctx, spec, progress)
	last := Reply{Report: report, Problems: append(notes, problems...), Writes: writes}
	if report != nil {
		s.mu.Lock()
		s.up = report.Vnodes
		s.mu.Unlock()
	}
	if err != nil {
		last.Err = s.problem(program.KindInternal, op, err)
	}
	return last
}

// setVnodes remembers whom "every vnode" means.
func (s *server) setVnodes(vnodes []program.Vnode) {
	names := make([]string, len(vnodes))
	for i, v := range vnodes {
		names[i] = v.Name
	}
	s.mu.Lock()
	s.vnodes = names
	s.mu.Unlock()
}

func (s *server) observe(ctx context.Context, c *session) Reply {
	ctx, release := c.watch(ctx)
	defer release()
	rack, err := s.Local.Observe(ctx)
	if err != nil {
		return Reply{Err: s.problem(program.KindInternal, fmt.Sprintf("observe rack %d", s.Index), err)}
	}
	return Reply{Rack: rack}
}

// problem is an error as it crosses the wire: one that is a problem already
// stays what it is.
func (s *server) problem(kind program.Kind, op string, err error) *program.Problem {
	var p *program.Problem
	if errors.As(err, &p) {
		return p
	}
	return &program.Problem{Kind: kind, Rack: int32(s.Index), Op: op, Cause: err.Error()}
}

// result is the problem of something short that did not succeed, nil if it did.
func (s *server) result(op string, err error) *program.Problem {
	if err == nil {
		return nil
	}
	return s.problem(program.KindInternal, fmt.Sprintf("%s in rack %d", op, s.Index), err)
}

// session is one call at work, as its rack sees it.
type session struct {
	*server
	conn   *net.UnixConn
	frames *Frames
}

// watch gives a context that ends when the client goes away. A client that
// sends anything more has lost its way, and is treated the same.
func (c *session) watch(ctx context.Context) (context.Context, func()) {
	return c.receive(ctx, func(*Input) bool { return false })
}

// receive reads what the client sends after its request and gives it to
// input, until input says no or the connection ends: then the context it
// returns ends too. release must be called, and waits for the reading to end.
func (c *session) receive(ctx context.Context, input func(*Input) bool) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		for {
			var in Input
			if err := c.frames.Receive(&in); err != nil || !input(&in) {
				return
			}
		}
	}()
	return ctx, func() {
		cancel()
		c.conn.SetReadDeadline(time.Unix(1, 0))
		<-done
	}
}
