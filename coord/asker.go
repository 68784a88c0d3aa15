package coord

import (
	"context"

	"myriad/api"
)

// asker is whoever waits for the end of a request.
type asker struct {
	bell chan struct{} // there is news
	news []news        // that was not taken yet; of Coordinator.mu
}

// news is what an asker is told.
type news struct {
	api.Event
	last bool
}

// request has the machine do something, and waits for its end.
func (c *Coordinator) request(ctx context.Context, event func(Asker) Event, tell func(api.Event)) (api.Event, error) {
	me := &asker{bell: make(chan struct{}, 1)}
	c.mu.Lock()
	c.lastAsker++
	id := c.lastAsker
	c.askers[id] = me
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.askers, id)
		c.mu.Unlock()
	}()
	c.post(event(id))
	for {
		select {
		case <-me.bell:
			for _, e := range c.take(me) {
				if e.last {
					return e.Event, nil
				}
				tell(e.Event)
			}
		case <-c.done:
			return api.Event{}, problemEnding()
		case <-ctx.Done():
			c.post(Gone{id})
			return api.Event{}, context.Cause(ctx)
		}
	}
}

// take gives what an asker was told since it was called last.
func (c *Coordinator) take(a *asker) []news {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := a.news
	a.news = nil
	return all
}

// tell tells askers what the machine says. Who is slow misses counts, of which
// only the latest means anything, but no message, and never the end.
func (c *Coordinator) tell(e Tell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range e.Askers {
		a := c.askers[id]
		if a == nil {
			continue
		}
		if n := len(a.news); n > 0 && !e.Last && isCount(&e.Event) && isCount(&a.news[n-1].Event) {
			a.news[n-1].Event = e.Event
		} else {
			a.news = append(a.news, news{e.Event, e.Last})
		}
		select {
		case a.bell <- struct{}{}:
		default: // it has not taken what was told before
		}
	}
}

// isCount says whether an event is about how far things are, and no more.
func isCount(e *api.Event) bool { return e.Total > 0 && e.Message == "" }
