package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// wireLinks is what a plan says of links: the tables, and how they change.
// Sets, patches and matrices that several changes share are written once.
type wireLinks struct {
	_        struct{} `cbor:",toarray"`
	Seed     uint64
	Tables   []byte // of program.EncodeLinks
	Repeat   int64
	Sets     []string
	Patches  [][]byte
	Matrices []wireMatrix
	Steps    []wireStep
}

type wireMatrix struct {
	_     struct{} `cbor:",toarray"`
	Sets  []uint32 // indexes into Sets
	Delay []byte   // varints
}

type wireStep struct {
	_       struct{} `cbor:",toarray"`
	At      int64
	Changes []wireChange
}

// wireChange refers to what it shares by index + 1.
type wireChange struct {
	_                        struct{} `cbor:",toarray"`
	Side                     uint8
	Reset                    bool
	Nodes, To, Patch, Matrix uint32
}

// sharing numbers what several changes share.
type sharing struct {
	*wireLinks
	sets, patches, matrices map[string]uint32
	known                   map[*nodeset.Set]uint32
	knownMatrix             map[*topo.Matrix]uint32
}

func (p *Plan) encodeLinks() wireLinks {
	w := wireLinks{Seed: p.seed, Tables: program.EncodeLinks(p.links), Repeat: int64(p.repeat)}
	s := sharing{&w, map[string]uint32{}, map[string]uint32{}, map[string]uint32{}, map[*nodeset.Set]uint32{}, map[*topo.Matrix]uint32{}}
	for _, step := range p.schedule {
		ws := wireStep{At: int64(step.At)}
		for i := range step.Changes {
			ws.Changes = append(ws.Changes, s.change(&step.Changes[i]))
		}
		w.Steps = append(w.Steps, ws)
	}
	return w
}

func (s *sharing) change(c *topo.Change) wireChange {
	w := wireChange{Side: uint8(c.Side), Reset: c.Reset, Nodes: s.set(c.Nodes), To: s.set(c.To), Matrix: s.matrix(c.Matrix)}
	if !c.Patch.Empty() {
		data, err := c.Patch.MarshalBinary()
		if err != nil {
			panic(fmt.Sprintf("encode plan: %v", err)) // plain data always encodes
		}
		w.Patch = numbered(s.patches, string(data), func() { s.Patches = append(s.Patches, data) })
	}
	return w
}

// numbered gives the number of a key, from 1 on; add is called for a new one.
func numbered(numbers map[string]uint32, key string, add func()) uint32 {
	if numbers[key] == 0 {
		add()
		numbers[key] = uint32(len(numbers) + 1)
	}
	return numbers[key]
}

func (s *sharing) set(set *nodeset.Set) uint32 {
	if set == nil {
		return 0
	}
	if s.known[set] == 0 {
		text := set.String()
		s.known[set] = numbered(s.sets, text, func() { s.Sets = append(s.Sets, text) })
	}
	return s.known[set]
}

func (s *sharing) matrix(m *topo.Matrix) uint32 {
	if m == nil {
		return 0
	}
	if s.knownMatrix[m] != 0 {
		return s.knownMatrix[m]
	}
	var w wireMatrix
	var key []byte
	for _, set := range m.Sets {
		at := s.set(set) - 1
		w.Sets = append(w.Sets, at)
		key = binary.AppendUvarint(key, uint64(at))
	}
	w.Delay = make([]byte, 0, 5*len(m.Delay))
	for _, d := range m.Delay {
		w.Delay = binary.AppendVarint(w.Delay, int64(d))
	}
	s.knownMatrix[m] = numbered(s.matrices, fmt.Sprintf("%d %s%s", len(key), key, w.Delay), func() { s.Matrices = append(s.Matrices, w) })
	return s.knownMatrix[m]
}

// shared is what changes refer to, read back.
type shared struct {
	sets     []*nodeset.Set
	matrices []*topo.Matrix
}

func (w *wireLinks) into(p *Plan) error {
	p.seed, p.repeat = w.Seed, time.Duration(w.Repeat)
	var err error
	if p.links, err = program.DecodeLinks(w.Tables); err != nil {
		return err
	}
	if err := p.checkLinks(); err != nil {
		return err
	}
	s, err := w.shared()
	if err != nil {
		return err
	}
	for _, ws := range w.Steps {
		step := topo.Step{At: time.Duration(ws.At)}
		if n := len(p.schedule); ws.At < 0 || n > 0 && p.schedule[n-1].At > step.At {
			return errors.New("the schedule is not in order")
		}
		for i := range ws.Changes {
			c, err := s.change(w, &ws.Changes[i])
			if err != nil {
				return fmt.Errorf("schedule: %w", err)
			}
			step.Changes = append(step.Changes, c)
		}
		p.schedule = append(p.schedule, step)
	}
	return nil
}

// checkLinks refuses tables that speak of vifaces that are none.
func (p *Plan) checkLinks() error {
	if p.links == nil {
		return nil
	}
	want, found := 0, 0
	for _, r := range p.links.Vifaces {
		want += int(r.Count)
	}
	p.eachRange(p.links, func(_ *program.LinkRange, rows []uint32) { found += len(rows) })
	if want != found {
		return fmt.Errorf("%d vifaces have link conditions, of which there are %d", want, found)
	}
	return nil
}

func (w *wireLinks) shared() (*shared, error) {
	s := &shared{}
	for _, text := range w.Sets {
		set, err := nodeset.Parse(text, nil)
		if err != nil {
			return nil, err
		}
		s.sets = append(s.sets, set)
	}
	for i := range w.Matrices {
		m, err := w.Matrices[i].matrix(s.sets)
		if err != nil {
			return nil, fmt.Errorf("matrix %d: %w", i, err)
		}
		s.matrices = append(s.matrices, m)
	}
	return s, nil
}

func (w *wireMatrix) matrix(sets []*nodeset.Set) (*topo.Matrix, error) {
	m := &topo.Matrix{}
	for _, at := range w.Sets {
		if int(at) >= len(sets) {
			return nil, fmt.Errorf("set %d of %d", at, len(sets))
		}
		m.Sets = append(m.Sets, sets[at])
	}
	n := len(m.Sets)
	if n > program.MaxClasses || n*n > len(w.Delay) {
		return nil, fmt.Errorf("%d delays are too few for %d sets", len(w.Delay), n)
	}
	m.Delay = make([]time.Duration, 0, n*n)
	for data := w.Delay; len(data) > 0; {
		d, size := binary.Varint(data)
		if size <= 0 || len(m.Delay) == n*n {
			return nil, errors.New("delays are no numbers, or too many")
		}
		m.Delay, data = append(m.Delay, time.Duration(d)), data[size:]
	}
	if len(m.Delay) < n*n {
		return nil, fmt.Errorf("%d delays are too few for %d sets", len(m.Delay), n)
	}
	return m, nil
}

func (s *shared) change(w *wireLinks, wc *wireChange) (c topo.Change, err error) {
	c = topo.Change{Side: topo.Side(wc.Side), Reset: wc.Reset}
	if c.Nodes, err = at(s.sets, wc.Nodes, "set"); err != nil {
		return c, err
	}
	if c.To, err = at(s.sets, wc.To, "set"); err != nil {
		return c, err
	}
	if c.Matrix, err = at(s.matrices, wc.Matrix, "matrix"); err != nil {
		return c, err
	}
	patch, err := at(w.Patches, wc.Patch, "patch")
	if err != nil || wc.Patch == 0 {
		return c, err
	}
	return c, c.Patch.UnmarshalBinary(slices.Clone(patch))
}

// at gives what a reference stands for: index + 1, or 0 for nothing.
func at[T any](all []T, ref uint32, what string) (v T, err error) {
	if ref == 0 {
		return v, nil
	}
	if int64(ref) > int64(len(all)) {
		return v, fmt.Errorf("%s %d of %d", what, ref, len(all))
	}
	return all[ref-1], nil
}
