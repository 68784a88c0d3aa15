package coord

import (
	"context"
	"time"

	"myriad/api"
	"myriad/program"
	"myriad/store"
)

// followBuffer is how many events a follower may be behind before it is let
// go.
const followBuffer = 1024

// announce makes an event known to those who follow.
func (c *Coordinator) announce(e api.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range c.followers {
		select {
		case f <- e:
		default: // too far behind: the end of its channel tells it so
			delete(c.followers, f)
			close(f)
		}
	}
}

// remember keeps an event for those who ask later.
func (c *Coordinator) remember(ctx context.Context, e api.Event) {
	err := c.Store.Note(ctx, store.Event{Time: e.Time, Type: e.Type, Platform: e.Platform, Message: e.Message})
	if err != nil {
		c.Logf("coordinator: %v", err)
	}
}

// Events tells what happened to a platform, or to all if that is empty; with
// follow, also what happens from now on, until ctx ends or tell fails.
func (c *Coordinator) Events(ctx context.Context, platform string, follow bool, tell func(api.Event) error) error {
	live := make(chan api.Event, followBuffer)
	if follow {
		c.mu.Lock()
		c.followers[live] = true
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			delete(c.followers, live)
			c.mu.Unlock()
		}()
	}
	var last time.Time
	var failed error
	err := c.Store.Events(ctx, func(e store.Event) bool {
		last = e.Time
		if platform == "" || e.Platform == platform {
			failed = tell(api.Event{Time: e.Time, Type: e.Type, Platform: e.Platform, Message: e.Message})
		}
		return failed == nil
	})
	if err != nil || failed != nil || !follow {
		return orElse(failed, err)
	}
	for {
		select {
		case e, ok := <-live:
			switch {
			case !ok:
				return &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: "follow events", Cause: "reading them too slowly"}
			case !e.Time.After(last), platform != "" && e.Platform != platform:
			default:
				if err := tell(e); err != nil {
					return err
				}
			}
		case <-c.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func orElse(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
