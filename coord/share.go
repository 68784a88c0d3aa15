package coord

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
)

// shares is what pnodes share of programs, where agents find it. It is put
// once for each plan and its conditions of links, however many pnodes are to
// have it.
type shares struct {
	objects *bus.Objects

	mu     sync.Mutex
	latest map[string]*share // by platform
	there  map[string]bool   // names of objects
}

// share is what the pnodes of one platform share.
type share struct {
	plan  *plan.Plan
	links *program.Links

	put  sync.Mutex // held while it is put
	name string     // once it is; written with both locks held
}

// openShares opens the place of shared parts. Whatever is there is of an
// earlier coordinator: whom it told to fetch it has lost the one who asked.
func openShares(ctx context.Context, c *bus.Conn) (*shares, error) {
	objects, err := c.Objects(ctx, bus.ProgramsStore)
	if err == nil {
		err = objects.Serve() // agents of other machines ask for them here
	}
	if err != nil {
		return nil, err
	}
	s := &shares{objects: objects, latest: map[string]*share{}, there: map[string]bool{}}
	names, err := objects.Names(ctx)
	for _, name := range names {
		s.there[name] = true
	}
	return s, err
}

// of gives the name by which agents find what pnodes share of a plan, with
// some conditions of links.
func (s *shares) of(ctx context.Context, p *plan.Plan, l *program.Links) (string, error) {
	s.mu.Lock()
	x := s.latest[p.Platform()]
	if x == nil || x.plan != p || x.links != l {
		x = &share{plan: p, links: l}
		s.latest[p.Platform()] = x
	}
	s.mu.Unlock()
	x.put.Lock()
	defer x.put.Unlock()
	if x.name != "" {
		return x.name, nil
	}
	shared := *p.Shared()
	shared.Links = l
	encoded := program.EncodeShared(&shared)
	name := fmt.Sprintf("%s/%x", p.Platform(), sha256.Sum256(encoded))
	s.mu.Lock()
	there := s.there[name]
	s.mu.Unlock()
	if !there {
		if err := s.objects.Put(ctx, name, encoded); err != nil {
			return "", err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there[name], x.name = true, name
	return name, nil
}

// tidy removes what nobody fetches any more: no pnode is at work on a
// platform.
func (s *shares) tidy(ctx context.Context, platform string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := ""
	if x := s.latest[platform]; x != nil {
		keep = x.name
	}
	return s.drop(ctx, func(name string) bool { return strings.HasPrefix(name, platform+"/") && name != keep })
}

// forget removes all that is there of a platform.
func (s *shares) forget(ctx context.Context, platform string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.latest, platform)
	return s.drop(ctx, func(name string) bool { return strings.HasPrefix(name, platform+"/") })
}

// clean removes what is there of platforms that are not known.
func (s *shares) clean(ctx context.Context, known func(platform string) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop(ctx, func(name string) bool {
		platform, _, _ := strings.Cut(name, "/")
		return !known(platform)
	})
}

// drop removes objects. s.mu is held.
func (s *shares) drop(ctx context.Context, which func(name string) bool) error {
	var errs []error
	for name := range s.there {
		if !which(name) {
			continue
		}
		if err := s.objects.Delete(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(s.there, name)
	}
	return errors.Join(errs...)
}
