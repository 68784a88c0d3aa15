package wheel

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// held is a frame of the model: a slice, sorted by due, in which equal ones
// stay in the order in which they came.
type held struct {
	due  int64
	data []byte
}

// TestStoreModel: whatever is put in comes out, in order and whole, and what
// is in use never exceeds the limit.
func TestStoreModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]uint64{100, spanSize, 1 << 20, 8 << 20}).Draw(t, "limit")
		s, err := newStore(limit)
		if err != nil {
			t.Fatal(err)
		}
		defer s.free()
		s.queue.seq = rapid.SampledFrom([]uint32{0, 1<<31 - 5, ^uint32(0) - 5}).Draw(t, "seq")
		m := &model{t: t, store: s, limit: limit}
		t.Repeat(map[string]func(*rapid.T){
			"put":  func(t *rapid.T) { m.t = t; m.put() },
			"take": func(t *rapid.T) { m.t = t; m.take() },
			"many": func(t *rapid.T) {
				m.t = t
				for range rapid.IntRange(1, 200).Draw(t, "n") {
					m.put()
				}
			},
			"drain": func(t *rapid.T) {
				m.t = t
				for len(m.held) > 0 {
					m.take()
				}
			},
			"trim": func(t *rapid.T) { s.trim() },
			"":     func(t *rapid.T) { m.t = t; m.check() },
		})
	})
}

type model struct {
	t     *rapid.T
	store *store
	limit uint64
	held  []held
	count int
}

func (m *model) put() {
	size := rapid.OneOf(rapid.IntRange(24, 200), rapid.IntRange(1400, 1600), rapid.IntRange(24, maxBlock-lenSize)).Draw(m.t, "size")
	due := rapid.Int64Range(-5, 5).Draw(m.t, "due")
	m.count++
	data := bytes.Repeat([]byte{byte(m.count), byte(m.count >> 8), byte(due)}, size/3+1)[:size]
	ref, ok := m.store.put(data)
	if !ok {
		if m.store.bytes+maxBlock <= m.limit {
			m.t.Fatalf("no room for %d bytes, with %d of %d in use", size, m.store.bytes, m.limit)
		}
		return
	}
	m.store.queue.push(due, ref)
	i, _ := slices.BinarySearchFunc(m.held, due, func(h held, due int64) int {
		if h.due <= due {
			return -1
		}
		return 1
	})
	m.held = slices.Insert(m.held, i, held{due, data})
}

func (m *model) take() {
	if len(m.held) == 0 {
		return
	}
	want := m.held[0]
	m.held = m.held[1:]
	if got := m.store.queue.first(); got != want.due {
		m.t.Fatalf("first is due at %d, want %d", got, want.due)
	}
	e := m.store.queue.pop()
	p, n := m.store.data(e.ref)
	if got := unsafe.Slice((*byte)(p), n); e.due != want.due || !bytes.Equal(got, want.data) {
		m.t.Fatalf("at %d comes another than what was due at %d", e.due, want.due)
	}
	m.store.drop(e.ref)
}

func (m *model) check() {
	s := m.store
	if s.queue.n != len(m.held) {
		m.t.Fatalf("%d are queued, want %d", s.queue.n, len(m.held))
	}
	if s.bytes > m.limit || (s.bytes == 0) != (len(m.held) == 0) {
		m.t.Fatalf("%d bytes of %d in use, for %d frames", s.bytes, m.limit, len(m.held))
	}
	spans := s.dirty.n + s.clean.n
	used := 0
	for i := range s.fresh {
		used += int(s.spans[i].used)
	}
	if used != len(m.held) || spans > s.fresh || s.spared > s.dirty.n {
		m.t.Fatalf("%d blocks in use, %d of %d spans free (%d spared)", used, spans, s.fresh, s.spared)
	}
}

// TestMemory: memory that was needed goes back to the kernel.
func TestMemory(t *testing.T) {
	const size = 64 << 20
	s, err := newStore(size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.free()
	empty := resident(t, s.mem)
	if empty > 16<<10 {
		t.Errorf("a new store has %d bytes", empty)
	}
	data := make([]byte, 1514)
	for range 1000 {
		s.queue.push(1, must(s.put(data)))
	}
	low := resident(t, s.mem)
	for range 30000 {
		s.queue.push(2, must(s.put(data)))
	}
	full := resident(t, s.mem)
	if full < 30000*1514 {
		t.Fatalf("full, it has %d bytes", full)
	}
	for range 30000 {
		s.drop(s.queue.pop().ref)
	}
	s.trim() // knows now what is not needed
	if got := resident(t, s.mem); got < full {
		t.Errorf("it gives memory back that was needed just now: %d of %d left", got, full)
	}
	s.trim()
	if got := resident(t, s.mem); got > low+4*spanSize {
		t.Errorf("with 1,000 frames it has %d bytes, had %d before", got, low)
	}
	for range 1000 {
		s.drop(s.queue.pop().ref)
	}
	s.trim()
	if got := resident(t, s.mem); got > 16<<10 {
		t.Errorf("empty again, it has %d bytes", got)
	}
}

func must(ref uint32, ok bool) uint32 {
	if !ok {
		panic("no room")
	}
	return ref
}

// resident is how many bytes of a mapping are in memory.
func resident(t *testing.T, mem []byte) int {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	begin := strconv.FormatUint(uint64(uintptr(unsafe.Pointer(&mem[0]))), 16)
	_, rest, ok := strings.Cut("\n"+string(smaps), "\n"+begin+"-")
	if !ok { // merged with a neighbour
		t.Skip("the mapping is not listed by itself")
	}
	_, rest, _ = strings.Cut(rest, "\nRss:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		for _, kind := range []string{"constant", "random"} {
			b.Run(strconv.Itoa(n)+"/"+kind, func(b *testing.B) {
				s, err := newStore(256 << 20)
				if err != nil {
					b.Fatal(err)
				}
				defer s.free()
				x := uint64(1)
				due := int64(0)
				next := func() int64 {
					due++
					if kind == "constant" {
						return due
					}
					x ^= x << 13
					x ^= x >> 7
					x ^= x << 17
					return due + int64(x%1_000_000)
				}
				for range n {
					s.queue.push(next(), 0)
				}
				b.ReportAllocs()
				for b.Loop() {
					s.queue.push(next(), 0)
					s.queue.pop()
				}
			})
		}
	}
}

func BenchmarkStore(b *testing.B) {
	for _, size := range []int{74, 1524, 65560} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			s, err := newStore(64 << 20)
			if err != nil {
				b.Fatal(err)
			}
			defer s.free()
			data := make([]byte, size)
			var ring [64]uint32
			for i := range ring {
				ring[i] = must(s.put(data))
			}
			i := 0
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				s.drop(ring[i])
				ring[i] = must(s.put(data))
				i = (i + 1) % len(ring)
			}
		})
	}
}
