package daemon_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"myriad/agent"
	"myriad/api"
	"myriad/kernel/mem"
	"myriad/program"
	"myriad/rack"
)

// echoRacks plays racks in which every command prints its own name and its
// input, and every ping is answered.
type echoRacks struct {
	written *atomic.Int64 // frames of the command "yes", which never ends
}

type echoCall struct {
	echoRacks
	ctx    context.Context
	q      *rack.Request
	inputs chan *rack.Input
	queue  []*rack.Reply
}

func (e echoRacks) Call(ctx context.Context, _ string, index uint32, q *rack.Request) (agent.Call, error) {
	c := &echoCall{echoRacks: e, ctx: ctx, q: q, inputs: make(chan *rack.Input, 8)}
	if q.Probe != nil {
		r := &rack.Reply{Done: true}
		for i, p := range q.Probe.Probes {
			e := rack.Echo{ID: p.ID, RTT: int64(i+1) * 1000}
			if p.From == "n7" {
				e = rack.Echo{ID: p.ID}
			}
			r.Echoes = append(r.Echoes, e)
		}
		c.queue = append(c.queue, r)
		return c, nil
	}
	switch q.Exec.Argv[0] {
	case "lost":
		if index == 0 {
			return nil, errors.New("connection refused")
		}
	case "yes":
		return c, nil
	}
	names := q.Exec.Vnodes
	if len(names) == 0 && index == 0 {
		names = []string{"n1", "n2", "n3"}
	}
	for _, n := range names {
		c.queue = append(c.queue, &rack.Reply{Outputs: []rack.Output{{Vnode: n, Data: []byte(n + "\n")}}})
		c.queue = append(c.queue, &rack.Reply{Exits: []rack.Exit{{Vnode: n, Code: len(n)}}})
	}
	c.queue = append(c.queue, &rack.Reply{Done: true})
	return c, nil
}

func (c *echoCall) Send(in *rack.Input) error { c.inputs <- in; return nil }
func (c *echoCall) Close() error              { return nil }

func (c *echoCall) Recv() (*rack.Reply, error) {
	if c.q.Exec != nil && c.q.Exec.Stdin {
		select {
		case in := <-c.inputs:
			if !in.EOF {
				return &rack.Reply{Outputs: []rack.Output{{Vnode: "n1", Data: in.Data}}}, nil
			}
		case <-c.ctx.Done():
			return nil, io.EOF
		}
		c.q.Exec.Stdin = false
	}
	if len(c.queue) == 0 { // yes
		if c.ctx.Err() != nil {
			return nil, io.EOF
		}
		c.written.Add(1)
		return &rack.Reply{Outputs: []rack.Output{{Vnode: "n1", Data: make([]byte, 10000)}}}, nil
	}
	r := c.queue[0]
	c.queue = c.queue[1:]
	return r, nil
}

func (m *machine) exec(nodes string, e *rack.ExecRequest) *api.Session {
	m.t.Helper()
	s, err := m.Exec(m.t.Context(), "x", &api.ExecRequest{Nodes: nodes, Exec: e})
	must(m.t, err)
	m.t.Cleanup(func() { s.Close() })
	return s
}

// all reads a session to its end.
func all(t *testing.T, s *api.Session) (outputs string, exits map[string]rack.Exit, failed *program.Problem) {
	t.Helper()
	exits = map[string]rack.Exit{}
	for {
		r, err := s.Recv()
		must(t, err)
		for _, o := range r.Outputs {
			outputs += string(o.Data)
		}
		for _, e := range r.Exits {
			if _, twice := exits[e.Vnode]; twice {
				t.Errorf("%s ended twice", e.Vnode)
			}
			exits[e.Vnode] = e
		}
		if r.Done {
			return outputs, exits, r.Err
		}
	}
}

func TestExec(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	m.mustUp("x", 1500)
	out, exits, failed := all(t, m.exec("n[2-3,10]", &rack.ExecRequest{Argv: []string{"hostname"}}))
	if failed != nil || out != "n2\nn3\nn10\n" || len(exits) != 3 || exits["n10"].Code != 3 {
		t.Errorf("out %q, exits %v, %v", out, exits, failed)
	}
	// Every vnode ends, those whose rack is lost or forgets them too.
	_, exits, failed = all(t, m.exec("*", &rack.ExecRequest{Argv: []string{"lost"}}))
	if failed != nil || len(exits) != 1500 || exits["n1"].Code != 255 || !strings.Contains(exits["n1"].Err, "refused") || exits["n1500"].Code != 255 {
		t.Errorf("%d exits, n1: %+v, n1500: %+v, %v", len(exits), exits["n1"], exits["n1500"], failed)
	}
	for nodes, e := range map[string]*rack.ExecRequest{
		"n9999":  {Argv: []string{"true"}},
		"n1":     {},
		"n[1-2]": {Argv: []string{"sh"}, Tty: true},
	} {
		if _, _, failed := all(t, m.exec(nodes, e)); failed == nil {
			t.Errorf("%s: no error", nodes)
		}
	}
}

func TestExecInput(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	m.mustUp("x", 3)
	s := m.exec("n1", &rack.ExecRequest{Argv: []string{"cat"}, Stdin: true})
	for range 300 {
		must(t, s.Send(&rack.Input{Data: []byte("hello ")}))
	}
	must(t, s.Send(&rack.Input{EOF: true}))
	out, exits, _ := all(t, s)
	if out != strings.Repeat("hello ", 300)+"n1\n" || len(exits) != 1 {
		t.Errorf("%d bytes, %v", len(out), exits)
	}
}

// TestExecSlowReader: a client that does not read holds up what writes, and
// misses nothing.
func TestExecSlowReader(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	m.mustUp("x", 3)
	s := m.exec("*", &rack.ExecRequest{Argv: []string{"yes"}})
	written := m.racks.(echoRacks).written
	settled := int64(-1)
	for written.Load() != settled {
		settled = written.Load()
		time.Sleep(50 * time.Millisecond)
	}
	if settled > 500 {
		t.Errorf("%d frames were written that nobody read", settled)
	}
	for range settled + 100 {
		_, err := s.Recv()
		must(t, err)
	}
}

// TestExecLeaves: a client that goes away ends what it started.
func TestExecLeaves(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	m.mustUp("x", 3)
	for range 3 {
		s := m.exec("*", &rack.ExecRequest{Argv: []string{"yes"}})
		for range 10 {
			_, err := s.Recv()
			must(t, err)
		}
		time.Sleep(20 * time.Millisecond) // meanwhile nobody reads
		s.Close()
	}
	s := m.exec("*", &rack.ExecRequest{Argv: []string{"yes"}})
	_, err := s.Recv()
	must(t, err)
	began := time.Now()
	must(t, m.end()) // so does a daemon that ends
	if took := time.Since(began); took > time.Second {
		t.Errorf("the daemon took %v to end", took)
	}
}

func TestCheck(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	m.mustUp("x", 40)
	var result *api.Check
	check := func(q api.CheckRequest) *api.Check {
		t.Helper()
		must(t, m.Check(t.Context(), "x", &q, func(e *api.Event) error {
			if e.Check != nil {
				result = e.Check
			}
			return nil
		}))
		return result
	}
	if got := check(api.CheckRequest{}); got.Pairs != 40*39 || got.Answered != 39*39 || len(got.Failed) != 39 || got.RTTMedian == 0 || got.RTTP99 <= got.RTTMedian || got.Failed[0] != "n7 -> n1: no answer" {
		t.Errorf("check: %+v", got)
	}
	if got := check(api.CheckRequest{Pairs: 50, Seed: 3}); got.Pairs != 50 {
		t.Errorf("check of 50 pairs: %+v", got)
	}
	if err := m.Check(t.Context(), "x", &api.CheckRequest{Pairs: -1}, func(*api.Event) error { return nil }); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("check of -1 pairs: %v", err)
	}
	m.mustUp("x", 1)
	if err := m.Check(t.Context(), "x", &api.CheckRequest{}, func(*api.Event) error { return nil }); kindOf(err) != program.KindInvalid {
		t.Errorf("check of a single vnode: %v", err)
	}
}
