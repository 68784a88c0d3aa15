package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/rack"
)

// fakeRacks plays rack processes: every vnode of an exec prints its name.
type fakeRacks struct {
	lost   map[uint32]bool
	closed sync.WaitGroup
	lines  int // each vnode prints
}

type fakeCall struct {
	racks *fakeRacks
	index uint32
	q     *rack.Request
	in    chan *rack.Input
	sent  int
	once  sync.Once
}

func (f *fakeRacks) Call(_ context.Context, _ string, index uint32, q *rack.Request) (Call, error) {
	if f.lost[index] {
		return nil, errors.New("connection refused")
	}
	f.closed.Add(1)
	return &fakeCall{racks: f, index: index, q: q, in: make(chan *rack.Input, 10)}, nil
}

func (c *fakeCall) Send(in *rack.Input) error { c.in <- in; return nil }
func (c *fakeCall) Close() error              { c.once.Do(c.racks.closed.Done); return nil }

func (c *fakeCall) Recv() (*rack.Reply, error) {
	if c.q.Probe != nil {
		r := &rack.Reply{Done: true}
		for _, p := range c.q.Probe.Probes {
			r.Echoes = append(r.Echoes, rack.Echo{ID: p.ID, RTT: 1})
		}
		return r, nil
	}
	c.sent++
	text := fmt.Sprint(c.q.Exec.Vnodes)
	switch {
	case c.q.Exec.Stdin:
		in := <-c.in
		if in.EOF {
			return &rack.Reply{Done: true}, nil
		}
		text = string(in.Data)
	case c.sent > c.racks.lines:
		return nil, io.EOF // it is killed before it is done
	}
	return &rack.Reply{Outputs: []rack.Output{{Vnode: fmt.Sprint("rack", c.index), Data: []byte(text)}}}, nil
}

// replies gathers what a stream gives, as text.
func replies(t *testing.T, s *bus.Stream) []string {
	t.Helper()
	var out []string
	for {
		var r rack.Reply
		err := s.Recv(&r)
		if err == io.EOF {
			slices.Sort(out)
			return out
		}
		must(t, err)
		for _, o := range r.Outputs {
			out = append(out, o.Vnode+": "+string(o.Data))
		}
		for _, p := range r.Problems {
			out = append(out, fmt.Sprintf("rack %d: %s", p.Rack, p.Cause))
		}
		for _, e := range r.Echoes {
			out = append(out, fmt.Sprint("echo ", e.ID))
		}
	}
}

func TestExec(t *testing.T) {
	racks := &fakeRacks{lost: map[uint32]bool{2: true}, lines: 1}
	s, _ := start(t, newServer(t), t.TempDir(), mem.New(mem.Options{}), racks)
	stream := s.open(t, t.Context(), "exec", "x")
	must(t, stream.Send([]bus.Share{{Rack: 0}, {Rack: 1, Vnodes: []string{"b", "c"}}, {Rack: 2}}))
	must(t, stream.Send(rack.ExecRequest{Argv: []string{"hostname"}}))
	got := replies(t, stream)
	want := []string{
		"rack 0: it ended meanwhile", "rack 1: it ended meanwhile", "rack 2: connection refused",
		"rack0: []", "rack1: [b c]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	racks.closed.Wait()
}

func TestExecInput(t *testing.T) {
	racks := &fakeRacks{}
	s, _ := start(t, newServer(t), t.TempDir(), mem.New(mem.Options{}), racks)
	stream := s.open(t, t.Context(), "exec", "x")
	must(t, stream.Send([]bus.Share{{Rack: 0}, {Rack: 1}}))
	must(t, stream.Send(rack.ExecRequest{Argv: []string{"cat"}, Stdin: true}))
	must(t, stream.Send(rack.Input{Data: []byte("hello")}))
	must(t, stream.Send(rack.Input{EOF: true}))
	if got, want := replies(t, stream), []string{"rack0: hello", "rack1: hello"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	racks.closed.Wait()
}

// TestExecCallerLeaves: calls to racks are closed, which kills what they run.
func TestExecCallerLeaves(t *testing.T) {
	racks := &fakeRacks{lines: 1 << 30} // prints for ever
	s, _ := start(t, newServer(t), t.TempDir(), mem.New(mem.Options{}), racks)
	stream := s.open(t, t.Context(), "exec", "x")
	must(t, stream.Send([]bus.Share{{Rack: 0}, {Rack: 1}}))
	must(t, stream.Send(rack.ExecRequest{Argv: []string{"yes", strings.Repeat("y", 1000)}}))
	for range 100 {
		must(t, stream.Recv(new(rack.Reply)))
	}
	stream.Close()
	racks.closed.Wait()
}

func TestProbe(t *testing.T) {
	racks := &fakeRacks{lost: map[uint32]bool{1: true}}
	s, _ := start(t, newServer(t), t.TempDir(), mem.New(mem.Options{}), racks)
	stream := s.open(t, t.Context(), "probe", "x")
	for i := range uint32(3) {
		must(t, stream.Send(bus.Share{Rack: i}))
		must(t, stream.Send(rack.ProbeRequest{Probes: []rack.Probe{{ID: i * 10}, {ID: i*10 + 1}}}))
	}
	must(t, stream.CloseSend())
	want := []string{"echo 0", "echo 1", "echo 20", "echo 21", "rack 1: connection refused"}
	if got := replies(t, stream); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
