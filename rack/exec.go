package rack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/program"
)

// job is one Exec call at work. Three kinds of goroutine share it: starters,
// on threads that visit the vnodes; the pump, which carries what the processes
// write, and notices their ends; and the watchdog, which signals those that
// are to end. The pump alone talks to the client, so a client that reads
// slowly stops the pump, then the processes as their pipes fill, and nobody
// holds more than those pipes and one frame.
type job struct {
	*session
	cmd     command
	timeout time.Duration
	names   []string
	null    int // /dev/null
	poll    *poller
	spool   *spool // standard input; nil: none
	window  *window

	mu       sync.Mutex
	live     map[uint32]*process
	spare    []*process
	last     uint32 // identity given last
	refused  []Exit // could not start, and not reported yet
	started  bool   // nothing more will be started
	stopping bool   // the client is gone, or the rack closes
}

// exec runs one command in vnodes, and reports outputs and exits as they
// come.
func (c *session) exec(ctx context.Context, req *ExecRequest) *program.Problem {
	const op = "run a command"
	names := req.Vnodes
	if len(names) == 0 {
		c.mu.Lock()
		names = c.vnodes
		c.mu.Unlock()
	}
	if err := checkExec(req, len(names)); err != nil {
		return c.problem(program.KindInvalid, op, err)
	}
	cmd := newCommand(req, c.Platform)
	if cmd.fail != nil {
		return c.refuse(names, *cmd.fail)
	}
	if req.Tty {
		return c.terminal(ctx, req, cmd, names[0])
	}
	j, err := newJob(c, req, cmd, names)
	if err != nil {
		return c.problem(program.KindExhausted, op, err)
	}
	defer j.close()
	if err := j.run(ctx); err != nil {
		return c.problem(program.KindInternal, op, err)
	}
	return nil
}

// enter puts a thread into a vnode, so that what it starts belongs there.
func (c *session) enter(t *netns.Thread, vnode string) error {
	switch ok, err := c.Local.Enter(t, vnode); {
	case err != nil:
		return err
	case !ok:
		return errNoVnode
	}
	return t.Hostname(vnode)
}

// refuse reports the same exit for every vnode.
func (c *session) refuse(names []string, e Exit) *program.Problem {
	exits := make([]Exit, len(names))
	for i, name := range names {
		exits[i] = e
		exits[i].Vnode = name
	}
	_ = c.frames.Send(&Reply{Exits: exits})
	return nil
}

func newJob(c *session, req *ExecRequest, cmd command, names []string) (*job, error) {
	j := &job{
		session: c,
		cmd:     cmd,
		timeout: time.Duration(req.Timeout),
		names:   names,
		null:    -1,
		window:  newWindow(req.Window, len(names)),
		live:    map[uint32]*process{},
	}
	var err error
	if j.poll, err = newPoller(); err != nil {
		return nil, err
	}
	if j.null, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		err = j.watchPeer()
	}
	if err != nil {
		j.close()
		return nil, err
	}
	if req.Stdin {
		j.spool = newSpool()
	}
	return j, nil
}

func (j *job) close() {
	j.poll.close()
	if j.null >= 0 {
		unix.Close(j.null)
	}
}

// watchPeer makes the poller tell when the client hangs up. Reading tells
// too, but not while the input is ahead of the processes and is not read.
func (j *job) watchPeer() error {
	raw, err := j.conn.SyscallConn()
	if err != nil {
		return err
	}
	err2 := raw.Control(func(fd uintptr) {
		err = j.poll.add(int(fd), 0, sourcePeer, unix.EPOLLRDHUP|unix.EPOLLET)
	})
	return errors.Join(err, err2)
}

// run runs the command everywhere and returns when every process has ended.
func (j *job) run(ctx context.Context) error {
	ctx, release := j.receive(ctx, j.input)
	defer release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	var helpers sync.WaitGroup
	helpers.Go(func() { j.watchdog(ctx, over) })
	helpers.Go(func() { j.window.widen(ctx) })
	var startErr error
	helpers.Go(func() {
		startErr = j.startAll(ctx)
		j.mu.Lock()
		j.started = true
		j.mu.Unlock()
		j.spool.allStarted()
		j.poll.wake()
	})
	err := newPump(j, cancel).run()
	close(over)
	cancel()
	j.spool.stop()
	helpers.Wait()
	return errors.Join(err, startErr, j.spool.failure())
}

// input takes one frame of standard input. Who did not ask for it may send it
// all the same.
func (j *job) input(in *Input) bool {
	if j.spool == nil {
		return true
	}
	ok := j.spool.write(in.Data, in.EOF)
	j.poll.wake()
	return ok
}

// startAll starts the command in every vnode, in order, as the window allows.
// It does so on a thread per core: with one, each start would wait its turn
// behind the processes that run.
func (j *job) startAll(ctx context.Context) error {
	var next atomic.Int64
	var threads sync.WaitGroup
	errs := make([]error, min(runtime.GOMAXPROCS(0), len(j.names), cap(j.window.tokens)))
	for i := range errs {
		threads.Go(func() {
			errs[i] = netns.Run(func(t *netns.Thread) error {
				env := slices.Clone(j.cmd.env)
				for j.waitTurn(ctx, t) {
					k := int(next.Add(1)) - 1
					if k >= len(j.names) {
						<-j.window.tokens // it was the last one's turn
						break
					}
					j.startOne(t, j.names[k], env)
				}
				return nil
			})
		})
	}
	threads.Wait()
	return errors.Join(errs...)
}

// startOne starts the command in one vnode, or notes why it cannot.
func (j *job) startOne(t *netns.Thread, vnode string, env []string) {
	p := j.idle()
	err := j.start(t, p, vnode, env)
	if err == nil {
		err = j.watchProcess(p)
	}
	if err != nil {
		j.window.end()
		j.refuseOne(p, vnode, err)
	}
}

// waitTurn waits until one more process may run. The thread does not wait in
// a vnode: that would keep its namespace, were it removed meanwhile.
func (j *job) waitTurn(ctx context.Context, t *netns.Thread) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case j.window.tokens <- struct{}{}:
		return true
	default:
	}
	if t.Home() != nil {
		return false
	}
	select {
	case j.window.tokens <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// idle gives a process that nobody uses.
func (j *job) idle() *process {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.spare)
	if n == 0 {
		return &process{stdin: -1, streams: [2]stream{{fd: -1}, {fd: -1}}}
	}
	p := j.spare[n-1]
	j.spare = j.spare[:n-1]
	return p
}

// watchProcess makes a process that has just started one of the live.
func (j *job) watchProcess(p *process) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	p.id = j.last
	p.termed, p.timedOut, p.reaped, p.due = false, false, false, time.Time{}
	switch {
	case j.stopping:
		p.due = p.began
	case j.timeout > 0:
		p.due = p.began.Add(j.timeout)
	}
	j.live[p.id] = p
	err := j.poll.add(p.pidfd, p.id, sourceExit, unix.EPOLLIN)
	for i := range p.streams {
		if err == nil {
			err = j.poll.add(p.streams[i].fd, p.id, sourceStdout+source(i), unix.EPOLLIN)
		}
	}
	if err == nil && p.stdin >= 0 {
		err = j.poll.add(p.stdin, p.id, sourceStdin, unix.EPOLLOUT|unix.EPOLLET)
	}
	if err != nil { // out of memory: undo, as if it had not started
		delete(j.live, p.id)
		_ = unix.Kill(-p.pid, unix.SIGKILL)
		reap(p.pid, 0)
		unix.Close(p.pidfd)
		p.closeStreams()
		return fmt.Errorf("watch process: %w", err)
	}
	return nil
}

// refuseOne notes that the command could not be started in a vnode.
func (j *job) refuseOne(p *process, vnode string, err error) {
	e := j.cmd.notStarted(j.Index, err)
	e.Vnode = vnode
	j.mu.Lock()
	j.refused = append(j.refused, e)
	j.spare = append(j.spare, p)
	j.mu.Unlock()
	j.poll.wake()
}

// watchdog ends processes whose time is over, and all of them once ctx ends.
func (j *job) watchdog(ctx context.Context, over <-chan struct{}) {
	cancelled := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-over:
			return
		case <-cancelled:
			cancelled = nil
			j.stopAll()
		case <-timer.C:
		}
		now := time.Now()
		next := now.Add(time.Hour)
		if j.timeout > 0 {
			next = now.Add(j.timeout) // nothing that starts meanwhile is due earlier
		}
		if cancelled == nil {
			next = now.Add(killAfter / 20) // but for what starts while all is ending
		}
		j.mu.Lock()
		for _, p := range j.live {
			if due := p.signal(now, !j.stopping); !due.IsZero() && due.Before(next) {
				next = due
			}
		}
		j.mu.Unlock()
		timer.Reset(time.Until(next))
	}
}

// stopAll makes every process due.
func (j *job) stopAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopping = true
	now := time.Now()
	for _, p := range j.live {
		if !p.termed {
			p.due = now
		}
	}
	j.spool.stop()
}
