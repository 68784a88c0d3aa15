package mem

import (
	"context"
	"reflect"
	"time"

	"myriad/program"
)

// Shape puts other link conditions into force. See kernel.Pnode.
func (m *Pnode) Shape(ctx context.Context, name string, l *program.Links, at time.Time) (*program.Shaped, error) {
	if l != nil {
		if err := l.Validate(); err != nil {
			return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "change links of " + name, Cause: err.Error()}
		}
	}
	if err := m.shapeable(name, l); err != nil {
		return nil, err
	}
	if !at.IsZero() {
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.platforms[name]
	if have == nil {
		return nil, notUp(name)
	}
	shaped := &program.Shaped{Entries: m.setLinks(have, l)}
	if !at.IsZero() {
		shaped.Lateness = max(time.Since(at), 0)
	}
	changed := *have.program
	changed.Links = l
	have.program = &changed
	return shaped, nil
}

// shapeable says why a platform cannot have conditions, if it cannot.
func (m *Pnode) shapeable(name string, l *program.Links) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.platforms[name]
	if have == nil {
		return notUp(name)
	}
	changed := *have.program
	changed.Links = l
	return checkLinks(&changed)
}

func checkLinks(p *program.Program) error {
	if p.Links == nil || p.Fabric == program.FabricEBPF {
		return nil
	}
	return &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: "set link conditions of " + p.Platform,
		Cause: "Linux bridges have none", Remedy: "use fabric: ebpf"}
}

func notUp(name string) error {
	return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "change links of " + name, Cause: "no such platform is up"}
}

// setLinks gives a platform other conditions, and counts the rows that differ.
func (m *Pnode) setLinks(have *platform, l *program.Links) int {
	if reflect.DeepEqual(have.links, l) {
		return 0
	}
	was, is := have.links, l
	if was == nil {
		was = &program.Links{}
	}
	if is == nil {
		is = &program.Links{}
	}
	have.links = l
	m.writes++
	n := differ(was.Conditions, is.Conditions) + differ(was.Vifaces, is.Vifaces) + differ(was.Matrix, is.Matrix) +
		differ(was.Pairs, is.Pairs)
	return max(n, 1)
}

// differ counts the places at which two tables differ.
func differ[T comparable](a, b []T) int {
	n := max(len(a), len(b)) - min(len(a), len(b))
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// LinkStats tells how true the links of a platform are. See kernel.Pnode.
func (m *Pnode) LinkStats(_ context.Context, name string) (*program.LinkStats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.platforms[name]
	if have == nil {
		return nil, notUp(name)
	}
	stats := &program.LinkStats{Holder: "none", Counters: []program.Counter{{Name: "unicast"}}}
	if have.links != nil {
		stats.Holder, stats.Lateness = "wheel", make([]uint64, program.LatenessBuckets)
	}
	return stats, nil
}
