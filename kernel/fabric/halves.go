package fabric

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The parts that have two halves, by their bits in control.Halves (enum part).
const (
	partLinks = 1 << iota
	partConditions
	partMatrix
	partPairs
	partSeed
)

// control is the only entry of the map control (struct control).
type control struct {
	Halves  uint32 // which half of each part is in force
	Entry   uint32
	Changed uint64 // when Halves was last stored
	Seed    [2]uint64
	Base    uint64
	Exit    uint32
	Cut     uint32
	Shard   uint32
	Kind    uint32 // of holder
}

// clock is what one leg remembers (struct clock).
type clock struct {
	Next, Position, Last, Frame, Bad uint64
}

// shapingMaps are the maps that only a fabric with conditions has.
type shapingMaps struct {
	Behind     *ebpf.Map `ebpf:"behind"`
	Conditions *ebpf.Map `ebpf:"conditions"`
	Control    *ebpf.Map `ebpf:"control"`
	Links      *ebpf.Map `ebpf:"links"`
	Matrix     *ebpf.Map `ebpf:"matrix"`
	PairStates *ebpf.Map `ebpf:"pair_states"`
	Pairs      *ebpf.Map `ebpf:"pairs"`
	Passages   *ebpf.Map `ebpf:"passages"`
	States     *ebpf.Map `ebpf:"states"`
	Tables     *ebpf.Map `ebpf:"tables"`
	Traces     *ebpf.Map `ebpf:"traces"`
}

// byName lists the maps for adoption.
func (m *shapingMaps) byName() map[string]**ebpf.Map {
	return map[string]**ebpf.Map{
		shapedMapBehind: &m.Behind, shapedMapConditions: &m.Conditions, shapedMapControl: &m.Control,
		shapedMapLinks: &m.Links, shapedMapMatrix: &m.Matrix, shapedMapPairStates: &m.PairStates,
		shapedMapPairs: &m.Pairs, shapedMapPassages: &m.Passages, shapedMapStates: &m.States,
		shapedMapTables: &m.Tables, shapedMapTraces: &m.Traces,
	}
}

func (m *shapingMaps) close() error {
	var err error
	for _, slot := range m.byName() {
		err = errors.Join(err, (*slot).Close()) // nil is closed
	}
	return err
}

// memory is the maps of conditions as the programs see them. Their entries,
// where they have halves, are pairs of them.
type memory struct {
	control    *control
	links      [][2]linkRow
	conditions [][2]condition
	matrix     [][2]uint32
	states     [][2]clock
	tables     []distribution
	traces     []uint64
	pairs      map[uint64]uint32 // a copy; keys have the half in the highest bit
	mapped     [][]byte
}

// open maps all of it.
func (m *shapingMaps) open() (*memory, error) {
	mem := &memory{}
	var all []control
	err := errors.Join(
		mapped(mem, m.Control, &all), mapped(mem, m.Links, &mem.links), mapped(mem, m.Conditions, &mem.conditions),
		mapped(mem, m.Matrix, &mem.matrix), mapped(mem, m.States, &mem.states), mapped(mem, m.Tables, &mem.tables),
		mapped(mem, m.Traces, &mem.traces),
	)
	if err == nil {
		mem.control = &all[0]
		mem.pairs, err = readHash[uint64, uint32](m.Pairs)
	}
	if err != nil {
		mem.close()
		return nil, err
	}
	return mem, nil
}

// mapped maps one array.
func mapped[T any](mem *memory, m *ebpf.Map, all *[]T) error {
	size := int(m.MaxEntries()) * int(m.ValueSize())
	bytes, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s into memory: %w", m, err)
	}
	mem.mapped = append(mem.mapped, bytes)
	*all = unsafe.Slice((*T)(unsafe.Pointer(&bytes[0])), m.MaxEntries())
	return nil
}

func (mem *memory) close() {
	for _, bytes := range mem.mapped {
		_ = unix.Munmap(bytes) // cannot fail: it is as it was given
	}
	*mem = memory{}
}

// half says which half of a part is in force.
func (mem *memory) half(part uint32) int {
	if mem.control.Halves&part != 0 {
		return 1
	}
	return 0
}

// pairsOf gives the entries of one half of the pairs, with their half.
func (mem *memory) pairsOf(half int) map[uint64]uint32 {
	out := map[uint64]uint32{}
	for key, word := range mem.pairs {
		if int(key>>63) == half {
			out[key] = word
		}
	}
	return out
}

// inHalf gives pairs their keys in a half.
func inHalf(half int, pairs map[uint64]uint32) map[uint64]uint32 {
	out := make(map[uint64]uint32, len(pairs))
	for key, word := range pairs {
		out[key|uint64(half)<<63] = word
	}
	return out
}

// same says whether one half has what is wanted and, beyond that, nothing.
func same[T comparable](all [][2]T, half int, want []T) bool {
	if len(want) > len(all) {
		return false
	}
	for i := range want {
		if all[i][half] != want[i] {
			return false
		}
	}
	var zero T
	for i := len(want); i < len(all); i++ {
		if all[i][half] != zero {
			return false
		}
	}
	return true
}

// put makes it so, and returns the number of entries written.
func put[T comparable](all [][2]T, half int, want []T) (n int) {
	for i := range all {
		var w T
		if i < len(want) {
			w = want[i]
		}
		if all[i][half] != w {
			all[i][half] = w
			n++
		}
	}
	return n
}
