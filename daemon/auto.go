package daemon

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// linger is how long a daemon that nobody needs waits for someone, and
// firstLinger how long for the request that it was started for.
const (
	linger      = 2 * time.Second
	firstLinger = 10 * time.Second
)

// usage knows when the daemon was asked for something last.
type usage struct {
	mu     sync.Mutex
	active int  // requests under way that change something
	any    bool // there was one
	last   time.Time
	closed bool // nothing is begun any more
}

// count notes the requests that pass. One that only reads, such as following
// events, does not keep a daemon from ending. What comes too late is not
// answered at all: the client then knows that it is for the next daemon.
func (u *usage) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changes := 0
		if r.Method != http.MethodGet {
			changes = 1
		}
		if !u.note(changes) {
			panic(http.ErrAbortHandler)
		}
		defer u.note(-changes)
		next.ServeHTTP(w, r)
	})
}

// note notes a request that comes or goes, and whether there still can be any.
func (u *usage) note(active int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.active += active
	u.any = u.any || active > 0
	u.last = time.Now()
	return !u.closed
}

// close lets no more requests in.
func (u *usage) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
}

// closeUnused is close if nobody has asked for anything meanwhile.
func (u *usage) closeUnused() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = u.closed || u.leftLocked() <= 0
	return u.closed
}

// left tells for how long the daemon stays if nobody asks for anything; not
// longer if that is not positive.
func (u *usage) left() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.leftLocked()
}

func (u *usage) leftLocked() time.Duration {
	patience := linger
	if !u.any {
		patience = firstLinger
	}
	if u.active > 0 {
		return patience
	}
	return patience - time.Since(u.last)
}

// awaitUnused returns when there has been no platform and no request for a
// while, or ctx ends. empty returns when there is no platform.
func (u *usage) awaitUnused(ctx context.Context, empty func(context.Context) error) {
	u.note(0)
	for {
		for left := u.left(); left > 0; left = u.left() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(left, linger)): // a use makes the rest shorter
			}
		}
		begun := time.Now()
		if empty(ctx) != nil {
			return
		}
		if time.Since(begun) >= linger {
			u.note(1) // its last platform has just gone: it was used until now
			u.note(-1)
		} else if u.closeUnused() {
			return // it had been empty for long enough, or nearly
		}
	}
}
