package kernel

import (
	"context"
	"sync"

	"myriad/kernel/wheel"
)

// holding is a rack's wheel. The zero value has none, and costs nothing.
type holding struct {
	mu    sync.Mutex
	wheel *wheel.Wheel
	spec  HoldSpec // that it was started with
	ended bool
}

// Hold makes the rack's wheel as it is wanted. See Rack.
func (l *LocalRack) Hold(_ context.Context, want *HoldSpec) error {
	h := &l.holding
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return errClosed
	}
	if h.wheel != nil && want != nil && h.spec == *want && !closed(h.wheel.Done()) {
		return nil
	}
	if err := h.close(); err != nil || want == nil {
		return err
	}
	w, err := wheel.Start(wheel.Options{Netns: l.ns, Device: HoldIndex, Memory: want.Memory, Spin: want.Spin})
	if err != nil {
		return err
	}
	h.wheel, h.spec = w, *want
	return nil
}

// Held tells what the rack's wheel has done. See Rack.
func (l *LocalRack) Held(context.Context) (*wheel.Stats, error) {
	h := &l.holding
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wheel == nil {
		return nil, nil
	}
	stats := h.wheel.Stats()
	return &stats, nil
}

// end ends the wheel, for good.
func (h *holding) end() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	return h.close()
}

func (h *holding) close() error {
	if h.wheel == nil {
		return nil
	}
	err := h.wheel.Close()
	h.wheel = nil
	return err
}
