package coord

import (
	"context"
	"time"

	"myriad/bus"
	"myriad/program"
)

// How often agents are to say that they live: very many do so less often.
const (
	beatEvery     = 500 * time.Millisecond
	beatEveryMany = time.Second
	manyAgents    = 1000
)

// life is a pnode that is there: it ends when that is lost, and calls to it end
// with it.
type life struct {
	ctx context.Context
	end context.CancelCauseFunc
}

// listen hears what agents say without being asked.
func (c *Coordinator) listen() error {
	hear := func(err error, e Event) {
		if err != nil {
			c.Logf("coordinator: an agent says something unknown: %v", err)
			return
		}
		c.post(e)
	}
	if err := bus.Handle(c.Conn, bus.SubjectHello, c.hello); err != nil {
		return err
	}
	if err := bus.Subscribe(c.Conn, bus.SubjectBeat, c.beat); err != nil {
		return err
	}
	if err := bus.Subscribe(c.Conn, bus.SubjectBye, func(f bus.From, err error) { hear(err, Went{f}) }); err != nil {
		return err
	}
	racks := func(r bus.Racks, err error) {
		if p := unsoundReport(&r.Report, r.By.Pnode); err == nil && p != nil {
			err = p
		}
		hear(err, Changed{r})
	}
	if err := bus.Subscribe(c.Conn, bus.SubjectRacks, racks); err != nil {
		return err
	}
	if err := bus.Subscribe(c.Conn, bus.SubjectOverload, func(o bus.Overload, err error) { hear(err, Overloaded{o}) }); err != nil {
		return err
	}
	return bus.Publish(c.Conn, bus.SubjectLead, c.word())
}

// hello has the machine hear a hello, and gives its answer.
func (c *Coordinator) hello(ctx context.Context, h bus.Hello) (bus.Welcome, error) {
	if refused := unsound(&h); refused != nil {
		c.Logf("coordinator: %v", refused)
		return bus.Welcome{Lead: c.word(), Refused: refused}, nil
	}
	answer := make(chan *program.Problem, 1)
	c.mu.Lock()
	c.lastTicket++
	ticket := c.lastTicket
	c.greets[ticket] = answer
	c.mu.Unlock()
	c.post(Came{h, ticket})
	select {
	case refused := <-answer:
		w := bus.Welcome{Lead: c.word(), Beat: beatEvery, Refused: refused}
		if c.agents.Load() > manyAgents {
			w.Beat = beatEveryMany
		}
		return w, nil
	case <-c.done:
		return bus.Welcome{}, problemEnding()
	case <-ctx.Done():
		return bus.Welcome{}, context.Cause(ctx)
	}
}

// greet answers a hello.
func (c *Coordinator) greet(e Greet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greets[e.Ticket] <- e.Refused
	delete(c.greets, e.Ticket)
}

// beat notes a sign of life. The machine hears of all at its next pulse.
func (c *Coordinator) beat(b bus.Beat, err error) {
	if err != nil {
		return // whoever cannot be understood does not live
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beats = append(c.beats, Beat{From: b.From, At: now, Clock: b.Now.Sub(now.Round(0)).Truncate(time.Millisecond)})
}

// heard gives the signs of life since it was called last.
func (c *Coordinator) heard() Heard {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.beats
	c.beats = make([]Beat, 0, len(all))
	return all
}

// meet begins the life of a pnode.
func (c *Coordinator) meet(pnode string) {
	ctx, end := context.WithCancelCause(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	if was := c.lives[pnode]; was != nil {
		was.end(&program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "reach pnode " + pnode, Cause: "its agent was started anew"})
	}
	c.lives[pnode] = &life{ctx, end}
	c.agents.Store(int64(len(c.lives)))
}

// lose ends the life of a pnode.
func (c *Coordinator) lose(e Lose) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was := c.lives[e.Pnode]; was != nil {
		was.end(e.Why)
		delete(c.lives, e.Pnode)
	}
	c.agents.Store(int64(len(c.lives)))
}

// alive gives a context that ends with ctx, or with the life of a pnode: then
// its cause says why. It is an error if the pnode is not there.
func (c *Coordinator) alive(ctx context.Context, pnode string) (context.Context, context.CancelFunc, error) {
	c.mu.Lock()
	l := c.lives[pnode]
	c.mu.Unlock()
	if l == nil {
		return nil, nil, &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "reach pnode " + pnode, Cause: "it is not there"}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	return ctx, func() {
		release()
		cancel(nil)
	}, nil
}
