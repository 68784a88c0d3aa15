package kernel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"myriad/program"
)

// calibrationTurn is held locked by whoever calibrates on this machine: two at
// once would measure each other. What they find is written into it for those
// who wait, before it is removed.
const calibrationTurn = "/run/myriad-calibration.lock"

// inTurn calls measure while nobody else on the machine does. If somebody has
// measured the same while it waited, it gives what that one found instead.
// Where there can be no such file, it does not wait.
func inTurn(ctx context.Context, path, holder string, measure func() (*program.Calibration, error)) (*program.Calibration, error) {
	begun := time.Now()
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return measure()
		}
		if err := flock(ctx, f, lockPause); err != nil {
			f.Close()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("wait for another calibration on this machine: %w", err)
			}
			return measure()
		}
		if c := found(f); c != nil && c.Holder == holder && current(c) && !c.When.Before(begun) {
			f.Close()
			return c, nil
		}
		if !sameFile(f, path) { // whoever had it is done
			f.Close()
			continue
		}
		c, err := measure()
		if err == nil {
			if data, bad := json.Marshal(c); bad == nil {
				_, _ = f.WriteAt(data, 0) // else the others measure, too
			}
		}
		os.Remove(path)
		f.Close()
		return c, err
	}
}

// found reads what is in the file, nil if that is no calibration.
func found(f *os.File) *program.Calibration {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<16))
	if err != nil {
		return nil
	}
	var c program.Calibration
	if json.Unmarshal(data, &c) != nil {
		return nil
	}
	return &c
}
