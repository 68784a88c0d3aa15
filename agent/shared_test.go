package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"myriad/program"
)

func TestSharedCache(t *testing.T) {
	c := NewSharedCache()
	var fetched atomic.Int32
	parts := map[*program.Shared]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	begin := make(chan struct{})
	for range 50 {
		all.Go(func() {
			s, err := c.get(t.Context(), "x", func() (*program.Shared, error) {
				fetched.Add(1)
				<-begin
				return &program.Shared{Platform: "x"}, nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			parts[s] = true
		})
	}
	until(t, "one fetches", func() bool { return fetched.Load() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.get(ctx, "x", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("one that waits no more: %v", err)
	}
	close(begin)
	all.Wait()
	if fetched.Load() != 1 || len(parts) != 1 {
		t.Errorf("fetched %d times, %d parts", fetched.Load(), len(parts))
	}
	if _, err := c.get(t.Context(), "y", func() (*program.Shared, error) { return nil, errors.New("no") }); err == nil {
		t.Error("what could not be had is there")
	}
	if s, err := c.get(t.Context(), "y", func() (*program.Shared, error) { return &program.Shared{}, nil }); s == nil || err != nil {
		t.Errorf("after a failure: %v", err)
	}
	for i := range 3 * cacheSize {
		_, err := c.get(t.Context(), fmt.Sprint(i), func() (*program.Shared, error) { return &program.Shared{}, nil })
		must(t, err)
	}
	if len(c.entries) != cacheSize {
		t.Errorf("%d parts are kept", len(c.entries))
	}
}
