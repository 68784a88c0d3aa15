package coord

import "sync"

// queue is a list of things to do, one after the other.
type queue struct {
	mu     sync.Mutex
	todo   []func()
	closed bool
	more   *sync.Cond
}

func newQueue() *queue {
	q := &queue{}
	q.more = sync.NewCond(&q.mu)
	return q
}

func (q *queue) add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.todo = append(q.todo, f)
	q.more.Signal()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Signal()
}

// run does what is added, until the queue is closed and empty.
func (q *queue) run() {
	for {
		q.mu.Lock()
		for len(q.todo) == 0 && !q.closed {
			q.more.Wait()
		}
		if len(q.todo) == 0 {
			q.mu.Unlock()
			return
		}
		f := q.todo[0]
		q.todo = q.todo[1:]
		q.mu.Unlock()
		f()
	}
}
