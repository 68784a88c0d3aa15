package wheel

import (
	"os"
	"unsafe"
)

// queue is what the store holds in the order in which it is due; what is due
// at the same time comes in the order in which it was put in. It is a heap of
// four branches, in memory that is touched as far as it has ever been full.
type queue struct {
	entries []entry
	n       int
	seq     uint32
	memory  []byte // the same as entries
	most    int    // n has not been more since the last call of spare
	touched int    // bytes of memory that may be the kernel's no more
}

// entry is a block and the tick when it is due.
type entry struct {
	due int64
	seq uint32 // tells those apart that are due at once; it may wrap
	ref uint32
}

func (e *entry) before(o *entry) bool {
	return e.due < o.due || e.due == o.due && int32(e.seq-o.seq) < 0
}

const branches = 4

// push puts a block in. There is always room: the store has no more blocks.
func (q *queue) push(due int64, ref uint32) {
	e := entry{due, q.seq, ref}
	q.seq++
	i := q.n
	q.n++
	q.most = max(q.most, q.n)
	for i > 0 {
		above := (i - 1) / branches
		if !e.before(&q.entries[above]) {
			break
		}
		q.entries[i] = q.entries[above]
		i = above
	}
	q.entries[i] = e
}

// first is when the next block is due. The queue is not empty.
func (q *queue) first() int64 { return q.entries[0].due }

// pop takes out the block that is due first. The queue is not empty.
func (q *queue) pop() entry {
	top := q.entries[0]
	q.n--
	if q.n > 0 {
		q.sink(q.entries[q.n])
	}
	return top
}

// sink puts an entry in at the top, which is free.
func (q *queue) sink(e entry) {
	h := q.entries[:q.n]
	i := 0
	for {
		child := i*branches + 1
		if child >= len(h) {
			break
		}
		least := child
		for c := child + 1; c < min(child+branches, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&e) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = e
}

// spare gives the memory that the queue has not needed since the last call,
// and has had before.
func (q *queue) spare() []byte {
	need := int(roundUp(uint64(q.most)*uint64(unsafe.Sizeof(entry{})), uint64(os.Getpagesize())))
	q.most = q.n
	p := q.memory[min(need, q.touched):q.touched]
	q.touched = need
	return p
}
