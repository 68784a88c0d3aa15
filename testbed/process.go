package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"myriad/kernel/netns"
)

// Process is a process that Start has started.
type Process struct {
	Pid int
	Log string // file with all that it writes

	done chan struct{} // closed at its end
	err  error         // of its end
}

// Start starts a process in a pnode: in its network namespace, and under its
// host name. What it writes goes to a log named after it, unless the command
// says otherwise.
func (b *Bed) Start(i int, name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Log: filepath.Join(b.PnodeDir(i), name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var out io.Writer = log
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = out
	}
	if err := netns.Spawn(b.Namespace(i), b.Name(i), cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", name, b.Name(i), err)
	}
	p.Pid = cmd.Process.Pid
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	b.mu.Lock()
	b.processes = append(b.processes, p)
	b.mu.Unlock()
	return p, nil
}

// Run runs a command in a pnode to its end, and gives what it wrote.
func (b *Bed) Run(ctx context.Context, i int, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := netns.Spawn(b.Namespace(i), b.Name(i), cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s on %s: %w\n%s%s", strings.Join(args, " "), b.Name(i), err, out.String(), errs.String())
	}
	return out.String(), err
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal, to nobody if the process has ended.
func (p *Process) Signal(s syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(p.Pid, s) // it may end at this moment
	}
}

// Kill kills the process, and returns when it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop ends the process in good order, within patience; else it is killed,
// which is an error.
func (p *Process) Stop(patience time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("process %d did not end within %v of SIGTERM; its log ends:\n%s", p.Pid, patience, p.Tail())
	}
}

// Err is nil while the process runs, and how it ended afterwards.
func (p *Process) Err() error {
	select {
	case <-p.done:
		if p.err == nil {
			return fmt.Errorf("process %d has ended; its log ends:\n%s", p.Pid, p.Tail())
		}
		return fmt.Errorf("process %d: %w; its log ends:\n%s", p.Pid, p.err, p.Tail())
	default:
		return nil
	}
}

// Tail is the end of the log.
func (p *Process) Tail() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	const enough = 4000
	return string(text[max(0, len(text)-enough):])
}

// Pids are the processes of a pnode, whoever started them: those whose command
// line names its directory. role, unless empty, is an argument that they have.
func (b *Bed) Pids(i int, role string) ([]int, error) { return pids(b.PnodeDir(i)+"/", role) }

// KillAll kills every process of a pnode, as a loss of power would.
func (b *Bed) KillAll(i int) error { return killAll(b.Pids(i, "")) }

func pids(below, role string) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, d := range dirs {
		cmdline, err := os.ReadFile(d + "/cmdline")
		if err != nil || !strings.Contains(string(cmdline), below) || role != "" && !strings.Contains(string(cmdline), "\x00"+role+"\x00") {
			continue // it may have ended
		}
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			found = append(found, pid)
		}
	}
	return found, nil
}

func killAll(pids []int, err error) error {
	for _, pid := range pids {
		if e := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, e)
		}
	}
	return err
}
