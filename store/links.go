package store

import (
	"context"
	"errors"
	"time"

	"myriad/bus"
	"myriad/program"
)

// Links is what is remembered of the conditions of a platform's links, where
// they are not simply the plan's.
type Links struct {
	Sum      string // of the source and plan that they belong to
	Force    []byte // the tables, as program.EncodeLinks writes them
	Changes  int    // made since they were those of the plan
	Schedule *Schedule

	// Set by Platforms.
	Played []byte `cbor:"-"` // the source of Schedule, as it was put
}

// Schedule is a schedule under way, and how far it has come.
type Schedule struct {
	File   string
	Played bool // its source is put beside; else it is the plan's
	Began  time.Time
	Boot   string        // of the machine
	Uptime time.Duration // at which it began
	Round  int
	Next   int
}

// linksObject is where the conditions of a platform's links are.
func linksObject(platform string) string { return platform + "/links" }

// links reads what is remembered of links, nil if that is nothing, or belongs
// to another plan.
func (s *Store) links(ctx context.Context, r *Record) (*Links, error) {
	object := linksObject(r.Name)
	b, err := s.objects.Get(ctx, object+"/state")
	if absent(err) {
		return nil, nil
	}
	l := &Links{}
	if err == nil {
		err = bus.Decode(b, l)
	}
	if err != nil || l.Sum != r.Sum {
		return nil, err
	}
	if l.Schedule != nil && l.Schedule.Played {
		l.Played, err = s.objects.Get(ctx, object+"/schedule")
	}
	return l, err
}

// PutLinks remembers the conditions of a platform's links, and, unless it is
// nil, the source of a schedule.
func (s *Store) PutLinks(ctx context.Context, platform string, l *Links, played []byte) error {
	r, err := s.record(ctx, platform)
	if err != nil {
		return err
	}
	if r.Name == "" {
		return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "remember links of " + platform, Cause: "there is no such platform"}
	}
	object := linksObject(platform)
	if played != nil {
		if err := s.objects.Put(ctx, object+"/schedule", played); err != nil {
			return err
		}
	}
	l.Sum = r.Sum
	b, err := bus.Encode(l)
	if err != nil {
		return err
	}
	return s.objects.Put(ctx, object+"/state", b)
}

// ForgetLinks has the conditions of a platform's links be the plan's.
func (s *Store) ForgetLinks(ctx context.Context, platform string) error {
	object := linksObject(platform)
	return errors.Join(s.objects.Delete(ctx, object+"/state"), s.objects.Delete(ctx, object+"/schedule"))
}
