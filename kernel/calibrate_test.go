package kernel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myriad/kernel/kerneltest"
	"myriad/program"
)

// TestCalibrate: what is measured can be, and is of this machine.
func TestCalibrate(t *testing.T) {
	kerneltest.RequireRoot(t)
	start := time.Now()
	c, err := Calibrate(t.Context(), CalibrateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("in %v: %+v", time.Since(start), c)
	kind, _, err := Holder()
	if err != nil {
		t.Fatal(err)
	}
	if c.Holder != kind || c.Boot == "" || c.Kernel != KernelVersion() || c.When.Before(start.Add(-time.Second)) {
		t.Errorf("it is of something else: %+v", c)
	}
	if c.RTT <= 0 || c.Hold < 0 || c.End < 0 || c.TimerP50 < 0 || c.TimerP99 < c.TimerP50 {
		t.Errorf("it cannot be: %+v", c)
	}
	if c.Base() > calibrationDelay {
		t.Logf("this machine is slow: a packet costs %v", c.Base())
	}
}

// TestCalibrateCancelled: whoever gives up waits for little, and leaves
// nothing behind (see TestMain).
func TestCalibrateCancelled(t *testing.T) {
	kerneltest.RequireRoot(t)
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		c, err := Calibrate(ctx, CalibrateOptions{Rounds: 1000, Patience: time.Minute})
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %+v, %v", after, c, err)
		}
	}
}

// TestCosts: what is calculated from round trips, and what of it is believed.
func TestCosts(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		name      string
		one, both time.Duration
		hold, end time.Duration
		sane      bool
	}{
		{"usual", 2100 * us, 4150 * us, 50 * us, 50 * us, true},
		{"free", 2000 * us, 4000 * us, 0, 0, true},
		{"held too short", 2100 * us, 4050 * us, 0, 150 * us, false},
		{"end too short", 2100 * us, 4250 * us, 150 * us, 0, false},
	} {
		trips := trips{timer: []time.Duration{3, 1, 2}}
		for range 5 {
			trips.rtt[0] = append(trips.rtt[0], 30*us)
			trips.rtt[1] = append(trips.rtt[1], c.one)
			trips.rtt[2] = append(trips.rtt[2], c.both)
		}
		trips.rtt[1][0] *= 100 // one that was interrupted
		got := trips.evaluate()
		if got.Hold != c.hold || got.End != c.end || trips.sane() != c.sane || got.RTT != 30*us || got.TimerP50 != 2 || got.TimerP99 != 3 {
			t.Errorf("%s: %+v, sane: %v", c.name, got, trips.sane())
		}
	}
}

// TestCalibrationFile: what was kept is found again, unless it is of another
// boot, kernel or holder, or is no calibration.
func TestCalibrationFile(t *testing.T) {
	dir := t.TempDir()
	if c := LoadCalibration(dir); c != nil {
		t.Errorf("an empty directory has %+v", c)
	}
	kind, _, err := Holder()
	if err != nil {
		t.Fatal(err)
	}
	good := program.Calibration{Holder: kind, Kernel: KernelVersion(), Boot: bootID(), RTT: 1, Hold: 2, End: 3, TimerP50: 4, TimerP99: 5,
		When: time.Now().UTC().Round(0)}
	for name, change := range map[string]func(*program.Calibration){
		"as it is":       func(*program.Calibration) {},
		"another boot":   func(c *program.Calibration) { c.Boot = "x" },
		"no boot":        func(c *program.Calibration) { c.Boot = "" },
		"another kernel": func(c *program.Calibration) { c.Kernel += "-x" },
		"another holder": func(c *program.Calibration) { c.Holder += "-x" },
		"negative":       func(c *program.Calibration) { c.Hold = -1 },
		"absurd":         func(c *program.Calibration) { c.End = time.Hour },
	} {
		c := good
		change(&c)
		if err := StoreCalibration(dir, &c); err != nil {
			t.Fatal(err)
		}
		got := LoadCalibration(dir)
		if want := c == good; (got != nil) != want || want && *got != good {
			t.Errorf("%s: loads as %+v", name, got)
		}
	}
	path := filepath.Join(dir, calibrationFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	for _, text := range []string{"", "{", "[]", "null", `{"hold":"x"}`, `{"rtt":1e99}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := LoadCalibration(dir); c != nil {
			t.Errorf("%q loads as %+v", text, c)
		}
	}
	if err := StoreCalibration(filepath.Join(dir, "none"), &good); err == nil {
		t.Error("it is kept where there is no directory")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

// TestInTurn: of those who calibrate at the same time, one measures; who comes
// later measures again, and so does who waited for one that failed.
func TestInTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "turn")
	var busy, measured atomic.Int32
	measure := func(fail bool) func() (*program.Calibration, error) {
		return func() (*program.Calibration, error) {
			if busy.Add(1) != 1 {
				t.Error("two measure at once")
			}
			defer busy.Add(-1)
			time.Sleep(50 * time.Millisecond)
			if fail {
				return nil, errors.New("failed")
			}
			return &program.Calibration{Holder: "x", Kernel: KernelVersion(), Boot: bootID(), RTT: time.Duration(measured.Add(1)), When: time.Now().UTC()}, nil
		}
	}
	together := func(n int) {
		var wait sync.WaitGroup
		for range n {
			wait.Go(func() {
				if c, err := inTurn(t.Context(), path, "x", measure(false)); err != nil || c.RTT == 0 {
					t.Errorf("%+v, %v", c, err)
				}
			})
		}
		wait.Wait()
	}
	together(8)
	if n := measured.Load(); n != 1 {
		t.Errorf("%d of 8 measured, want 1", n)
	}
	together(1)
	if n := measured.Load(); n != 2 {
		t.Errorf("%d measured, want another", n)
	}
	failed := make(chan error)
	go func() {
		_, err := inTurn(t.Context(), path, "x", measure(true))
		failed <- err
	}()
	for busy.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	together(3)
	if err := <-failed; err == nil || measured.Load() != 3 {
		t.Errorf("after one that failed (%v), %d measured", err, measured.Load()-2)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := inTurn(ctx, path, "x", func() (*program.Calibration, error) {
		cancel()
		if _, err := inTurn(ctx, path, "x", measure(false)); !errors.Is(err, context.Canceled) {
			t.Errorf("who gives up waits on: %v", err)
		}
		return nil, ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file stays")
	}
}
