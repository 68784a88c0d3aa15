package agent

import (
	"context"
	"errors"
	"io"
	"sync"

	"myriad/bus"
	"myriad/program"
	"myriad/rack"
)

// exec runs a command in vnodes of some racks. What the racks say goes back
// as it comes; a coordinator that reads slowly slows the racks down, and
// through them the processes.
func (a *agent) exec(ctx context.Context, q bus.Platform, s *bus.Stream) error {
	var shares []bus.Share
	var e rack.ExecRequest
	if err := errors.Join(s.Recv(&shares), s.Recv(&e)); err != nil {
		return err
	}
	r := a.relay(ctx, q.Name, s)
	defer r.close()
	for _, share := range shares {
		own := e
		own.Vnodes = share.Vnodes
		r.call(share.Rack, &rack.Request{Exec: &own})
	}
	if e.Stdin || e.Tty {
		r.forward()
	}
	return r.wait()
}

// probe sends echoes from vnodes of some racks.
func (a *agent) probe(ctx context.Context, q bus.Platform, s *bus.Stream) error {
	r := a.relay(ctx, q.Name, s)
	defer r.close()
	for {
		var share bus.Share
		var p rack.ProbeRequest
		if err := s.Recv(&share); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		if err := s.Recv(&p); err != nil {
			return err
		}
		r.call(share.Rack, &rack.Request{Probe: &p})
	}
	return r.wait()
}

// relay joins calls to several racks to one stream.
type relay struct {
	ctx      context.Context
	platform string
	racks    Racks
	s        *bus.Stream
	calls    []Call
	work     sync.WaitGroup
	mu       sync.Mutex
	err      error // the stream's, which ends everything
}

func (a *agent) relay(ctx context.Context, platform string, s *bus.Stream) *relay {
	return &relay{ctx: ctx, platform: platform, racks: a.Racks, s: s}
}

// call starts a call to a rack. One that does not answer is told to the
// coordinator as a problem, and does not keep the others from theirs.
func (r *relay) call(index uint32, q *rack.Request) {
	c, err := r.racks.Call(r.ctx, r.platform, index, q)
	if err != nil {
		r.send(unreachable(index, err))
		return
	}
	r.calls = append(r.calls, c)
	r.work.Go(func() { r.receive(index, c) })
}

func (r *relay) receive(index uint32, c Call) {
	for {
		reply, err := c.Recv()
		if err != nil {
			r.send(unreachable(index, err))
			return
		}
		done := reply.Done
		reply.Done = false // the stream has an end of its own
		if reply.Err != nil {
			p := *reply.Err
			p.Rack = int32(index)
			reply.Err, reply.Problems = nil, append(reply.Problems, p)
		}
		if !empty(reply) && !r.send(reply) || done {
			return
		}
	}
}

// empty tells whether a frame has nothing for the coordinator.
func empty(f *rack.Reply) bool {
	return len(f.Outputs) == 0 && len(f.Exits) == 0 && len(f.Echoes) == 0 && len(f.Problems) == 0
}

func unreachable(index uint32, err error) *rack.Reply {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ended meanwhile")
	}
	return &rack.Reply{Problems: []program.Problem{{
		Kind: program.KindUnavailable, Rack: int32(index), Op: "call rack", Cause: err.Error(), Remedy: "up makes a lost rack again",
	}}}
}

// send sends a frame to the coordinator, and says whether it is still there.
func (r *relay) send(f *rack.Reply) bool {
	err := r.s.Send(f)
	if err != nil {
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
	}
	return err == nil
}

// forward gives every rack what the coordinator sends, until it sends no more.
func (r *relay) forward() {
	calls := r.calls
	r.s.Go(func() {
		for {
			var in rack.Input
			if r.s.Recv(&in) != nil {
				return
			}
			for _, c := range calls {
				_ = c.Send(&in) // a call that has ended has no use for it
			}
		}
	})
}

// wait returns when every call has ended.
func (r *relay) wait() error {
	r.work.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *relay) close() {
	for _, c := range r.calls {
		c.Close()
	}
}
