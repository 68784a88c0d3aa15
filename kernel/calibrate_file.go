package kernel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"myriad/program"
)

// calibrationFile is where a calibration is kept, in the directory of what
// lasts.
const calibrationFile = "calibration.json"

// LoadCalibration gives the calibration that is kept in a directory, if it is
// one of this machine as it is: this boot, this kernel, and the holder that
// frames would be held by now. nil: there is none.
func LoadCalibration(dir string) *program.Calibration {
	kind, _, err := Holder()
	if err != nil {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(dir, calibrationFile))
	if err != nil {
		return nil
	}
	var c program.Calibration
	if json.Unmarshal(data, &c) != nil || c.Holder != kind || !current(&c) {
		return nil
	}
	return &c
}

// current says whether a calibration that was read is one of this boot and
// kernel, and can be.
func current(c *program.Calibration) bool {
	if c.Boot == "" || c.Boot != bootID() || c.Kernel != KernelVersion() {
		return false
	}
	for _, d := range []time.Duration{c.RTT, c.Hold, c.End, c.TimerP50, c.TimerP99} {
		if d < 0 || d > time.Minute {
			return false // nobody measured that
		}
	}
	return true
}

// StoreCalibration keeps a calibration in a directory. Whoever loads it at the
// same time gets this one, or the one before.
func StoreCalibration(dir string, c *program.Calibration) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = writeWhole(filepath.Join(dir, calibrationFile), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep calibration: %w", err)
	}
	return nil
}

// writeWhole writes a file that others see whole or not at all.
func writeWhole(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// bootID names the time from this boot of the machine to the next; empty if
// the kernel does not say.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
