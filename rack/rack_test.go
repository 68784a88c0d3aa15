package rack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/kernel/wheel"
	"myriad/program"
)

// TestMain makes this binary a rack process where a test starts one.
func TestMain(m *testing.M) {
	if args := os.Args[1:]; Arguments(args) {
		if err := Main(context.Background(), args, ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == "client" {
		clientMain(os.Args[2])
	}
	if len(os.Args) == 5 && os.Args[1] == "wander" {
		wanderMain(os.Args[2], os.Args[3], os.Args[4])
	}
	kerneltest.Main(m)
}

// namespaces is a Local of vnodes that have lo and nothing else.
type namespaces struct {
	mu  sync.RWMutex
	fds map[string]int
}

func (n *namespaces) Apply(ctx context.Context, spec *kernel.RackSpec, progress func(int)) (*program.RackReport, []program.Problem, uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range spec.Rack.Vnodes {
		if err := ctx.Err(); err != nil {
			return nil, nil, 0, err
		}
		fd, err := netns.Make(loopbackUp)
		if err != nil {
			return nil, nil, 0, err
		}
		n.fds[v.Name] = fd
		progress(len(n.fds))
	}
	up := len(n.fds)
	return &program.RackReport{Index: spec.Rack.Index, State: program.RackUp, Vnodes: up, Wanted: up}, nil, uint64(up), nil
}

func (n *namespaces) Observe(context.Context) (*program.Rack, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	r := &program.Rack{}
	for name := range n.fds {
		r.Vnodes = append(r.Vnodes, program.Vnode{Name: name})
	}
	return r, nil
}

func (n *namespaces) Enter(t *netns.Thread, name string) (bool, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	fd, ok := n.fds[name]
	if !ok {
		return false, nil
	}
	return true, t.Enter(fd)
}

func (n *namespaces) Hold(context.Context, *kernel.HoldSpec) error { return nil }

func (n *namespaces) Held(context.Context) (*wheel.Stats, error) { return nil, nil }

func (n *namespaces) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, fd := range n.fds {
		unix.Close(fd)
		delete(n.fds, name)
	}
	return nil
}

// lines passes on the first write.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// spec asks for n vnodes, v0 … .
func spec(n int) *kernel.RackSpec {
	s := &kernel.RackSpec{Platform: "p", Rack: program.Rack{Index: 3}}
	for i := range n {
		s.Rack.Vnodes = append(s.Rack.Vnodes, program.Vnode{Slot: uint16(i), Name: fmt.Sprintf("v%d", i)})
	}
	return s
}

// open serves a rack of n vnodes in this process until the test ends.
func open(tb testing.TB, n int) *Client {
	tb.Helper()
	kerneltest.RequireRoot(tb)
	c := serve(tb, &namespaces{fds: map[string]int{}})
	if _, _, _, err := c.Apply(context.Background(), spec(n), nil); err != nil {
		tb.Fatal(err)
	}
	return c
}

func serve(tb testing.TB, local Local) *Client {
	tb.Helper()
	return serveBuild(tb, local, "")
}

// serveBuild is serve as a build of some version does it.
func serveBuild(tb testing.TB, local Local, version string) *Client {
	tb.Helper()
	dir := tb.TempDir()
	ready, ended := make(lines, 1), make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		ended <- Serve(ctx, Config{RunDir: dir, Platform: "p", Index: 3, Version: version, Local: local, Ready: ready})
	}()
	select {
	case <-ready:
	case err := <-ended:
		tb.Fatal(err)
	}
	c, err := Dial(context.Background(), Socket(dir, "p", 3))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Release()
		stop()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	return c
}

// outcome is all that came of an Exec call.
type outcome struct {
	stdout, stderr map[string]string
	pieces         []Output
	exits          map[string]Exit
	err            error
}

// run makes an Exec call and waits for its end.
func run(ctx context.Context, c *Client, req *ExecRequest, inputs ...Input) *outcome {
	o := &outcome{stdout: map[string]string{}, stderr: map[string]string{}, exits: map[string]Exit{}}
	ch := make(chan Input, len(inputs))
	for _, in := range inputs {
		ch <- in
	}
	o.err = c.Exec(ctx, req, ch, func(r *Reply) error {
		for _, p := range r.Outputs {
			if _, over := o.exits[p.Vnode]; over {
				return fmt.Errorf("output of %s after its exit: %q", p.Vnode, p.Data)
			}
			o.pieces = append(o.pieces, p)
			if p.Stderr {
				o.stderr[p.Vnode] += string(p.Data)
			} else {
				o.stdout[p.Vnode] += string(p.Data)
			}
		}
		for _, e := range r.Exits {
			if _, twice := o.exits[e.Vnode]; twice {
				return fmt.Errorf("%s exited twice", e.Vnode)
			}
			o.exits[e.Vnode] = e
		}
		return nil
	})
	return o
}

// sh is a call of the shell.
func sh(script string, vnodes ...string) *ExecRequest {
	return &ExecRequest{Vnodes: vnodes, Argv: []string{"sh", "-c", script}}
}

// ok fails the test unless the call succeeded and n processes exited with 0.
func (o *outcome) ok(tb testing.TB, n int) {
	tb.Helper()
	if o.err != nil {
		tb.Fatal(o.err)
	}
	if len(o.exits) != n {
		tb.Errorf("%d exits, want %d", len(o.exits), n)
	}
	for _, e := range o.exits {
		if e.Code != 0 || e.Err != "" {
			tb.Errorf("%s: code %d, %s; it said %q", e.Vnode, e.Code, e.Err, o.stderr[e.Vnode])
		}
	}
}

func TestHello(t *testing.T) {
	c := open(t, 2)
	want := Info{Platform: "p", Index: 3, Pid: os.Getpid(), Version: Version(), Wire: Wire}
	if c.Info != want {
		t.Errorf("%+v, want %+v", c.Info, want)
	}
	r, err := c.Observe(t.Context())
	if err != nil || len(r.Vnodes) != 2 {
		t.Errorf("observe: %v, %v, want 2 vnodes", r, err)
	}
}

func TestApplyRefuses(t *testing.T) {
	c := open(t, 0)
	for _, s := range []*kernel.RackSpec{{Platform: "q", Rack: program.Rack{Index: 3}}, {Platform: "p"}} {
		_, _, _, err := c.Apply(t.Context(), s, nil)
		var p *program.Problem
		if !errors.As(err, &p) || p.Kind != program.KindInvalid {
			t.Errorf("%s, rack %d: %v, want it refused", s.Platform, s.Rack.Index, err)
		}
	}
}

// slowLocal applies until it is told to stop.
type slowLocal struct {
	namespaces
	began chan struct{}
}

func (s *slowLocal) Apply(ctx context.Context, _ *kernel.RackSpec, progress func(int)) (*program.RackReport, []program.Problem, uint64, error) {
	progress(7)
	close(s.began)
	<-ctx.Done()
	return &program.RackReport{Index: 3, State: program.RackPartial, Vnodes: 7}, nil, 7, ctx.Err()
}

// TestApplyCancelled: the rack stops, and still says what is.
func TestApplyCancelled(t *testing.T) {
	local := &slowLocal{began: make(chan struct{})}
	c := serve(t, local)
	ctx, cancel := context.WithCancel(t.Context())
	up := 0
	go func() { <-local.began; cancel() }()
	report, _, writes, err := c.Apply(ctx, spec(9), func(n int) { up = n })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if report == nil || report.Vnodes != 7 || writes != 7 || up != 7 {
		t.Errorf("report %+v, %d writes, progress %d: want 7 of each", report, writes, up)
	}
}

// TestRubbish: what is no request is answered with an error or not at all,
// and the rack lives on.
func TestRubbish(t *testing.T) {
	c := open(t, 1)
	for _, in := range []string{"", "\x00", "GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x01\xa0", "\xff\xff\xff\xff",
		"\x00\x00\x00\x03\xff\xff\xff", strings.Repeat("\x00", 100_000)} {
		conn, err := dial(t.Context(), c.path)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write([]byte(in))
		conn.CloseWrite()
		var r Reply
		if err := NewFrames(conn).Receive(&r); err == nil && r.Err == nil {
			t.Errorf("%.20q was answered with %+v", in, r)
		}
		conn.Close()
	}
	for _, req := range []*Request{{}, {Hello: &Hello{}, Close: &struct{}{}}} {
		err := c.call(t.Context(), req, nil, func(*Reply) error { return nil })
		var p *program.Problem
		if !errors.As(err, &p) || p.Kind != program.KindInvalid {
			t.Errorf("%+v: %v, want it refused", req, err)
		}
	}
	run(t.Context(), c, &ExecRequest{Argv: []string{"true"}}).ok(t, 1)
}

// descriptors lists what this process has open, by what it refers to.
func descriptors(tb testing.TB) []string {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, to)
		}
	}
	slices.Sort(out)
	return out
}

// sameDescriptors fails the test unless there are soon as many descriptors
// as before.
func sameDescriptors(tb testing.TB, before []string) {
	tb.Helper()
	var now []string
	for range 100 {
		if now = descriptors(tb); len(now) <= len(before) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	tb.Errorf("%d descriptors, %d before; now:\n%s", len(now), len(before), strings.Join(now, "\n"))
}
