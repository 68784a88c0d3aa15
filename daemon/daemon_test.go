package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/agent"
	"myriad/api"
	"myriad/daemon"
	"myriad/kernel/mem"
	"myriad/program"
)

// machine is one machine with a daemon, that can end and come back.
type machine struct {
	*api.Client
	t        *testing.T
	pnode    agent.Pnode
	racks    agent.Racks
	run      string
	state    string
	end      func() error
	haveAuto bool
}

func newMachine(t *testing.T, p agent.Pnode) *machine {
	t.Helper()
	m := &machine{t: t, pnode: p, run: t.TempDir(), state: t.TempDir(), racks: echoRacks{new(atomic.Int64)}}
	m.Client = api.NewClient(daemon.Socket(m.run))
	m.start()
	return m
}

// start starts the daemon, and returns when it answers.
func (m *machine) start() {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{RunDir: m.run, StateDir: m.state, Pnode: m.pnode, Racks: m.racks, Name: "here",
			Version: "test", Auto: m.haveAuto, Ready: func() { close(ready) }, Logf: m.t.Logf})
	}()
	m.end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	m.t.Cleanup(func() {
		if err := m.end(); err != nil {
			m.t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil // for the cleanup
		m.t.Fatalf("the daemon ended: %v", err)
	case <-time.After(10 * time.Second):
		m.t.Fatal("the daemon never answers")
	}
}

// restart ends the daemon and starts another one.
func (m *machine) restart() {
	m.t.Helper()
	must(m.t, m.end())
	m.start()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func topology(name string, vnodes int) string {
	return fmt.Sprintf("platform: %s\nvnetworks: {lan: 10.0.0.0/8}\nvnodes: [{nodes: 'n[1-%d]', vifaces: [lan], groups: [all]}]\n", name, vnodes)
}

// up brings a platform up, and gives what is there in the end.
func (m *machine) up(ctx context.Context, name string, vnodes int) (*api.Platform, error) {
	var result *api.Platform
	err := m.Up(ctx, &api.UpRequest{File: name + ".yaml", Source: topology(name, vnodes)}, func(e *api.Event) error {
		if e.Result != nil {
			result = e.Result
		}
		return nil
	})
	return result, err
}

func (m *machine) mustUp(name string, vnodes int) *api.Platform {
	m.t.Helper()
	p, err := m.up(m.t.Context(), name, vnodes)
	must(m.t, err)
	if p.State != "up" || p.Up != vnodes || p.Vnodes != vnodes {
		m.t.Fatalf("%s is %s, %d of %d up, want %d", name, p.State, p.Up, p.Vnodes, vnodes)
	}
	return p
}

func (m *machine) down(name string) {
	m.t.Helper()
	must(m.t, m.Down(m.t.Context(), name, func(*api.Event) error { return nil }))
}

// states gives the platforms as text.
func (m *machine) states() []string {
	m.t.Helper()
	list, err := m.Platforms(m.t.Context())
	must(m.t, err)
	out := []string{}
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s %s %d/%d", p.Name, p.State, p.Up, p.Vnodes))
	}
	return out
}

func (m *machine) expect(want ...string) {
	m.t.Helper()
	deadline := time.Now().Add(3 * time.Second)
	for {
		got := m.states()
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("platforms are %q, want %q", got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func kindOf(err error) program.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return program.KindInternal
}

func TestLife(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	m.expect()
	first := m.mustUp("x", 1500)
	if first.Writes == 0 || first.Took == 0 || first.Since.IsZero() || len(first.Racks) != 2 || first.Networks[0].Vifaces != 1500 {
		t.Errorf("up: %+v", first)
	}
	if again := m.mustUp("x", 1500); again.Writes != 0 {
		t.Errorf("up again wrote %d times", again.Writes)
	}
	if edited := m.mustUp("x", 1600); edited.Writes < 100 || edited.Writes > 110 {
		t.Errorf("100 more vnodes wrote %d times", edited.Writes)
	}
	m.mustUp("y", 10) // the same subnet
	m.expect("x up 1600/1600", "y up 10/10")
	list, err := m.Pnodes(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "here" || list[0].Vnodes != 1610 || list[0].CPUs == 0 || list[0].Memory == 0 {
		t.Errorf("pnodes: %+v, %v", list, err)
	}
	v, err := m.Version(t.Context())
	if err != nil || v.Version != "test" || v.Pid != os.Getpid() {
		t.Errorf("version: %+v, %v", v, err)
	}
	m.down("x")
	m.expect("y up 10/10")
	m.down("y")
	m.expect()
	if p.String() != "" {
		t.Errorf("left in the kernel:\n%s", p)
	}
	if err := m.Down(t.Context(), "y", func(*api.Event) error { return nil }); kindOf(err) != program.KindNotFound {
		t.Errorf("down of nothing: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	each := func(*api.Event) error { return nil }
	for name, tt := range map[string]struct {
		source string
		kind   program.Kind
		says   string
	}{
		"rubbish":   {"\x00\xff{{{", program.KindInvalid, ""},
		"empty":     {"", program.KindInvalid, ""},
		"faults":    {"platform: x\nvnods: []\nvnetwork: {}\n", program.KindInvalid, "problems"},
		"too large": {"platform: x\n#" + strings.Repeat("x", 17<<20), program.KindInvalid, "16 MiB"},
		"no room":   {topology("x", tooMany(t)), program.KindExhausted, "memory"},
	} {
		err := m.Up(t.Context(), &api.UpRequest{File: "f.yaml", Source: tt.source}, each)
		if kindOf(err) != tt.kind || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v %v", name, kindOf(err), err)
		}
	}
	m.expect()
	_, err := m.Platform(t.Context(), "none")
	if kindOf(err) != program.KindNotFound {
		t.Errorf("platform none: %v", err)
	}
	if err := m.Vnodes(t.Context(), "none", "", func(*api.Vnode) error { return nil }); kindOf(err) != program.KindNotFound {
		t.Errorf("vnodes of none: %v", err)
	}
}

// tooMany is more vnodes than this machine has memory for.
func tooMany(t *testing.T) int {
	var info unix.Sysinfo_t
	must(t, unix.Sysinfo(&info))
	return int(info.Totalram * uint64(info.Unit) / 200_000)
}

// observed reads back no more than a kernel can: racks, but neither the name
// of the pnode nor networks.
type observed struct{ *mem.Pnode }

func (o observed) Observe(ctx context.Context, platform string) (*program.Program, error) {
	p, err := o.Pnode.Observe(ctx, platform)
	return &program.Program{Platform: p.Platform, Racks: p.Racks}, err
}

func TestVnodes(t *testing.T) {
	p := mem.New(mem.Options{MaxVnodes: 1200})
	m := newMachine(t, observed{p})
	got, err := m.up(t.Context(), "x", 1500)
	must(t, err)
	if got.State != "partial" || got.Up != 1200 || len(got.Problems) != 300 || got.Problems[0].Kind != program.KindExhausted {
		t.Errorf("state %s, %d up, %d problems", got.State, got.Up, len(got.Problems))
	}
	p.Kill("x", 0)
	m.expect("x partial 450/1500")
	states := map[string]int{}
	must(t, m.Vnodes(t.Context(), "x", "", func(v *api.Vnode) error { states[v.State]++; return nil }))
	if states["up"] != 450 || states["lost"] != 750 || states["down"] != 300 {
		t.Errorf("states: %v", states)
	}
	for expr, want := range map[string]int{"n1": 1, "@all!n[1-1400]": 100, "n1?": 10, "*": 1500} {
		n := 0
		must(t, m.Vnodes(t.Context(), "x", expr, func(v *api.Vnode) error {
			n++
			if v.Vifaces[0].Network != "lan" || !strings.HasPrefix(v.Vifaces[0].Address, "10.0.") || v.Groups[0] != "all" || v.Pnode != "here" {
				return fmt.Errorf("%+v", v)
			}
			return nil
		}))
		if n != want {
			t.Errorf("%s: %d vnodes, want %d", expr, n, want)
		}
	}
	for expr, kind := range map[string]program.Kind{"n[": program.KindInvalid, "n[1400-1600]": program.KindNotFound, "@none": program.KindInvalid, "n1!n1": program.KindInvalid} {
		if err := m.Vnodes(t.Context(), "x", expr, func(*api.Vnode) error { return nil }); kindOf(err) != kind {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

// TestDaemonComesAndGoes: vnodes outlive daemons, whenever they end.
func TestDaemonComesAndGoes(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	m.mustUp("x", 1500)
	m.mustUp("y", 5)
	m.restart()
	m.expect("x up 1500/1500", "y up 5/5")
	if again := m.mustUp("x", 1500); again.Writes != 0 {
		t.Errorf("up after a restart wrote %d times", again.Writes)
	}

	must(t, m.end())
	p.Kill("x", 1)
	must(t, p.Remove(t.Context(), "y", nil))
	must(t, os.RemoveAll(filepath.Join(m.run, "y")))
	_, err := m.Platforms(t.Context())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a daemon: %v", err)
	}
	m.start()
	m.expect("x partial 750/1500")
	m.mustUp("x", 1500)

	must(t, m.end())
	must(t, os.RemoveAll(m.state)) // nothing is remembered
	must(t, os.WriteFile(daemon.Socket(m.run), nil, 0o600))
	m.start()
	m.expect("x foreign 1500/1500")
	m.mustUp("x", 1500)
	m.down("x")
	if p.String() != "" {
		t.Errorf("left:\n%s", p)
	}
}

// TestEndDuringUp: the daemon is told to end while it works.
func TestEndDuringUp(t *testing.T) {
	p := mem.New(mem.Options{PerVnode: time.Millisecond})
	m := newMachine(t, p)
	failed := make(chan error, 1)
	begun := make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	go func() {
		failed <- m.Up(context.Background(), &api.UpRequest{File: "x", Source: topology("x", 900)}, func(e *api.Event) error {
			if e.Done > 0 {
				once()
			}
			return nil
		})
	}()
	<-begun
	must(t, m.end())
	if err := <-failed; kindOf(err) != program.KindUnavailable {
		t.Errorf("the one who waited got %v", err)
	}
	m.start()
	if got := m.states()[0]; !strings.HasPrefix(got, "x partial ") {
		t.Errorf("after the restart: %s", got)
	}
	m.mustUp("x", 900)
}

// TestInterruptedUp: whoever asked goes away, so the work stops; up goes on.
func TestInterruptedUp(t *testing.T) {
	p := mem.New(mem.Options{PerVnode: time.Millisecond})
	m := newMachine(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	err := m.Up(ctx, &api.UpRequest{File: "x", Source: topology("x", 900)}, func(e *api.Event) error {
		if e.Done > 0 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		got := m.states()[0]
		if strings.HasPrefix(got, "x partial ") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after it was cancelled: %s", got)
		}
	}
	m.mustUp("x", 900)
}

func TestConcurrentRequests(t *testing.T) {
	p := mem.New(mem.Options{PerVnode: 100 * time.Microsecond})
	m := newMachine(t, p)
	var work sync.WaitGroup
	for i := range 12 {
		work.Go(func() {
			name := string(rune('a' + i%3))
			if _, err := m.up(t.Context(), name, 200+i/6*10); err != nil {
				t.Errorf("up %s: %v", name, err)
			}
		})
	}
	work.Wait()
	for _, s := range m.states() {
		if !strings.Contains(s, " up 2") {
			t.Errorf("in the end: %s", s)
		}
	}

	// Down during up: the up is told, the platform is gone.
	failed := make(chan error, 1)
	begun := make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	go func() {
		failed <- m.Up(context.Background(), &api.UpRequest{File: "a", Source: topology("a", 20000)}, func(e *api.Event) error {
			if e.Done > 0 {
				once()
			}
			return nil
		})
	}()
	<-begun
	m.down("a")
	if err := <-failed; kindOf(err) != program.KindConflict {
		t.Errorf("up during which the platform was taken down: %v", err)
	}
	if s := m.states(); len(s) != 2 {
		t.Errorf("left: %q", s)
	}
}

func TestEvents(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	m.mustUp("x", 5)
	m.restart()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- m.Events(ctx, "x", true, func(e *api.Event) error {
			seen <- e.Type + " " + e.Message
			return nil
		})
	}()
	next := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if !strings.HasPrefix(got, want) {
				t.Errorf("event %q, want %q", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no event %q", want)
		}
	}
	next("up 5 of 5")
	p.Kill("x", 0)
	next("rack-lost rack 0 of pnode here is lost, with 5 vnodes")
	m.mustUp("x", 5)
	next("up 5 of 5")
	m.mustUp("y", 5)
	m.down("x")
	next("down 5 vnodes")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("following ended with %v", err)
	}
	must(t, m.end())
	m.start()
	n := 0
	must(t, m.Events(t.Context(), "", false, func(*api.Event) error { n++; return nil }))
	if n != 5 {
		t.Errorf("%d events are remembered, want 5", n)
	}
}
