package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// instance is a Myriad of its own, with directories of its own, so that a
// bench never meets the platforms of its user.
type instance struct {
	exe string // the command under measurement
	dir string
}

func newInstance(exe string) (*instance, error) {
	dir, err := os.MkdirTemp("", "myriad-bench-")
	if err != nil {
		return nil, err
	}
	return &instance{exe: exe, dir: dir}, nil
}

// close takes everything down, whatever state it is in.
func (in *instance) close() error {
	err := in.run(context.WithoutCancel(context.Background()), nil, "down", "--all")
	if e := os.RemoveAll(in.dir); err == nil {
		err = e
	}
	return err
}

// command prepares one call of the command line.
func (in *instance) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, in.exe, append([]string{
		"--run-dir", filepath.Join(in.dir, "run"), "--state-dir", filepath.Join(in.dir, "state")}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// run calls the command line; out, unless nil, receives the JSON it prints.
func (in *instance) run(ctx context.Context, out any, args ...string) error {
	if out != nil {
		args = append([]string{"-o", "json"}, args...)
	}
	cmd := in.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("myriad %s: %w\n%s%s", strings.Join(args, " "), err, stderr.String(), tail(stdout.String(), 400))
	}
	if out == nil {
		return nil
	}
	return readAll(&stdout, out)
}

// readAll decodes a stream of JSON values: into a slice all of them, whether
// they come in an array or one by one; else the first.
func readAll(r io.Reader, out any) error {
	list := reflect.ValueOf(out).Elem()
	dec := json.NewDecoder(r)
	if list.Kind() != reflect.Slice {
		return dec.Decode(out)
	}
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if raw[0] == '[' {
			err = json.Unmarshal(raw, out)
		} else {
			row := reflect.New(list.Type().Elem())
			err = json.Unmarshal(raw, row.Interface())
			list.Set(reflect.Append(list, row.Elem()))
		}
		if err != nil {
			return err
		}
	}
}

// timed gives the seconds that a call took, process start included.
func (in *instance) timed(ctx context.Context, args ...string) (float64, error) {
	start := time.Now()
	err := in.run(ctx, nil, args...)
	return time.Since(start).Seconds(), err
}

// file writes a topology file of this instance and gives its path.
func (in *instance) file(name, text string) (string, error) {
	path := filepath.Join(in.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// flat is a topology of vnodes first … last in one network, and nothing else.
func flat(name string, first, last int, more string) string {
	return fmt.Sprintf("platform: %s\n%svnetworks:\n  lan: 10.0.0.0/8\nvnodes:\n  - nodes: peer[%d-%d]\n    vifaces: [lan]\n", name, more, first, last)
}

// memory is the user-space memory of every process of the instance, in bytes
// (PSS: shared pages are counted once).
func (in *instance) memory() (float64, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, d := range dirs {
		cmdline, err := os.ReadFile(d + "/cmdline")
		if err != nil || !bytes.Contains(cmdline, []byte(in.dir)) {
			continue
		}
		total += pss(d)
	}
	if total == 0 {
		return 0, fmt.Errorf("no process of %s found", in.dir)
	}
	return total, nil
}

// pss reads the proportional set size of a process in bytes (Linux
// Documentation/filesystems/proc.rst, smaps_rollup).
func pss(dir string) float64 {
	text, err := os.ReadFile(dir + "/smaps_rollup")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb * 1024
		}
	}
	return 0
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
