package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"myriad/agent"
	"myriad/kernel/mem"
	"myriad/rack"
)

// openMemory carries vnodes in memory, so that scripts can tell whole stories
// without root. Commands run as processes of this machine which find the name
// of their vnode in VNODE; every ping is answered. MEM_PER_VNODE makes it slow.
func openMemory(string, string) (*carried, error) {
	var o mem.Options
	if slow := os.Getenv("MEM_PER_VNODE"); slow != "" {
		var err error
		if o.PerVnode, err = time.ParseDuration(slow); err != nil {
			return nil, err
		}
	}
	p := mem.New(o)
	return &carried{pnode: p, racks: &memRacks{p}}, nil
}

type memRacks struct{ pnode *mem.Pnode }

func (m *memRacks) Call(ctx context.Context, platform string, index uint32, q *rack.Request) (agent.Call, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &memCall{cancel: cancel, replies: make(chan *rack.Reply)}
	if q.Probe != nil {
		go c.probe(ctx, q.Probe)
		return c, nil
	}
	names := q.Exec.Vnodes
	if len(names) == 0 {
		p, err := m.pnode.Observe(ctx, platform)
		if err != nil {
			return nil, err
		}
		for _, r := range p.Racks {
			for _, v := range r.Vnodes {
				if r.Index == index {
					names = append(names, v.Name)
				}
			}
		}
	}
	go c.exec(ctx, q.Exec, names)
	return c, nil
}

// memCall is a call to a rack that is not there.
type memCall struct {
	cancel  context.CancelFunc
	replies chan *rack.Reply

	mu    sync.Mutex
	input bytes.Buffer
	ended sync.Once
	full  chan struct{} // closed at the end of the input
}

func (c *memCall) probe(ctx context.Context, q *rack.ProbeRequest) {
	r := &rack.Reply{Done: true}
	for _, p := range q.Probes {
		r.Echoes = append(r.Echoes, rack.Echo{ID: p.ID, RTT: int64(50 * time.Microsecond)})
	}
	c.reply(ctx, r)
}

func (c *memCall) reply(ctx context.Context, r *rack.Reply) {
	select {
	case c.replies <- r:
	case <-ctx.Done():
	}
}

// exec runs the commands one after the other.
func (c *memCall) exec(ctx context.Context, q *rack.ExecRequest, names []string) {
	defer close(c.replies)
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		r := &rack.Reply{}
		var out, errs bytes.Buffer
		cmd := exec.CommandContext(ctx, q.Argv[0], q.Argv[1:]...)
		cmd.Env = append(append(cmd.Environ(), "VNODE="+name), q.Env...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = q.Dir, &out, &errs
		if q.Stdin {
			cmd.Stdin = bytes.NewReader(c.wholeInput(ctx))
		}
		exit := rack.Exit{Vnode: name, Took: int64(time.Millisecond)}
		var ended *exec.ExitError
		switch err := cmd.Run(); {
		case errors.As(err, &ended) && ended.ExitCode() < 0:
			exit.Signal = int(ended.Sys().(syscall.WaitStatus).Signal())
			exit.Code = 128 + exit.Signal
		case errors.As(err, &ended):
			exit.Code = ended.ExitCode()
		case err != nil:
			exit.Code, exit.Err = 127, err.Error()
		}
		for _, o := range []rack.Output{{Vnode: name, Data: out.Bytes()}, {Vnode: name, Stderr: true, Data: errs.Bytes()}} {
			if len(o.Data) > 0 {
				r.Outputs = append(r.Outputs, o)
			}
		}
		r.Exits = []rack.Exit{exit}
		c.reply(ctx, r)
	}
	c.reply(ctx, &rack.Reply{Done: true})
}

// end is closed when the input has come to its end.
func (c *memCall) end() chan struct{} {
	c.ended.Do(func() { c.full = make(chan struct{}) })
	return c.full
}

func (c *memCall) wholeInput(ctx context.Context) []byte {
	select {
	case <-c.end():
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.input.Bytes())
}

func (c *memCall) Send(in *rack.Input) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.input.Write(in.Data)
	if in.EOF {
		close(c.end())
	}
	return nil
}

func (c *memCall) Recv() (*rack.Reply, error) {
	r, ok := <-c.replies
	if !ok {
		return nil, io.EOF
	}
	return r, nil
}

func (c *memCall) Close() error {
	c.cancel()
	return nil
}
