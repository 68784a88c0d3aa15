package rack

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long the outputs of a process that has ended stay open for
// what it left running in the background.
const grace = 100 * time.Millisecond

// pump carries the outputs and exits of a job to its client.
type pump struct {
	*job
	batch     batch
	cancel    context.CancelFunc // ends the job
	lingering []linger           // by time
	fed       int64              // length of the input that every process was offered
	fedEOF    bool               // and its end
	fedSome   bool               // some process took some since it was looked at
}

// linger is a process that has ended while somebody holds its outputs: they
// will be closed.
type linger struct {
	id    uint32
	until time.Time
}

func newPump(j *job, cancel context.CancelFunc) *pump {
	return &pump{job: j, cancel: cancel, batch: newBatch(j.frames, len(j.names))}
}

// run works until everything has been started and has ended.
func (p *pump) run() error {
	var events []event
	for {
		if p.report() {
			return nil
		}
		var err error
		if events, err = p.poll.wait(p.deadline(), events); err != nil {
			return p.giveUp(err)
		}
		for _, e := range events {
			p.handle(e)
		}
		p.feedAll()
		p.endLingering(time.Now())
	}
}

// report sends what is due, and says whether all is done.
func (p *pump) report() (done bool) {
	p.mu.Lock()
	p.batch.exit(p.refused...)
	p.refused = p.refused[:0]
	done = p.started && len(p.live) == 0
	p.mu.Unlock()
	if err := p.batch.flush(done); err != nil {
		p.cancel() // the client is gone
	}
	return done
}

// deadline is when there is something to do even if nothing happens.
func (p *pump) deadline() time.Time {
	t := p.batch.due()
	if len(p.lingering) > 0 && (t.IsZero() || p.lingering[0].until.Before(t)) {
		t = p.lingering[0].until
	}
	return t
}

func (p *pump) handle(e event) {
	if e.from == sourcePeer {
		p.cancel()
		return
	}
	proc := p.find(e.id)
	if proc == nil {
		return // of something that has gone
	}
	switch e.from {
	case sourceStdout, sourceStderr:
		p.read(proc, int(e.from-sourceStdout), 1)
		if proc.reaped && !proc.open() {
			p.finish(proc)
		}
	case sourceStdin:
		p.feed(proc)
	case sourceExit:
		p.reap(proc)
	}
}

// find gives a live process.
func (p *pump) find(id uint32) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live[id]
}

// reads is how many reads a process that has ended gets at once. Its own
// words fit one pipe; a child of its that writes on shall not hold up others.
const reads = 4

// reap collects a process that has ended, and its last words.
func (p *pump) reap(proc *process) {
	now := time.Now()
	p.mu.Lock()
	if proc.termed { // what it leaves of its group was to end, too
		_ = unix.Kill(-proc.pid, unix.SIGKILL)
	}
	ws, ended := reap(proc.pid, unix.WNOHANG)
	if !ended {
		p.mu.Unlock()
		return
	}
	proc.ended(ws, now)
	p.mu.Unlock()
	p.poll.remove(proc.pidfd)
	unix.Close(proc.pidfd)
	if proc.stdin >= 0 {
		p.poll.remove(proc.stdin)
		proc.closeStdin()
	}
	p.window.end()
	for i := range proc.streams {
		p.read(proc, i, reads)
	}
	if proc.open() {
		p.lingering = append(p.lingering, linger{proc.id, now.Add(grace)})
		return
	}
	p.finish(proc)
}

// read takes what a stream has, in at most so many reads, and closes it at
// its end.
func (p *pump) read(proc *process, i, times int) {
	s := &proc.streams[i]
	for range times {
		if s.fd < 0 {
			return
		}
		room, err := p.batch.room(s)
		if err != nil {
			p.cancel()
		}
		n, err := unix.Read(s.fd, room)
		switch {
		case n > 0:
			p.batch.took(proc.vnode, i == 1, s, n)
		case err == unix.EAGAIN:
			return
		case err == unix.EINTR:
		default:
			p.closeStream(s)
		}
	}
}

func (p *pump) closeStream(s *stream) {
	p.poll.remove(s.fd)
	unix.Close(s.fd)
	s.fd = -1
}

// endLingering closes outputs whose time of grace is over.
func (p *pump) endLingering(now time.Time) {
	for len(p.lingering) > 0 && !now.Before(p.lingering[0].until) {
		proc := p.find(p.lingering[0].id)
		p.lingering = p.lingering[1:]
		if proc == nil {
			continue // its outputs ended meanwhile
		}
		for i := range proc.streams {
			if p.read(proc, i, reads); proc.streams[i].fd >= 0 {
				p.closeStream(&proc.streams[i])
			}
		}
		p.finish(proc)
	}
}

// finish reports a process of which nothing more can come.
func (p *pump) finish(proc *process) {
	for i := range proc.streams {
		p.batch.last(proc.vnode, i == 1, &proc.streams[i])
	}
	p.batch.exit(proc.exit)
	p.mu.Lock()
	delete(p.live, proc.id)
	p.spare = append(p.spare, proc)
	p.mu.Unlock()
}

// giveUp ends everything, without the poller.
func (p *pump) giveUp(err error) error {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	for _, proc := range p.live {
		if !proc.reaped {
			_ = unix.Kill(-proc.pid, unix.SIGKILL)
			reap(proc.pid, 0)
			proc.reaped = true
			unix.Close(proc.pidfd)
		}
		proc.closeStreams()
	}
	return err
}
