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
	log, err := a.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(selfExe, "serve", "--auto", "--run-dir", a.runDir, "--state-dir", a.stateDir, "--"+readyFlag, "3")
	cmd.Args[0] = "myriad"
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) {
		return fail(program.KindExhausted, "raise the limit of processes (ulimit -u, or pids.max of the control group), or free some memory", "start the daemon: %v", err)
	}
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	defer context.AfterFunc(ctx, func() { r.Close() })()
	return a.awaitDaemon(ctx, r, cmd)
}

// openLog opens the daemon's log. Where there can be none, the daemon itself
// knows best what is wrong with the directory, and says it.
func (a *app) openLog() (*os.File, error) {
	if os.MkdirAll(a.stateDir, 0o700) == nil {
		if log, err := os.OpenFile(a.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			return log, nil
		}
	}
	return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
}

// awaitDaemon reads what a daemon says on its pipe: nothing but the end of
// the pipe is a daemon that died.
func (a *app) awaitDaemon(ctx context.Context, r io.Reader, cmd *exec.Cmd) error {
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
		return fail(program.KindUnavailable, "read "+a.logPath(), "the daemon ended before it was ready: %v", err)
	}
	if answer.Error != nil {
		_ = cmd.Wait() // why it ended, it has said
		return answer.Error
	}
	return cmd.Process.Release()
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
