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
	active int // requests under way that change something
	last   time.Time
}

// count notes the requests that pass. One that only reads, such as following
// events, does not keep a daemon from ending.
func (u *usage) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changes := 0
		if r.Method != http.MethodGet {
			changes = 1
		}
		u.note(changes)
		defer u.note(-changes)
		next.ServeHTTP(w, r)
	})
}

func (u *usage) note(active int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.active += active
	u.last = time.Now()
}

// idle tells for how long nobody has asked for anything.
func (u *usage) idle() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.active > 0 {
		return 0
	}
	return time.Since(u.last)
}

// awaitUnused returns when there has been no platform and no request for a
// while, or ctx ends. empty returns when there is no platform.
func (u *usage) awaitUnused(ctx context.Context, empty func(context.Context) error) {
	u.note(0)
	for patience := firstLinger; ; patience = linger {
		for idle := u.idle(); idle < patience; idle = u.idle() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(patience - idle):
			}
		}
		begun := time.Now()
		if empty(ctx) != nil {
			return
		}
		if time.Since(begun) < linger {
			return // it had been empty for long enough, or nearly
		}
		u.note(0) // its last platform has just gone
	}
}
