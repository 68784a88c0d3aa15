package program

import (
	"errors"
	"fmt"
	"time"
)

// The encoding of links is one CBOR item, as columns: each is a byte string of
// varints, left out where every row holds zero. What grows from row to row is
// written as the difference from the row before. The matrix and the tables of
// jitter are little-endian words. So a row of input never asks for more memory
// than a few times its bytes.

type wireLinks struct {
	_          struct{} `cbor:",toarray"`
	Seed       uint64
	Conditions wireConditions
	Vifaces    wireRanges
	Classes    uint32
	Matrix     []byte
	Pairs      wirePairs
	Tables     []wireTable
	Traces     []wireTrace
}

type wireConditions struct {
	_       struct{} `cbor:",toarray"`
	Count   uint32
	Columns [][]byte // in the order of conditionColumns
}

type wireRanges struct {
	_     struct{} `cbor:",toarray"`
	Count uint32
	// Place is the network less that of the row before, Host what lies between
	// it and the end of the row before, or 0 in another network; never left out.
	Place, Host, Hosts, Class, Out, In []byte
}

type wirePairs struct {
	_     struct{} `cbor:",toarray"`
	Count uint32
	// Each is a difference where those before it are 0; To is never left out.
	Network, From, To, Word []byte
}

type wireTable struct {
	_      struct{} `cbor:",toarray"`
	Name   string
	Values []byte
}

type wireTrace struct {
	_      struct{} `cbor:",toarray"`
	Name   string
	Period uint32
	At     []byte // differences
}

// conditionColumns are the numbers of a condition, and the greatest that each
// holds.
var conditionColumns = []struct {
	most uint64
	get  func(*Condition) uint64
	set  func(*Condition, uint64)
}{
	{1<<63 - 1, func(c *Condition) uint64 { return uint64(c.Delay) }, func(c *Condition, v uint64) { c.Delay = time.Duration(v) }},
	{1<<63 - 1, func(c *Condition) uint64 { return uint64(c.Jitter) }, func(c *Condition, v uint64) { c.Jitter = time.Duration(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.Distribution) }, func(c *Condition, v uint64) { c.Distribution = uint32(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.Loss) }, func(c *Condition, v uint64) { c.Loss = Share(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.ToBad) }, func(c *Condition, v uint64) { c.ToBad = Share(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.ToGood) }, func(c *Condition, v uint64) { c.ToGood = Share(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.LossBad) }, func(c *Condition, v uint64) { c.LossBad = Share(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.Corrupt) }, func(c *Condition, v uint64) { c.Corrupt = Share(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.Duplicate) }, func(c *Condition, v uint64) { c.Duplicate = Share(v) }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.Reorder) }, func(c *Condition, v uint64) { c.Reorder = Share(v) }},
	{1<<64 - 1, func(c *Condition) uint64 { return c.Rate }, func(c *Condition, v uint64) { c.Rate = v }},
	{1<<32 - 1, func(c *Condition) uint64 { return uint64(c.Trace) }, func(c *Condition, v uint64) { c.Trace = uint32(v) }},
	{1<<63 - 1, func(c *Condition) uint64 { return uint64(c.QueueTime) }, func(c *Condition, v uint64) { c.QueueTime = time.Duration(v) }},
	{1<<64 - 1, func(c *Condition) uint64 { return c.QueueBytes }, func(c *Condition, v uint64) { c.QueueBytes = v }},
	{7, conditionFlags, setConditionFlags},
}

func conditionFlags(c *Condition) (flags uint64) {
	for bit, set := range []bool{c.Ordered, c.ECN, c.Default} {
		if set {
			flags |= 1 << bit
		}
	}
	return flags
}

func setConditionFlags(c *Condition, flags uint64) {
	c.Ordered, c.ECN, c.Default = flags&1 != 0, flags&2 != 0, flags&4 != 0
}

// EncodeLinks gives the bytes of valid links; none for nil.
func EncodeLinks(l *Links) []byte {
	if l == nil {
		return nil
	}
	data, err := encMode.Marshal(wireOf(l))
	if err != nil {
		panic(fmt.Sprintf("encode links: %v", err)) // plain data always encodes
	}
	return append([]byte{Version}, data...)
}

// DecodeLinks reads what EncodeLinks wrote. What it returns has passed
// Validate; it is nil for no bytes.
func DecodeLinks(data []byte) (*Links, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if data[0] != Version {
		return nil, fmt.Errorf("decode links: they are of version %d, this is version %d (run the same build of myriad everywhere)", data[0], Version)
	}
	if len(data) > MaxEncoded {
		return nil, fmt.Errorf("decode links: %d bytes, at most %d are read", len(data), MaxEncoded)
	}
	var w wireLinks
	if err := decMode.Unmarshal(data[1:], &w); err != nil {
		return nil, fmt.Errorf("decode links: %w", err)
	}
	l, err := w.links()
	if err != nil {
		return nil, fmt.Errorf("decode links: %w", err)
	}
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("decode links: %w", err)
	}
	return l, nil
}

func wireOf(l *Links) *wireLinks {
	w := &wireLinks{Seed: l.Seed, Classes: l.Classes, Matrix: words(l.Matrix),
		Conditions: encodeConditions(l.Conditions), Vifaces: encodeRanges(l.Vifaces), Pairs: encodePairs(l.Pairs)}
	for _, t := range l.Tables {
		w.Tables = append(w.Tables, wireTable{Name: t.Name, Values: words(t.Values)})
	}
	for _, t := range l.Traces {
		w.Traces = append(w.Traces, wireTrace{Name: t.Name, Period: t.Period, At: momentsOf(t.At)})
	}
	return w
}

func (w *wireLinks) links() (*Links, error) {
	l := &Links{Seed: w.Seed, Classes: w.Classes}
	var errs [5]error
	l.Conditions, errs[0] = w.Conditions.conditions()
	l.Vifaces, errs[1] = w.Vifaces.ranges()
	l.Matrix, errs[2] = fromWords[PairWord](w.Matrix)
	l.Pairs, errs[3] = w.Pairs.pairs()
	for _, t := range w.Tables {
		values, err := fromWords[int32](t.Values)
		errs[4] = errors.Join(errs[4], err)
		l.Tables = append(l.Tables, Distribution{Name: t.Name, Values: values})
	}
	for _, t := range w.Traces {
		at, err := moments(t.At)
		errs[4] = errors.Join(errs[4], err)
		l.Traces = append(l.Traces, Trace{Name: t.Name, Period: t.Period, At: at})
	}
	return l, errors.Join(errs[:]...)
}

func encodeConditions(conditions []Condition) wireConditions {
	w := wireConditions{Count: uint32(len(conditions))}
	for _, field := range conditionColumns {
		w.Columns = append(w.Columns, columnOf(len(conditions), func(i int) uint64 { return field.get(&conditions[i]) }))
	}
	return w
}

func (w *wireConditions) conditions() ([]Condition, error) {
	if w.Count > MaxConditions {
		return nil, fmt.Errorf("%d conditions, at most %d are read", w.Count, MaxConditions)
	}
	if len(w.Columns) != len(conditionColumns) {
		return nil, fmt.Errorf("conditions have %d columns, want %d", len(w.Columns), len(conditionColumns))
	}
	var out []Condition
	err := readColumns(int(w.Count), func(v []uint64) error {
		var c Condition
		for i, field := range conditionColumns {
			if v[i] > field.most {
				return fmt.Errorf("condition %d: %d in column %d, at most %d fits", len(out)+1, v[i], i, field.most)
			}
			field.set(&c, v[i])
		}
		if c == (Condition{}) { // it would take no byte
			return fmt.Errorf("condition %d changes nothing", len(out)+1)
		}
		out = append(out, c)
		return nil
	}, w.Columns...)
	return out, err
}

func encodeRanges(ranges []LinkRange) wireRanges {
	n := len(ranges)
	before := func(i int) (network uint16, end uint32) {
		if i == 0 {
			return 0, 0
		}
		r := &ranges[i-1]
		if r.Network != ranges[i].Network {
			return r.Network, 0
		}
		return r.Network, r.Host + r.Count
	}
	return wireRanges{
		Count: uint32(n),
		Place: columnOf(n, func(i int) uint64 { network, _ := before(i); return uint64(ranges[i].Network - network) }),
		Host:  denseColumn(n, func(i int) uint64 { _, end := before(i); return uint64(ranges[i].Host - end) }),
		Hosts: columnOf(n, func(i int) uint64 { return uint64(ranges[i].Count) - 1 }),
		Class: columnOf(n, func(i int) uint64 { return uint64(ranges[i].Class) }),
		Out:   columnOf(n, func(i int) uint64 { return uint64(ranges[i].Out) }),
		In:    columnOf(n, func(i int) uint64 { return uint64(ranges[i].In) }),
	}
}

// maxRanges is how many ranges there are at most: one for each host of an
// IPv4 network of 8 bits.
const maxRanges = 1 << 24

func (w *wireRanges) ranges() ([]LinkRange, error) {
	if w.Count > maxRanges || int(w.Count) > len(w.Host) {
		return nil, fmt.Errorf("%d ranges of vifaces in %d bytes", w.Count, len(w.Host))
	}
	if w.Count == 0 {
		return nil, nil
	}
	out := make([]LinkRange, 0, w.Count)
	network, end := uint64(0), uint64(0)
	err := readColumns(int(w.Count), func(v []uint64) error {
		if v[0] > 0 {
			network, end = network+v[0], 0
		}
		host, count := end+v[1], v[2]+1
		if network > 1<<16-1 || v[0] > 1<<16 || v[1] > MaxHost || v[2] > MaxHost || max(v[3], v[4], v[5]) > 1<<32-1 {
			return fmt.Errorf("range %d of vifaces is none", len(out))
		}
		end = host + count
		if end > MaxHost+1 {
			return fmt.Errorf("range %d of vifaces goes to host %d", len(out), end-1)
		}
		out = append(out, LinkRange{Network: uint16(network), Host: uint32(host), Count: uint32(count),
			Class: uint32(v[3]), Out: uint32(v[4]), In: uint32(v[5])})
		return nil
	}, w.Place, w.Host, w.Hosts, w.Class, w.Out, w.In)
	return out, err
}

func encodePairs(pairs []Pair) wirePairs {
	n := len(pairs)
	// since gives the pair before, as far as a pair agrees with it.
	since := func(i int) (p Pair) {
		if i == 0 {
			return p
		}
		if p.Network = pairs[i-1].Network; p.Network == pairs[i].Network {
			if p.From = pairs[i-1].From; p.From == pairs[i].From {
				p.To = pairs[i-1].To
			}
		}
		return p
	}
	return wirePairs{
		Count:   uint32(n),
		Network: columnOf(n, func(i int) uint64 { return uint64(pairs[i].Network - since(i).Network) }),
		From:    columnOf(n, func(i int) uint64 { return uint64(pairs[i].From - since(i).From) }),
		To:      denseColumn(n, func(i int) uint64 { return uint64(pairs[i].To - since(i).To) }),
		Word:    columnOf(n, func(i int) uint64 { return uint64(pairs[i].Word) }),
	}
}

func (w *wirePairs) pairs() ([]Pair, error) {
	if w.Count > MaxPairs || int(w.Count) > len(w.To) {
		return nil, fmt.Errorf("%d pairs in %d bytes", w.Count, len(w.To))
	}
	if w.Count == 0 {
		return nil, nil
	}
	out := make([]Pair, 0, w.Count)
	var network, from, to uint64
	err := readColumns(int(w.Count), func(v []uint64) error {
		if max(v[0], v[1], v[2], v[3]) > 1<<32-1 {
			return fmt.Errorf("pair %d is none", len(out))
		}
		if v[0] > 0 {
			network, from, to = network+v[0], 0, 0
		}
		if v[1] > 0 {
			from, to = from+v[1], 0
		}
		to += v[2]
		if network > 1<<16-1 || max(from, to) > MaxHost {
			return fmt.Errorf("pair %d is none", len(out))
		}
		out = append(out, Pair{Network: uint16(network), From: uint32(from), To: uint32(to), Word: PairWord(v[3])})
		return nil
	}, w.Network, w.From, w.To, w.Word)
	return out, err
}
