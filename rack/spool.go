package rack

import (
	"errors"
	"sort"
	"sync"

	"golang.org/x/sys/unix"
)

// spool keeps the standard input of a call for its processes, each of which
// reads it from the start, at its own speed. What all have had is dropped
// once none will start any more.
type spool struct {
	mu      sync.Mutex
	moved   sync.Cond // chunks, all or stopped has changed
	chunks  []chunk   // in order
	base    int64     // where the first chunk begins
	size    int64     // where the last one ends
	eof     bool
	all     bool // no process will start any more
	stopped bool
	err     error
}

// chunk is a piece of input and where it begins.
type chunk struct {
	at   int64
	data []byte
}

const (
	// spoolAhead is how far the input may be ahead of the slowest process.
	spoolAhead = 4 << 20
	// spoolKept is how much is kept for processes that have not started.
	spoolKept = 256 << 20
)

var errInputKept = errors.New("standard input is too long to be kept for vnodes whose turn has not come" +
	" (256 MiB at most: raise the window to the number of vnodes)")

func newSpool() *spool {
	s := &spool{}
	s.moved.L = &s.mu
	return s
}

// write appends input, which it keeps. It waits while the slowest process is
// far behind, and says whether more may come.
func (s *spool) write(data []byte, eof bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > 0 {
		if !s.waitForRoom() {
			return false
		}
		s.chunks = append(s.chunks, chunk{s.size, data})
		s.size += int64(len(data))
	}
	s.eof = s.eof || eof
	return !s.stopped
}

// waitForRoom waits until more may be kept.
func (s *spool) waitForRoom() bool {
	for {
		switch {
		case s.stopped || s.eof:
			return false
		case s.all && s.size-s.base < spoolAhead, !s.all && s.size < spoolKept:
			return true
		case !s.all:
			s.err = errInputKept
			return false
		}
		s.moved.Wait()
	}
}

// state gives the length of the input so far, and whether it is complete.
func (s *spool) state() (size int64, eof bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.eof
}

// after gives input from an offset on; none if there is none yet.
func (s *spool) after(at int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].at > at }) - 1
	if i < 0 || at >= s.size {
		return nil
	}
	return s.chunks[i].data[at-s.chunks[i].at:]
}

// feed gives the process behind a pipe what it has not had yet, from an
// offset on, as far as the pipe takes it. It returns the new offset, and
// whether there will never be more for this process.
func (s *spool) feed(pipe int, at int64) (int64, bool) {
	_, eof := s.state()
	for {
		data := s.after(at)
		if len(data) == 0 {
			return at, eof
		}
		n, err := unix.Write(pipe, data)
		switch {
		case n > 0:
			at += int64(n)
		case err == unix.EAGAIN:
			return at, false
		case err != unix.EINTR: // EPIPE: the process does not read on
			return at, true
		}
	}
}

// drop lets go of input before an offset, unless processes may still start.
func (s *spool) drop(before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.all {
		return
	}
	n := 0
	for n < len(s.chunks) && s.chunks[n].at+int64(len(s.chunks[n].data)) <= before {
		s.chunks[n].data = nil
		n++
	}
	if n == 0 {
		return
	}
	s.chunks = s.chunks[n:]
	s.base = s.size
	if len(s.chunks) > 0 {
		s.base = s.chunks[0].at
	}
	s.moved.Broadcast()
}

// allStarted says that no process will start any more.
func (s *spool) allStarted() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = true
	s.moved.Broadcast()
}

// stop ends all waiting: the call is over.
func (s *spool) stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.moved.Broadcast()
}

// failure is why input was not taken any more, if not because of the end.
func (s *spool) failure() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// feedAll gives every process the input that has come since the last time,
// and drops what all have had.
func (p *pump) feedAll() {
	if p.spool == nil {
		return
	}
	end, eof := p.spool.state()
	fresh := end != p.fed || eof && !p.fedEOF
	if !fresh && !p.fedSome {
		return
	}
	p.fed, p.fedEOF, p.fedSome = end, eof, false
	slowest := end
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proc := range p.live {
		if fresh {
			p.feed(proc)
		}
		if proc.stdin >= 0 {
			slowest = min(slowest, proc.fed)
		}
	}
	p.spool.drop(slowest)
}

// feed gives one process its input.
func (p *pump) feed(proc *process) {
	if proc.stdin < 0 {
		return
	}
	var over bool
	if proc.fed, over = p.spool.feed(proc.stdin, proc.fed); over {
		p.poll.remove(proc.stdin)
		proc.closeStdin()
	}
	p.fedSome = true
}
