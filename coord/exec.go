package coord

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"myriad/api"
	"myriad/bus"
	"myriad/program"
	"myriad/rack"
)

// codeLost is the exit code of a vnode whose command nobody can tell the end
// of: its rack was lost, or could not be reached.
const codeLost = 255

// Exec runs a command in the vnodes that q names, in all of their racks at
// once. output gets what comes, one frame at a time; while it does not
// return, the commands that write are held up. Every vnode has one Exit in the
// end, whatever happens to its rack. inputs, which may be nil, is standard
// input for all of them. When ctx ends, what was started is killed.
func (c *Coordinator) Exec(ctx context.Context, platform string, q *api.ExecRequest, inputs <-chan rack.Input, output func(*rack.Reply) error) error {
	if q.Exec == nil || len(q.Exec.Argv) == 0 {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "run a command", Cause: "there is none", Remedy: "write it after --"}
	}
	p, err := c.planOf(ctx, platform)
	if err != nil {
		return err
	}
	nodes, err := resolve(p, q.Nodes)
	if err != nil {
		return err
	}
	if q.Exec.Tty && nodes.Len() > 1 {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "open a terminal", Cause: fmt.Sprintf("%d vnodes are named", nodes.Len()), Remedy: "name one"}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := &execution{
		target: newTarget(p, nodes), c: c, request: *q.Exec, output: output, cancel: cancel,
		ended: make([]bool, p.Len()), causes: map[[2]int]string{},
	}
	return x.run(ctx, inputs)
}

// execution is one exec under way.
type execution struct {
	*target
	c       *Coordinator
	request rack.ExecRequest
	output  func(*rack.Reply) error
	cancel  context.CancelCauseFunc

	opening sync.WaitGroup // pnodes that have not begun yet

	mu      sync.Mutex
	streams []*bus.Stream
	ended   []bool            // by row of the plan
	causes  map[[2]int]string // why racks have failed, by pnode and rack
}

func (x *execution) run(ctx context.Context, inputs <-chan rack.Input) error {
	over := make(chan struct{})
	var feeding sync.WaitGroup
	feeding.Go(func() { x.feed(inputs, over) })
	var calls sync.WaitGroup
	x.opening.Add(len(x.shares))
	for pnode := range x.shares { // all at once: a command may run for as long as it likes
		calls.Go(func() { x.failed(pnode, x.runAt(ctx, pnode)) })
	}
	calls.Wait()
	close(over)
	for _, s := range x.streams {
		s.Close() // a feeder that waits for one of them goes on
	}
	feeding.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return x.complete()
}

// runAt runs the part of the exec that is a pnode's, while that is there.
func (x *execution) runAt(ctx context.Context, pnode int) error {
	s, end, err := x.open(ctx, pnode)
	if err != nil {
		return err
	}
	defer end()
	return x.receive(pnode, s)
}

// open starts the part of the exec that is a pnode's.
func (x *execution) open(ctx context.Context, pnode int) (s *bus.Stream, end context.CancelFunc, err error) {
	defer x.opening.Done()
	ctx, end, err = x.c.alive(ctx, x.pnodes[pnode])
	if err != nil {
		return nil, nil, err
	}
	if s, err = bus.Open(ctx, x.c.Conn, bus.SubjectOf(x.pnodes[pnode], "exec"), bus.Platform{Name: x.plan.Platform()}); err == nil {
		if err = s.Send(x.sharesOf(pnode)); err == nil {
			err = s.Send(x.request)
		}
		if err != nil {
			s.Close()
		}
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.streams = append(x.streams, s)
	return s, end, nil
}

// receive passes on what comes from a pnode, until it has no more.
func (x *execution) receive(pnode int, s *bus.Stream) error {
	for {
		var r rack.Reply
		if err := s.Recv(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := x.take(pnode, &r); err != nil {
			x.cancel(err)
			return err
		}
	}
}

// take notes who has ended and passes a frame on.
func (x *execution) take(pnode int, r *rack.Reply) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range r.Problems {
		if p := r.Problems[i]; p.Rack >= 0 {
			x.causes[[2]int{pnode, int(p.Rack)}] = p.Error()
		}
	}
	r.Problems = nil
	r.Exits = slices.DeleteFunc(r.Exits, func(e rack.Exit) bool { return !x.end(e.Vnode) })
	if len(r.Outputs) == 0 && len(r.Exits) == 0 {
		return nil
	}
	return x.output(r)
}

// end notes that a vnode has ended, and tells whether that is news.
func (x *execution) end(vnode string) bool {
	at, ok := x.plan.Find(vnode)
	if !ok || x.ended[at.Vnode] {
		return false
	}
	x.ended[at.Vnode] = true
	return true
}

// failed notes why all of a pnode's racks have failed; nil: they have not.
func (x *execution) failed(pnode int, err error) {
	if err == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for rack := range x.shares[pnode] {
		x.causes[[2]int{pnode, int(rack)}] = err.Error()
	}
}

// exitsOf is how many exits one frame carries at most.
const exitsOf = 1000

// complete gives an exit to every vnode that has had none.
func (x *execution) complete() error {
	var r rack.Reply
	for name := range x.nodes.All() {
		if !x.end(name) {
			continue
		}
		at, _ := x.plan.Find(name)
		cause := x.causes[[2]int{at.Pnode, int(at.Rack)}]
		if cause == "" {
			cause = "its rack does not know it"
		}
		r.Exits = append(r.Exits, rack.Exit{Vnode: name, Code: codeLost, Err: cause})
		if len(r.Exits) == exitsOf {
			if err := x.output(&r); err != nil {
				return err
			}
			r = rack.Reply{}
		}
	}
	if len(r.Exits) == 0 {
		return nil
	}
	return x.output(&r)
}

// feed gives standard input to every pnode, until it or the exec is over. It
// begins when all have begun, or were found not to be there: nobody misses the
// first of it.
func (x *execution) feed(inputs <-chan rack.Input, over <-chan struct{}) {
	if inputs == nil {
		return
	}
	x.opening.Wait()
	x.mu.Lock()
	streams := slices.Clone(x.streams)
	x.mu.Unlock()
	for {
		select {
		case in, ok := <-inputs:
			if !ok {
				return
			}
			for _, s := range streams {
				_ = s.Send(in) // a pnode that has ended has no use for it
			}
		case <-over:
			return
		}
	}
}
