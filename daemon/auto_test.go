package daemon

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAwaitUnused: a daemon that ends by itself stays while it is needed.
func TestAwaitUnused(t *testing.T) {
	type step struct {
		at       time.Duration
		platform int           // one more, one less
		request  time.Duration // that takes so long
		method   string
	}
	for name, tt := range map[string]struct {
		steps []step
		ends  time.Duration
	}{
		"nobody comes":              {nil, firstLinger},
		"a platform, and it goes":   {[]step{{at: time.Second, platform: 1}, {at: time.Minute, platform: -1}}, time.Minute + linger},
		"one comes as another goes": {[]step{{at: time.Second, platform: 1}, {at: time.Minute, platform: -1}, {at: time.Minute + time.Second, platform: 1}, {at: 2 * time.Minute, platform: -1}}, 2*time.Minute + linger},
		"a request that fails":      {[]step{{at: time.Second, request: time.Second, method: "POST"}}, 2*time.Second + linger},
		"a long request":            {[]step{{at: time.Second, request: time.Minute, method: "POST"}}, time.Second + time.Minute + linger},
		"somebody only looks":       {[]step{{at: time.Second, request: time.Minute, method: "GET"}}, time.Second + firstLinger},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var u usage
				var platforms atomic.Int64
				var work sync.WaitGroup
				defer work.Wait()
				begun := time.Now()
				handler := u.count(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					d, _ := time.ParseDuration(r.Header.Get("takes"))
					time.Sleep(d)
				}))
				for _, s := range tt.steps {
					work.Go(func() {
						time.Sleep(s.at)
						platforms.Add(int64(s.platform))
						if s.request > 0 {
							r := httptest.NewRequest(s.method, "/", nil)
							r.Header.Set("takes", s.request.String())
							handler.ServeHTTP(httptest.NewRecorder(), r)
						}
					})
				}
				u.awaitUnused(t.Context(), func(context.Context) error {
					for platforms.Load() > 0 {
						time.Sleep(10 * time.Millisecond)
					}
					return nil
				})
				if got := time.Since(begun); got < tt.ends-time.Second || got > tt.ends+time.Second {
					t.Errorf("it ended after %v, want %v", got, tt.ends)
				}
			})
		})
	}
}
