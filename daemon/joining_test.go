package daemon_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/daemon"
	"myriad/kernel/mem"
	"myriad/program"
	"myriad/trust"
)

// lines keeps what is logged.
type lines struct {
	t    *testing.T
	mu   sync.Mutex
	said []string
}

func (l *lines) Logf(format string, args ...any) {
	l.t.Logf(format, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

// after gives what follows a text in what was logged.
func (l *lines) after(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.said {
		if _, rest, ok := strings.Cut(line, text); ok {
			return rest
		}
	}
	return ""
}

// site is a daemon that others can join, and how.
type site struct {
	*api.Client
	join, leaf bus.Remote
	token      trust.Token
}

func newSite(t *testing.T) *site {
	t.Helper()
	run, state := t.TempDir(), t.TempDir()
	authority, err := trust.Init(daemon.TrustDir(state), nil)
	must(t, err)
	log, ready := &lines{t: t}, make(chan struct{})
	end, ended := background(t, func(ctx context.Context) error {
		return daemon.Run(ctx, daemon.Config{RunDir: run, StateDir: state, Name: "here", Pnode: mem.New(mem.Options{}), Racks: echoRacks{new(atomic.Int64)}, Version: "test",
			Listen: "127.0.0.1:0", LeafListen: "127.0.0.1:0", Address: netip.MustParseAddr("10.9.0.1"), Ready: func() { close(ready) }, Logf: log.Logf})
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("the daemon ended: %v", end())
	case <-time.After(20 * time.Second):
		t.Fatal("the daemon never answers")
	}
	s := &site{Client: api.NewClient(daemon.Socket(run)), token: authority.Token()}
	s.join = bus.Remote{URL: log.after("agents join at "), TLS: s.token.Client(), Secret: s.token.Secret}
	s.leaf = bus.Remote{URL: log.after("relays join at "), TLS: s.token.Client(), Secret: s.token.Secret}
	return s
}

func (s *site) agent(t *testing.T, name string, last byte, join bus.Remote) daemon.AgentConfig {
	return daemon.AgentConfig{RunDir: t.TempDir(), StateDir: t.TempDir(), Pnode: mem.New(mem.Options{}), Name: name, Join: join, Version: "test",
		Address: netip.AddrFrom4([4]byte{10, 9, 0, last})}
}

// refused runs an agent that is not let in.
func refused(t *testing.T, c daemon.AgentConfig) *program.Problem {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c.Logf = t.Logf
	err := daemon.RunAgent(ctx, c)
	if err == nil {
		t.Fatal("it is let in, or waits")
	}
	return bus.ProblemOf(err)
}

// TestRefusedAgents: who may not join is told why, and what to do.
func TestRefusedAgents(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.agent(t, "first", 2, s.join)
	joined(t, first)
	other := s.token
	other.Secret = strings.Repeat("A", len(other.Secret))
	for name, tt := range map[string]struct {
		change func(*daemon.AgentConfig)
		kind   program.Kind
		says   string
	}{
		"another secret":       {func(c *daemon.AgentConfig) { c.Join.Secret = other.Secret }, program.KindPermission, "does not take the join token"},
		"another authority":    {func(c *daemon.AgentConfig) { c.Join.TLS = trust.Token{Secret: other.Secret}.Client() }, program.KindPermission, "another authority"},
		"another version":      {func(c *daemon.AgentConfig) { c.Version = "v7" }, program.KindUnsupported, "v7"},
		"somebody else's name": {func(c *daemon.AgentConfig) { c.Name = "first" }, program.KindConflict, "another machine of that name"},
		"the port of relays":   {func(c *daemon.AgentConfig) { c.Join = s.leaf }, program.KindInvalid, "for relays"},
		"a directory in use":   {func(c *daemon.AgentConfig) { c.RunDir = first.RunDir }, program.KindConflict, "an agent uses it"},
		"a state in use":       {func(c *daemon.AgentConfig) { c.StateDir = first.StateDir }, program.KindConflict, "an agent uses it"},
	} {
		c := s.agent(t, "late", 9, s.join)
		tt.change(&c)
		if p := refused(t, c); p.Kind != tt.kind || !strings.Contains(p.Error(), tt.says) || p.Remedy == "" {
			t.Errorf("%s: %v: %v", name, p.Kind, p)
		}
	}
	if p := try(t, first.RunDir, t.TempDir()); p.Kind != program.KindConflict || !strings.Contains(p.Error(), "an agent uses it") {
		t.Errorf("a daemon beside an agent: %v", p)
	}
}

// TestCertificateEnded: a server whose certificate has ended, as one has that
// cannot write to its disk for months, is not believed.
func TestCertificateEnded(t *testing.T) {
	t.Parallel()
	old, err := trust.InitAt(func() time.Time { return time.Now().AddDate(-2, 0, 0) }, t.TempDir(), nil)
	must(t, err)
	server, err := bus.NewServer(bus.ServerOptions{Listen: "127.0.0.1:0", TLS: old.Server(), Secret: old.Token().Secret, Logf: t.Logf})
	must(t, err)
	t.Cleanup(server.Close)
	s := &site{}
	p := refused(t, s.agent(t, "late", 9, bus.Remote{URL: "tls://" + server.Addr(), TLS: old.Token().Client(), Secret: old.Token().Secret}))
	if p.Kind != program.KindPermission || !strings.Contains(p.Cause, "ended") || !strings.Contains(p.Remedy, "myriad init --renew") {
		t.Errorf("%v: %v", p.Kind, p)
	}
}

// TestListenWithoutTrust: nothing listens that nobody could believe.
func TestListenWithoutTrust(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]daemon.Config{"agents": {Listen: "127.0.0.1:0"}, "relays": {LeafListen: "127.0.0.1:0"}} {
		c.RunDir, c.StateDir, c.NoAgent = t.TempDir(), t.TempDir(), true
		p := bus.ProblemOf(daemon.Run(t.Context(), c))
		if p == nil || p.Kind != program.KindNotFound || !strings.Contains(p.Remedy, "myriad init") {
			t.Errorf("for %s: %v", name, p)
		}
	}
}

// TestAgentWaits: a bus that is not there is waited for, and an agent that
// waits ends when it is told to.
func TestAgentWaits(t *testing.T) {
	t.Parallel()
	log := &lines{t: t}
	c := (&site{}).agent(t, "early", 9, bus.Remote{URL: "nats://127.0.0.1:1"})
	c.Logf = log.Logf
	end, _ := background(t, func(ctx context.Context) error { return daemon.RunAgent(ctx, c) })
	await(t, func() bool { return log.after("trying on") != "" || log.after("refused") != "" })
	if h := daemon.HolderOf(c.RunDir); h.Role != daemon.RoleAgent || h.Bus != "nats://127.0.0.1:1" || h.Pid == 0 {
		t.Errorf("the run directory is held by %+v", h)
	}
	must(t, end())
	if h := daemon.HolderOf(c.RunDir); h != (daemon.Holder{}) {
		t.Errorf("after its end, by %+v", h)
	}
}

// TestManyMachines: agents of two sites, one behind a relay, carry a platform
// together; one ends, and its vnodes live on.
func TestManyMachines(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	log, linked := &lines{t: t}, make(chan struct{})
	background(t, func(ctx context.Context) error {
		return daemon.RunRelay(ctx, daemon.RelayConfig{Join: s.leaf, Listen: "127.0.0.1:0", TLS: s.token.Relay(), Site: "lyon", Ready: func() { close(linked) }, Logf: log.Logf})
	})
	select {
	case <-linked:
	case <-time.After(20 * time.Second):
		t.Fatal("the relay never reaches the bus")
	}
	near := s.agent(t, "near", 2, s.join)
	endNear := joined(t, near)
	far := s.agent(t, "far", 3, bus.Remote{URL: log.after("agents of site lyon join at "), TLS: s.token.Client(), Secret: s.token.Secret})
	far.Site = "lyon"
	joined(t, far)

	var result *api.Platform
	var drained []string
	up := func() {
		t.Helper()
		must(t, s.Up(t.Context(), &api.UpRequest{File: "x", Source: topology("x", 300)}, func(e *api.Event) error {
			if e.Result != nil {
				result = e.Result
			}
			return nil
		}))
	}
	up()
	if result.Up != 300 || len(result.Pnodes) != 3 || result.Pnodes[0].Pnode != "far" || result.Pnodes[0].Up != 100 || result.Pnodes[0].RacksUp != 1 {
		t.Errorf("up: %+v", result)
	}
	must(t, s.Drain(t.Context(), "near", &api.DrainRequest{}, func(e *api.Event) error { drained = append(drained, e.Type); return nil }))
	if !slices.Contains(drained, api.EventDrained) {
		t.Errorf("draining told %q", drained)
	}
	list, err := s.Pnodes(t.Context())
	must(t, err)
	for _, n := range list {
		want := api.Pnode{Name: n.Name, State: "up", Vnodes: 150}
		switch n.Name {
		case "far":
			want.Site = "lyon"
		case "near":
			want.Drained, want.Vnodes = true, 0
		}
		if n.Site != want.Site || n.State != want.State || n.Vnodes != want.Vnodes || n.Drained != want.Drained || n.Version != "test" || n.Address == "" {
			t.Errorf("pnode %+v, want %+v", n, want)
		}
	}
	if err := s.ForgetPnode(t.Context(), "near"); kindOf(err) != program.KindConflict {
		t.Errorf("forgetting one that is up: %v", err)
	}
	must(t, endNear())
	await(t, func() bool {
		list, err := s.Pnodes(t.Context())
		return err == nil && slices.ContainsFunc(list, func(n api.Pnode) bool { return n.Name == "near" && n.State == "left" })
	})
	must(t, s.ForgetPnode(t.Context(), "near"))
	if err := s.ForgetPnode(t.Context(), "near"); kindOf(err) != program.KindNotFound {
		t.Errorf("forgetting nobody: %v", err)
	}
	must(t, s.Down(t.Context(), "x", func(*api.Event) error { return nil }))
}

// TestTwoCoordinators: a machine that carries vnodes for one coordinator is
// taken in by another one only when it is told to let go of them.
func TestTwoCoordinators(t *testing.T) {
	t.Parallel()
	one, two := newSite(t), newSite(t)
	c := one.agent(t, "between", 2, one.join)
	end := joined(t, c)
	must(t, one.Up(t.Context(), &api.UpRequest{File: "x", Source: topology("x", 100)}, func(*api.Event) error { return nil }))
	must(t, end())
	c.Join = two.join
	if p := refused(t, c); p.Kind != program.KindConflict || !strings.Contains(p.Error(), "carries platforms of coordinator") || !strings.Contains(p.Remedy, "--take-over") {
		t.Errorf("%v: %v", p.Kind, p)
	}
	if list, err := two.Platforms(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("refused, it is listed with %+v, %v", list, err)
	}
	c.TakeOver = true
	joined(t, c)
	await(t, func() bool {
		list, err := two.Platforms(t.Context())
		return err == nil && len(list) == 1 && list[0].State == "foreign" && list[0].Up == 50
	})
	must(t, two.Down(t.Context(), "x", func(*api.Event) error { return nil }))
}
