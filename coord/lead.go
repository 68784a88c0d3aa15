package coord

import (
	"context"
	"fmt"
	"sync"
	"time"

	"myriad/bus"
	"myriad/program"
)

// Who coordinates is a record in the bus, changed by compare and set. Its
// epoch grows with every coordinator that begins, and agents obey the greatest
// that they have heard of. Where several coordinators may be on one bus, the
// one that leads writes the record again and again: when it has not done so
// for the time of the lease, by the clock of who waits, that one takes over.

const (
	leadBucket = "lead"
	leadKey    = "coordinator"
	renewals   = 5 // of a lease, in its time
)

// claimed is the record.
type claimed struct {
	Coordinator string
	Epoch       uint64
	Renewed     uint64 // how often
}

// claim is the right to coordinate of this process.
type claim struct {
	bucket   *bus.Bucket
	renewing sync.Mutex // held while it is renewed
	rev      uint64
	lost     error // another one has it

	mu      sync.Mutex
	is      claimed
	renewed time.Time
}

// word is what the coordinator says of itself.
func (c *Coordinator) word() bus.Lead {
	c.claim.mu.Lock()
	defer c.claim.mu.Unlock()
	return bus.Lead{Coordinator: c.Identity, Epoch: c.claim.is.Epoch, Version: c.Version, Now: time.Now()}
}

// lead returns when this coordinator has the right to coordinate, or ctx ends.
func (c *Coordinator) lead(ctx context.Context) error {
	var err error
	if c.claim.bucket, err = c.Conn.Bucket(ctx, leadBucket); err != nil {
		return err
	}
	var seen uint64     // revision of another one's record
	var since time.Time // when that was seen first
	waited := false
	for {
		holder, rev, err := c.holder(ctx)
		switch {
		case err != nil && !waited:
			return err
		case err != nil:
			// The bus is away, for who leads too: that one has its whole time again.
			if seen != 0 && ctx.Err() == nil {
				c.Logf("coordinator: stands by all the same: %v", err)
			}
			seen = 0
		case rev != seen:
			seen, since = rev, time.Now()
		}
		mine := rev == 0 || c.Lease == 0 || holder.Coordinator == c.Holder
		if err == nil && (mine || time.Since(since) >= c.Lease) {
			if done, err := c.takeOver(ctx, holder, rev, waited); done || err != nil {
				return err
			}
			continue // somebody was faster
		}
		if !waited {
			waited = true
			c.Logf("coordinator: stands by: coordinator %s leads", holder.Coordinator)
			c.standBy(holder.Coordinator)
		}
		select {
		case <-time.After(c.Lease / renewals):
		case <-ctx.Done():
			return nil
		}
	}
}

// takeOver tries to be the one who leads, after holder, for whom it waited or
// not. It is not done where somebody was faster.
func (c *Coordinator) takeOver(ctx context.Context, holder claimed, rev uint64, waited bool) (done bool, err error) {
	err = c.seize(ctx, holder, rev)
	switch {
	case err == nil:
		if waited {
			c.Logf("coordinator: takes over from coordinator %s", holder.Coordinator)
			c.standBy("")
		}
	case bus.ProblemOf(err).Kind == program.KindConflict, waited && ctx.Err() == nil:
		return false, nil
	case c.Lease > 0:
		return false, err
	default:
		// Nobody else is on the bus, and what is there can be taken down with a
		// full disk too.
		c.Logf("coordinator: %v", err)
		c.claim.set(claimed{Coordinator: c.Holder, Epoch: max(holder.Epoch+1, uint64(time.Now().UnixNano()))}, time.Now())
	}
	return true, nil
}

func (c *Coordinator) standBy(holder string) {
	if c.StandBy != nil {
		c.StandBy(holder)
	}
}

// holder reads who has the right to coordinate; revision 0: nobody had it.
func (c *Coordinator) holder(ctx context.Context) (is claimed, rev uint64, err error) {
	b, rev, err := c.claim.bucket.GetRev(ctx, leadKey)
	if p := bus.ProblemOf(err); p != nil && p.Kind == program.KindNotFound {
		return is, 0, nil
	}
	if err == nil {
		err = bus.Decode(b, &is)
	}
	return is, rev, err
}

// seize takes the right to coordinate from who had it.
func (c *Coordinator) seize(ctx context.Context, from claimed, rev uint64) error {
	began := time.Now()
	is := claimed{Coordinator: c.Holder, Epoch: max(from.Epoch+1, uint64(began.UnixNano()))} // agents may remember more than the record
	b, err := bus.Encode(is)
	if err != nil {
		return err
	}
	if rev == 0 {
		rev, err = c.claim.bucket.Create(ctx, leadKey, b)
	} else {
		rev, err = c.claim.bucket.Update(ctx, leadKey, b, rev)
	}
	if err != nil {
		return err
	}
	c.claim.rev = rev
	c.claim.set(is, began)
	return nil
}

// set notes what the record says, at the earliest since began: who waits may
// have seen it as early.
func (k *claim) set(is claimed, began time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.is, k.renewed = is, began
}

// keepLead says again and again that this coordinator leads, and renews its
// lease, until ctx ends or another one has taken over.
func (c *Coordinator) keepLead(ctx context.Context, deposed chan<- error) {
	say := time.NewTicker(bus.LeadEvery)
	defer say.Stop()
	var renew <-chan time.Time
	if c.Lease > 0 {
		t := time.NewTicker(c.Lease / renewals)
		defer t.Stop()
		renew = t.C
	}
	for {
		select {
		case <-say.C:
			if err := bus.Publish(c.Conn, bus.SubjectLead, c.word()); err != nil && ctx.Err() == nil {
				c.Logf("coordinator: %v", err)
			}
		case <-renew:
			if err := c.renew(ctx); err != nil {
				deposed <- err
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// renew renews the lease. An error is that another one leads; that the record
// cannot be reached is none, for who takes over says so.
func (c *Coordinator) renew(ctx context.Context) error {
	c.claim.renewing.Lock()
	defer c.claim.renewing.Unlock()
	if c.claim.lost != nil {
		return c.claim.lost
	}
	ctx, cancel := context.WithTimeout(ctx, c.Lease)
	defer cancel()
	began := time.Now()
	is := c.claim.is
	is.Renewed++
	b, err := bus.Encode(is)
	if err != nil {
		return err
	}
	rev, err := c.claim.bucket.Update(ctx, leadKey, b, c.claim.rev)
	if p := bus.ProblemOf(err); p != nil && p.Kind == program.KindConflict {
		now, at, failed := c.holder(ctx)
		switch {
		case failed != nil:
			return nil
		case now.Coordinator == c.Holder && now.Epoch == is.Epoch: // our own, of which we did not hear that it was written
			rev = at
		default:
			c.claim.lost = &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "coordinate", Cause: fmt.Sprintf("another coordinator has taken over: %s", now.Coordinator),
				Remedy: "nothing is lost: it knows all that this one knew"}
			return c.claim.lost
		}
	} else if err != nil {
		c.Logf("coordinator: %v", err)
		return nil
	}
	c.claim.rev = rev
	c.claim.set(is, began)
	return nil
}

// mayWrite says whether this coordinator may still write records: one that was
// stopped for a while may have been followed by another.
func (c *Coordinator) mayWrite(ctx context.Context) error {
	if c.Lease == 0 {
		return nil
	}
	c.claim.mu.Lock()
	fresh := time.Since(c.claim.renewed) < c.Lease/2
	c.claim.mu.Unlock()
	if fresh {
		return nil
	}
	return c.renew(ctx)
}
