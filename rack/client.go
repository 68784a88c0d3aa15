package rack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/cgroup"
	"myriad/kernel/wheel"
	"myriad/program"
)

// Client speaks to one rack process. Its methods may be called by several
// goroutines at once.
type Client struct {
	Info
	path    string
	group   *cgroup.Group    // nil: unknown
	refused *program.Problem // why the rack cannot be used, only ended
	exit    *pidfd
	lost    chan struct{}
}

var _ kernel.Rack = (*Client)(nil)

// helloPatience is how long a rack may take to say who it is.
const helloPatience = 3 * time.Second

// Dial connects to the rack that answers on a socket. One that accepts the
// connection and does not say who it is, perhaps because it is stopped, can
// only be closed.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	peer, err := peerOf(conn)
	conn.Close()
	if err != nil {
		return nil, err
	}
	c := &Client{path: path, lost: make(chan struct{})}
	if c.exit, err = openPidfd(int(peer.Pid)); err != nil {
		return nil, err
	}
	go c.watch(int(peer.Pid))
	if err := c.hello(ctx); err != nil {
		c.refused = c.unavailable(err)
	}
	c.Info.Pid = int(peer.Pid)
	if ctx.Err() != nil {
		c.Release()
		return nil, ctx.Err()
	}
	return c, nil
}

// hello asks the rack who it is.
func (c *Client) hello(ctx context.Context) error {
	call, err := Open(ctx, c.path, &Request{Hello: &Hello{}})
	if err != nil {
		return err
	}
	defer call.Close()
	call.conn.SetReadDeadline(time.Now().Add(helloPatience))
	r, err := call.Recv()
	switch {
	case err != nil:
		return err
	case r.Err != nil:
		return r.Err
	case r.Info == nil:
		return errors.New("it does not say who it is")
	}
	c.Info = *r.Info
	return nil
}

// watch waits for the process to end, and collects it if it is a child of
// this one.
func (c *Client) watch(pid int) {
	defer close(c.lost)
	defer c.exit.close()
	if c.exit.wait() == nil {
		_, _ = reap(pid, unix.WNOHANG) // not ours: no child is found
	}
}

// Lost is closed when the rack's process has ended, for whatever reason, or
// nobody watches it any more because of Release.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Pid is the rack's process.
func (c *Client) Pid() int { return c.Info.Pid }

// Netns is the path of the rack's network namespace.
func (c *Client) Netns() string { return fmt.Sprintf("/proc/%d/ns/net", c.Info.Pid) }

// Apply makes the rack's vnodes as spec says.
func (c *Client) Apply(ctx context.Context, spec *kernel.RackSpec, progress func(up int)) (*program.RackReport, []program.Problem, uint64, error) {
	var last Reply
	err := c.call(ctx, &Request{Apply: spec}, nil, func(r *Reply) error {
		if r.Up > 0 && progress != nil {
			progress(r.Up)
		}
		last = *r
		return nil
	})
	return last.Report, last.Problems, last.Writes, err
}

// Observe reads the rack's vnodes back from the kernel.
func (c *Client) Observe(ctx context.Context) (*program.Rack, error) {
	var rack *program.Rack
	err := c.call(ctx, &Request{Observe: &struct{}{}}, nil, func(r *Reply) error {
		rack = r.Rack
		return nil
	})
	if err == nil && rack == nil {
		err = fmt.Errorf("observe rack %d: no answer to that", c.Index)
	}
	return rack, err
}

// Hold makes the rack's wheel as it is wanted; nil ends it.
func (c *Client) Hold(ctx context.Context, want *kernel.HoldSpec) error {
	return c.call(ctx, &Request{Hold: &HoldRequest{Want: want}}, nil, func(*Reply) error { return nil })
}

// Held tells what the rack's wheel has done; nil if it has none.
func (c *Client) Held(ctx context.Context) (*wheel.Stats, error) {
	var stats *wheel.Stats
	err := c.call(ctx, &Request{Held: &struct{}{}}, nil, func(r *Reply) error {
		stats = r.Held
		return nil
	})
	return stats, err
}

// Exec runs a command in vnodes of the rack and gives every frame of outputs
// and exits to reply. Inputs are taken from input, which may be nil, until it
// is closed. When ctx ends, or reply returns an error, what was started is
// ended: Exec returns when that is done, at most a few seconds later.
func (c *Client) Exec(ctx context.Context, req *ExecRequest, input <-chan Input, reply func(*Reply) error) error {
	return c.call(ctx, &Request{Exec: req}, input, reply)
}

// Probe sends ICMP echoes from vnodes of the rack and gives the results to
// reply as they come.
func (c *Client) Probe(ctx context.Context, req *ProbeRequest, reply func([]Echo)) error {
	return c.call(ctx, &Request{Probe: req}, nil, func(r *Reply) error {
		if len(r.Echoes) > 0 {
			reply(r.Echoes)
		}
		return nil
	})
}

// closeTimeout is how long a rack has to let its vnodes go by itself.
const closeTimeout = 15 * time.Second

// Close ends the rack, with everything that runs in its vnodes, and returns
// when the process is gone and its namespaces are the kernel's to remove.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if c.refused == nil || c.refused.Kind == program.KindConflict {
		err := c.call(ctx, &Request{Close: &struct{}{}}, nil, func(*Reply) error { return nil })
		if err == nil {
			select {
			case <-c.lost:
			case <-ctx.Done():
			}
		}
	}
	// Then end what is left, whether it was asked or not, and answered or not.
	_ = c.exit.kill(unix.SIGKILL)
	ctx, cancel = context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var err error
	if c.group != nil {
		err = errors.Join(c.group.Kill(ctx), c.group.Remove(ctx))
	}
	select {
	case <-c.lost:
		err = errors.Join(err, removeStale(c.path))
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("its process %d does not end", c.Info.Pid))
	}
	if err != nil {
		return fmt.Errorf("end rack %d: %w", c.Index, err)
	}
	return nil
}

// call makes one call from its beginning to its end. reply gets every frame,
// the last one too, and may end the call by an error.
func (c *Client) call(ctx context.Context, req *Request, input <-chan Input, reply func(*Reply) error) error {
	if c.refused != nil && req.Close == nil {
		return c.refused
	}
	call, err := Open(ctx, c.path, req)
	if err != nil {
		return errors.Join(ctx.Err(), c.unavailable(err))
	}
	defer call.Close()
	if input != nil {
		over := make(chan struct{})
		defer close(over)
		go call.forward(input, over)
	}
	var failed error
	for {
		r, err := call.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("its process ended, or broke off")
			}
			return errors.Join(ctx.Err(), failed, c.unavailable(err))
		}
		if failed == nil {
			if failed = reply(r); failed != nil {
				call.Cancel()
			}
		}
		if r.Done {
			return result(ctx, failed, r.Err)
		}
	}
}

// result is the error of a call that was answered to the end.
func result(ctx context.Context, failed error, problem *program.Problem) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		return failed
	case problem != nil:
		return problem
	}
	return nil
}

// unavailable is the problem of a rack that cannot be spoken to.
func (c *Client) unavailable(err error) *program.Problem {
	return &program.Problem{
		Kind: program.KindUnavailable, Rack: int32(c.Index),
		Op: fmt.Sprintf("speak to rack %d", c.Index), Cause: err.Error(),
		Remedy: "if its process is lost, up starts it again",
	}
}

func (c *Client) isLost() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}

// Release lets go of the rack without ending it.
func (c *Client) Release() { c.exit.close() }
