package wheel

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The store keeps frames in blocks, cut from spans that each have blocks of
// one size. All of it is one mapping, which the kernel fills with memory as it
// is touched: the rows of spans, the queue, and the spans themselves.
//
// A block is known by its ref: its place in units of granule. It begins with
// the length of what it holds; a free one, with the ref of the next free one.
type store struct {
	mem   []byte
	arena unsafe.Pointer // of the spans
	spans []span
	queue queue

	fresh   uint32             // spans from this one on have never been used
	dirty   list               // spans without blocks, that may have memory
	clean   list               // spans without blocks or memory
	partial [len(classes)]list // spans with free blocks, by class
	limit   uint64             // bytes of blocks in use at most
	bytes   uint64             // of blocks in use
	spared  uint32             // spans that were dirty all the time since the last trim
	class   *[maxBlock/granule + 1]uint8
}

// span is a row of the table of spans. Its blocks all have the size of its
// class.
type span struct {
	next, prev uint32 // in its list
	free       uint32 // ref of the first free block; noBlock: none
	used       uint16 // blocks in use
	cut        uint16 // blocks from this one on have never been used
	class      uint8
}

// list is a list of spans: the index of the first.
type list struct {
	first uint32
	n     uint32
}

const (
	granule  = 32
	spanSize = 256 << 10
	maxBlock = 69632 // for a GSO packet of 64 KB
	noBlock  = ^uint32(0)
	noSpan   = ^uint32(0)
	lenSize  = 4 // of the length at the beginning of a block
)

// classes are the sizes of blocks: those of usual packets among them (40 and
// 1,500 bytes, and 9,000), with their headers.
var classes = [...]uint32{96, 160, 256, 512, 1024, 1536, 2304, 4608, 9216, 13824, 18432, 27648, 36864, 49152, maxBlock}

// classBySize gives the class of blocks for a size in granules, rounded up.
var classBySize = func() *[maxBlock/granule + 1]uint8 {
	var t [maxBlock/granule + 1]uint8
	class := uint8(0)
	for i := range t {
		if uint32(i*granule) > classes[class] {
			class++
		}
		t[i] = class
	}
	return &t
}()

// newStore makes a store for blocks of a number of bytes in all.
func newStore(limit uint64) (*store, error) {
	// One span more for each class, lest a few frames of each size keep all of
	// a small store's spans.
	n := limit/spanSize + 1 + uint64(len(classes))
	if n*spanSize/granule > uint64(noBlock) {
		return nil, fmt.Errorf("memory of %d bytes is too much", limit)
	}
	page := uint64(os.Getpagesize())
	rows := roundUp(n*uint64(unsafe.Sizeof(span{})), page)
	entries := limit/uint64(classes[0]) + 1
	heap := roundUp(entries*uint64(unsafe.Sizeof(entry{})), page)
	mem, err := unix.Mmap(-1, 0, int(rows+heap+n*spanSize), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map memory for packets: %w", err)
	}
	_ = unix.Madvise(mem, unix.MADV_NOHUGEPAGE) // where there are none, this is refused
	s := &store{mem: mem, limit: limit, class: classBySize}
	base := unsafe.Pointer(&mem[0])
	s.spans = unsafe.Slice((*span)(base), n)
	s.queue = queue{
		entries: unsafe.Slice((*entry)(unsafe.Add(base, rows)), entries),
		memory:  mem[rows : rows+heap],
	}
	s.arena = unsafe.Add(base, rows+heap)
	s.reset()
	return s, nil
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// reset makes the store empty, without giving memory back.
func (s *store) reset() {
	s.fresh, s.bytes, s.spared = 0, 0, 0
	none := list{first: noSpan}
	s.dirty, s.clean = none, none
	for i := range s.partial {
		s.partial[i] = none
	}
	s.queue.n = 0
}

// free gives everything back to the kernel.
func (s *store) free() {
	if s.mem != nil {
		_ = unix.Munmap(s.mem) // it was mapped
		s.mem = nil
	}
}

// at gives the place of a block.
func (s *store) at(ref uint32) unsafe.Pointer { return unsafe.Add(s.arena, uintptr(ref)*granule) }

// put copies data, of at most maxBlock-lenSize bytes, into a block. ok is
// false if there is no room.
func (s *store) put(data []byte) (ref uint32, ok bool) {
	if ref, ok = s.alloc(uint32(len(data)) + lenSize); !ok {
		return 0, false
	}
	block := unsafe.Slice((*byte)(s.at(ref)), lenSize+len(data))
	binary.NativeEndian.PutUint32(block, uint32(len(data)))
	copy(block[lenSize:], data)
	return ref, true
}

// data gives what a block holds.
func (s *store) data(ref uint32) (unsafe.Pointer, int) {
	p := s.at(ref)
	return unsafe.Add(p, lenSize), int(*(*uint32)(p))
}

// alloc finds a block of at least size bytes.
func (s *store) alloc(size uint32) (ref uint32, ok bool) {
	class := s.class[(size+granule-1)/granule]
	if s.bytes+uint64(classes[class]) > s.limit {
		return 0, false
	}
	i := s.partial[class].first
	if i == noSpan {
		if i, ok = s.take(class); !ok {
			return 0, false
		}
	}
	p := &s.spans[i]
	if ref = p.free; ref != noBlock {
		p.free = *(*uint32)(s.at(ref))
	} else {
		ref = (i*spanSize + uint32(p.cut)*classes[class]) / granule
		p.cut++
	}
	if p.used++; p.free == noBlock && uint32(p.cut) == spanSize/classes[class] {
		s.remove(&s.partial[class], i)
	}
	s.bytes += uint64(classes[class])
	return ref, true
}

// take makes a span one with free blocks of a class.
func (s *store) take(class uint8) (uint32, bool) {
	i := s.dirty.first
	switch {
	case i != noSpan:
		s.remove(&s.dirty, i)
		s.spared = min(s.spared, s.dirty.n)
	case s.clean.first != noSpan:
		i = s.clean.first
		s.remove(&s.clean, i)
	case int(s.fresh) < len(s.spans):
		i = s.fresh
		s.fresh++
	default:
		return 0, false
	}
	s.spans[i] = span{free: noBlock, class: class}
	s.insert(&s.partial[class], i)
	return i, true
}

// drop frees a block.
func (s *store) drop(ref uint32) {
	i := ref / (spanSize / granule)
	p := &s.spans[i]
	own := &s.partial[p.class]
	if p.free == noBlock && uint32(p.cut) == spanSize/classes[p.class] {
		s.insert(own, i) // it was full
	}
	*(*uint32)(s.at(ref)) = p.free
	p.free = ref
	s.bytes -= uint64(classes[p.class])
	if p.used--; p.used == 0 {
		s.remove(own, i)
		s.insert(&s.dirty, i)
	}
}

func (s *store) insert(l *list, i uint32) {
	p := &s.spans[i]
	p.prev, p.next = noSpan, l.first
	if l.first != noSpan {
		s.spans[l.first].prev = i
	}
	l.first = i
	l.n++
}

func (s *store) remove(l *list, i uint32) {
	p := &s.spans[i]
	if p.prev != noSpan {
		s.spans[p.prev].next = p.next
	} else {
		l.first = p.next
	}
	if p.next != noSpan {
		s.spans[p.next].prev = p.prev
	}
	l.n--
}

// trim gives the memory that has not been needed since the last trim back to
// the kernel, and says whether there may be more of it the next time.
func (s *store) trim() (more bool) {
	if s.bytes == 0 {
		s.empty()
		return false
	}
	for range s.spared {
		i := s.dirty.first
		s.remove(&s.dirty, i)
		s.insert(&s.clean, i)
		s.giveBack(unsafe.Slice((*byte)(unsafe.Add(s.arena, uintptr(i)*spanSize)), spanSize))
	}
	s.spared = s.dirty.n
	s.giveBack(s.queue.spare())
	return true
}

// empty is trim where nothing is held.
func (s *store) empty() {
	if s.fresh == 0 {
		return
	}
	s.reset()
	s.queue.spare()
	s.queue.touched = 0
	s.giveBack(s.mem)
}

func (s *store) giveBack(p []byte) {
	if len(p) > 0 {
		_ = unix.Madvise(p, unix.MADV_DONTNEED) // which only fails for what is not mapped
	}
}
