package agent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"sync"

	"myriad/bus"
	"myriad/program"
)

// SharedCache keeps what pnodes share of their programs, decoded, for many
// agents in one process. Of old ones it forgets.
type SharedCache struct {
	mu      sync.Mutex
	entries []*cached // the one used last at the end
}

// cached is a part that is there, or under way.
type cached struct {
	name   string
	ready  chan struct{}
	shared *program.Shared // nil once ready: it could not be had
}

// cacheSize is how many parts are kept. Those that are in use live on.
const cacheSize = 4

// NewSharedCache makes an empty cache.
func NewSharedCache() *SharedCache { return &SharedCache{} }

// get gives the part of that name, which holds its digest. One who asks for
// what another fetches waits for that.
func (c *SharedCache) get(ctx context.Context, name string, fetch func() (*program.Shared, error)) (*program.Shared, error) {
	for {
		c.mu.Lock()
		i := slices.IndexFunc(c.entries, func(e *cached) bool { return e.name == name })
		if i < 0 {
			e := &cached{name: name, ready: make(chan struct{})}
			c.entries = append(c.entries, e)
			c.entries = c.entries[max(0, len(c.entries)-cacheSize):]
			c.mu.Unlock()
			return c.fill(e, fetch)
		}
		e := c.entries[i]
		c.entries = append(slices.Delete(c.entries, i, i+1), e)
		c.mu.Unlock()
		select {
		case <-e.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if e.shared != nil {
			return e.shared, nil
		}
	}
}

func (c *SharedCache) fill(e *cached, fetch func() (*program.Shared, error)) (*program.Shared, error) {
	s, err := fetch()
	if err != nil {
		c.mu.Lock()
		c.entries = slices.DeleteFunc(c.entries, func(o *cached) bool { return o == e })
		c.mu.Unlock()
	}
	e.shared = s
	close(e.ready)
	return s, err
}

// shared gives what pnodes share of a program, by its name in ProgramsStore.
func (a *agent) shared(ctx context.Context, name string) (*program.Shared, error) {
	fetch := func() (*program.Shared, error) { return a.fetch(ctx, name) }
	if a.Cache != nil {
		return a.Cache.get(ctx, name, fetch)
	}
	return fetch()
}

// fetch reads a part, and checks it: against the digest at the end of its
// name, and whether it can be meant.
func (a *agent) fetch(ctx context.Context, name string) (*program.Shared, error) {
	objects, err := a.conn.Objects(ctx, bus.ProgramsStore)
	if err != nil {
		return nil, err
	}
	encoded, err := objects.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if digest := fmt.Sprintf("%x", sha256.Sum256(encoded)); digest != path.Base(name) {
		return nil, &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "fetch program " + name,
			Cause: "what came has digest " + digest, Remedy: "run up again; if it happens again, the records of the coordinator are damaged"}
	}
	s, err := program.DecodeShared(encoded)
	if err != nil {
		return nil, err
	}
	return s, s.Validate()
}
