package coord

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"myriad/api"
	"myriad/bus"
	"myriad/program"
	"myriad/store"
)

// makeLinks changes tables, and survives a defect in that.
func (c *Coordinator) makeLinks(e MakeLinks) (made LinksMade) {
	defer func() {
		if p := recover(); p != nil {
			c.Logf("coordinator: changing links of %s panicked: %v\n%s", e.Platform, p, debug.Stack())
			err := &program.Problem{Rack: -1, Op: "change links of " + e.Platform, Cause: fmt.Sprint(p), Remedy: "this is a defect of myriad; please report it"}
			made = LinksMade{Platform: e.Platform, Next: e.Current, Parts: make([]Made, len(e.Parts))}
			for i := range made.Parts {
				made.Parts[i].Err = err
			}
		}
	}()
	return makeLinks(e)
}

// saveLinks has the conditions of links remembered. It is called by one
// goroutine at a time.
func (c *Coordinator) saveLinks(ctx context.Context, e SaveLinks) error {
	r := &store.Links{Force: program.EncodeLinks(e.Record.Force), Changes: e.Record.Changes}
	var played []byte
	s := e.Record.Schedule
	if s != nil {
		boot, uptime := bootClock(e.Record.Place.Began)
		r.Schedule = &store.Schedule{File: s.File, Played: s.Source != nil, Began: e.Record.Place.Began, Boot: boot, Uptime: uptime,
			Round: e.Record.Place.Round, Next: e.Record.Place.Next}
		if s.Source != nil && c.played[e.Platform] != s {
			var err error
			if played, err = bus.Encode(s.Source); err != nil {
				return err
			}
		}
	}
	err := c.Store.PutLinks(ctx, e.Platform, r, played)
	if err == nil {
		c.played[e.Platform] = s
	}
	return err
}

// restored gives the machine what the store remembers, with the times of this
// process.
func (c *Coordinator) restored(platforms []store.Platform) Restored {
	e := Restored{Platforms: platforms, Links: map[string]*LinksRecord{}}
	for i := range platforms {
		p := &platforms[i]
		if p.Links == nil {
			continue
		}
		r, err := restoreLinks(p)
		if err != nil {
			c.Logf("coordinator: conditions of links of %s: %v; those of its file are assumed", p.Name, err)
			continue
		}
		e.Links[p.Name] = r
		c.played[p.Name] = r.Schedule
		p.Links = nil
	}
	return e
}

func restoreLinks(p *store.Platform) (*LinksRecord, error) {
	force, err := program.DecodeLinks(p.Links.Force)
	if err != nil {
		return nil, err
	}
	r := &LinksRecord{Force: force, Changes: p.Links.Changes}
	s := p.Links.Schedule
	if s == nil {
		return r, nil
	}
	r.Place = Place{Began: began(s), Round: s.Round, Next: s.Next}
	if !s.Played {
		steps, repeat := p.Plan.Schedule()
		r.Schedule = &Schedule{File: s.File, Steps: steps, Repeat: repeat}
	} else {
		var source api.Schedule
		if err := bus.Decode(p.Links.Played, &source); err != nil {
			return nil, err
		}
		if r.Schedule, err = scheduleOf(p.Plan, &source); err != nil {
			return nil, err
		}
	}
	if s.Next > len(r.Schedule.Steps) {
		return nil, fmt.Errorf("step %d of %d", s.Next, len(r.Schedule.Steps))
	}
	return r, nil
}

// bootClock says when something was or will be by the clock that runs from the
// start of the machine, which nobody sets.
func bootClock(t time.Time) (boot string, uptime time.Duration) {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return "", 0
	}
	return bootID(), time.Duration(now.Nano()) - time.Since(t)
}

// began is when a schedule began. If the machine was started anew meanwhile,
// its own clock must do.
func began(s *store.Schedule) time.Time {
	now := time.Now()
	if boot, uptime := bootClock(now); boot != "" && boot == s.Boot {
		return now.Add(s.Uptime - uptime)
	}
	return now.Add(s.Began.Sub(now))
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // empty: it is not known
	return strings.TrimSpace(string(b))
}
