package fabric

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// read copies what the maps hold.
func (o *trunkMaps) read() (*tables, error) {
	t := &tables{room: int(o.Others.MaxEntries())}
	for _, a := range o.arrays(t) {
		err := visit(a.m, func(words []uint64) { *a.words = slices.Clone(words) })
		if err != nil {
			return nil, err
		}
	}
	var err error
	t.others, err = readHash[uint64, other](o.Others)
	return t, err
}

// array is a map of a kind that can be read and written as memory, and the
// table of its contents.
type array struct {
	m     *ebpf.Map
	words *[]uint64
}

func (o *trunkMaps) arrays(t *tables) [4]array {
	return [4]array{{o.Pnodes, &t.pnodes}, {o.Places, &t.places}, {o.Members, &t.members}, {o.Nets, &t.nets}}
}

// visit shows fn the memory of an array. Reading a million places this way
// takes as long as reading memory does, and a word is never seen half written.
func visit(m *ebpf.Map, fn func(words []uint64)) error {
	size := int(m.MaxEntries()) * int(m.ValueSize())
	mem, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s into memory: %w", m, err)
	}
	defer func() { _ = unix.Munmap(mem) }() // cannot fail: mem is as it was given
	fn(unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), size/8))
	return nil
}

// write makes the maps hold want, given that they hold have, and returns how
// many entries it wrote: none where nothing differs. At every moment on the
// way, a host that is in both is found: what is new is entered first, then
// networks turn to their new slices, then what is old is cleared.
func (o *trunkMaps) write(have, want *tables) (int, error) {
	n, err := enter(o.Others, have.others, want.others)
	if err != nil {
		return n, err
	}
	arrays, from := o.arrays(want), o.arrays(have)
	for _, zeroes := range []bool{false, true} {
		for i, a := range arrays {
			written, err := a.put(*from[i].words, zeroes || a.m == o.Nets)
			n += written
			if err != nil {
				return n, err
			}
		}
	}
	removed, err := remove(o.Others, have.others, want.others)
	return n + removed, err
}

// put writes the words that differ; zeroes only where told to.
func (a array) put(have []uint64, zeroes bool) (int, error) {
	if slices.Equal(have, *a.words) {
		return 0, nil
	}
	n := 0
	err := visit(a.m, func(words []uint64) {
		for i, w := range *a.words {
			if words[i] != w && (w != 0 || zeroes) {
				atomic.StoreUint64(&words[i], w)
				n++
			}
		}
	})
	return n, err
}

// batch is how many entries of a hash are read by one system call.
const batch = 1024

func readHash[K comparable, V any](m *ebpf.Map) (map[K]V, error) {
	all := map[K]V{}
	keys, values := make([]K, batch), make([]V, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			all[keys[i]] = values[i]
		}
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read map %s: %w", m, err)
		}
	}
}

// enter adds and changes what want has otherwise than have, and returns the
// number of entries written.
func enter[K comparable, V comparable](m *ebpf.Map, have, want map[K]V) (int, error) {
	var keys []K
	var values []V
	for k, v := range want {
		if old, there := have[k]; !there || old != v {
			keys, values = append(keys, k), append(values, v)
		}
	}
	if len(keys) == 0 {
		return 0, nil
	}
	n, err := m.BatchUpdate(keys, values, nil)
	if err != nil {
		return n, fmt.Errorf("write map %s: %w", m, err)
	}
	return n, nil
}

// remove takes out what want does not have.
func remove[K comparable, V comparable](m *ebpf.Map, have, want map[K]V) (int, error) {
	var keys []K
	for k := range have {
		if _, wanted := want[k]; !wanted {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return 0, nil
	}
	n, err := m.BatchDelete(keys, nil)
	if err != nil {
		return n, fmt.Errorf("write map %s: %w", m, err)
	}
	return n, nil
}
