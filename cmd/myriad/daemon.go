package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"myriad/api"
	"myriad/program"
)

// selfExe is this binary, even if its file was replaced or removed.
const selfExe = "/proc/self/exe"

// readyFlag tells a daemon the descriptor on which somebody waits for it.
const readyFlag = "ready-fd"

// logPath is where a daemon in the background writes.
func (a *app) logPath() string { return filepath.Join(a.stateDir, "daemon.log") }

// startDaemon starts a daemon in the background and waits until it answers
// or says why it cannot.
func (a *app) startDaemon(ctx context.Context) error {
	return a.launch(ctx, launch{args: []string{"serve", "--auto", "--run-dir", a.runDir, "--state-dir", a.stateDir, "--" + readyFlag, "3"}, log: a.logPath()})
}

// launch is a process of this binary in the background.
type launch struct {
	args  []string
	env   []string // beside this process's own
	log   string   // where it writes
	input string   // what it can read, of a few kilobytes at most
}

// launch starts a process in the background and waits until it is ready or
// says why it cannot be.
func (a *app) launch(ctx context.Context, l launch) error {
	log, err := a.openLog(l.log)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(selfExe, l.args...)
	cmd.Args[0] = "myriad"
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), l.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if l.input != "" {
		in, err := filled(l.input)
		if err != nil {
			return err
		}
		defer in.Close()
		cmd.Stdin = in
	}
	err = cmd.Start()
	w.Close()
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) {
		return fail(program.KindExhausted, "raise the limit of processes (ulimit -u, or pids.max of the control group), or free some memory", "start the %s: %v", roleOf(cmd), err)
	}
	if err != nil {
		return fmt.Errorf("start the %s: %w", roleOf(cmd), err)
	}
	defer context.AfterFunc(ctx, func() { r.Close() })()
	return awaitReady(ctx, r, cmd, l.log)
}

// filled is the end of a pipe from which a short text can be read, by a
// process that outlives this one.
func filled(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	_, err = io.WriteString(w, text) // it fits into a pipe
	return r, err
}

// openLog opens a log for appending. Where there can be none, the process
// itself knows best what is wrong with the directory, and says it.
func (a *app) openLog(path string) (*os.File, error) {
	if os.MkdirAll(a.stateDir, 0o700) == nil {
		if log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			return log, nil
		}
	}
	return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
}

// awaitReady reads what a process says on its pipe: nothing but the end of
// the pipe is a process that died.
func awaitReady(ctx context.Context, r io.Reader, cmd *exec.Cmd, log string) error {
	said, err := io.ReadAll(r)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	var answer readiness
	if err := json.Unmarshal(said, &answer); err != nil {
		err := cmd.Wait()
		return fail(program.KindUnavailable, "read "+log, "the %s ended before it was ready: %v", roleOf(cmd), err)
	}
	if answer.Error != nil {
		_ = cmd.Wait() // why it ended, it has said
		return answer.Error
	}
	return cmd.Process.Release()
}

// roleOf is what a process of this binary is called.
func roleOf(cmd *exec.Cmd) string {
	if cmd.Args[1] == "agent" {
		return "agent"
	}
	return "daemon"
}

// readiness is what a daemon writes to the pipe of whoever started it.
type readiness struct {
	Ready bool       `json:"ready"`
	Error *api.Error `json:"error,omitempty"`
}

// announcer writes a readiness once; the zero value has nobody waiting.
type announcer struct{ pipe *os.File }

// newAnnouncer takes over the descriptor of readyFlag; "" is none.
func newAnnouncer(fd string) (*announcer, error) {
	if fd == "" {
		return &announcer{}, nil
	}
	n, err := strconv.Atoi(fd)
	if err != nil || n < 3 {
		return nil, errors.New("--" + readyFlag + " is a descriptor")
	}
	syscall.CloseOnExec(n) // racks must not hold it open
	return &announcer{pipe: os.NewFile(uintptr(n), "ready")}, nil
}

func (p *announcer) say(r readiness) {
	if p.pipe == nil {
		return
	}
	_ = json.NewEncoder(p.pipe).Encode(r) // whoever waited may be gone
	p.pipe.Close()
	p.pipe = nil
}
