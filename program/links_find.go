package program

import (
	"cmp"
	"slices"
	"time"
)

// Of gives the range that a host is in: it has no conditions where that is
// the zero value.
func (l *Links) Of(network uint16, host uint32) LinkRange {
	if l == nil {
		return LinkRange{}
	}
	f := finder{links: l}
	if r := f.find(network, host); r != nil {
		return *r
	}
	return LinkRange{}
}

// Word gives what goes for a pair of hosts: that of Pairs, else that of their
// classes.
func (l *Links) Word(network uint16, from, to uint32) PairWord {
	if l == nil || from == to {
		return 0
	}
	want := Pair{Network: network, From: from, To: to}
	if i, ok := slices.BinarySearchFunc(l.Pairs, want, ComparePairs); ok && l.Pairs[i].Word != 0 {
		return l.Pairs[i].Word
	}
	return l.Between(l.Of(network, from).Class, l.Of(network, to).Class)
}

// Between gives what the matrix says of two classes.
func (l *Links) Between(from, to uint32) PairWord {
	if from == 0 || to == 0 {
		return 0
	}
	return l.Matrix[(from-1)*l.Classes+to-1]
}

// Condition gives what a reference to Conditions stands for.
func (l *Links) Condition(ref uint32) Condition {
	if ref == 0 {
		return Condition{}
	}
	return l.Conditions[ref-1]
}

// PairCondition gives what a word of Matrix or Pairs stands for.
func (l *Links) PairCondition(w PairWord) Condition {
	if w&PairIndexed != 0 {
		return l.Condition(uint32(w &^ PairIndexed))
	}
	return Condition{Delay: time.Duration(w) * DelayUnit}
}

// WordOfDelay gives the word of a delay, rounded to DelayUnit; ok is false if
// it does not fit. What is not 0 does not become it.
func WordOfDelay(d time.Duration) (w PairWord, ok bool) {
	if d < 0 || d > time.Duration(PairIndexed-1)*DelayUnit {
		return 0, false
	}
	w = PairWord((d + DelayUnit/2) / DelayUnit)
	if d > 0 {
		w = min(max(w, 1), PairIndexed-1)
	}
	return w, true
}

// ComparePairs is the order of Links.Pairs.
func ComparePairs(a, b Pair) int {
	return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
}

// finder finds the ranges of hosts, quickly if they are asked for in order.
type finder struct {
	links *Links
	at    int // the range found last
}

// find gives the range of a host, nil if it is in none.
func (f *finder) find(network uint16, host uint32) *LinkRange {
	ranges := f.links.Vifaces
	for at := f.at; at < min(f.at+2, len(ranges)); at++ {
		if r := &ranges[at]; r.holds(network, host) {
			f.at = at
			return r
		}
	}
	at, _ := slices.BinarySearchFunc(ranges, LinkRange{Network: network, Host: host}, func(r, want LinkRange) int {
		if c := cmp.Compare(r.Network, want.Network); c != 0 {
			return c
		}
		if uint64(r.Host)+uint64(r.Count) <= uint64(want.Host) {
			return -1
		}
		return 1
	})
	if at == len(ranges) || !ranges[at].holds(network, host) {
		return nil
	}
	f.at = at
	return &ranges[at]
}

func (r *LinkRange) holds(network uint16, host uint32) bool {
	return r.Network == network && host >= r.Host && uint64(host)-uint64(r.Host) < uint64(r.Count)
}
