package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"myriad/kernel/kerneltest"
)

// console is a command on a terminal of its own.
type console struct {
	t   *testing.T
	cmd *exec.Cmd
	tty *os.File

	mu      sync.Mutex
	written bytes.Buffer // all that came
	done    chan struct{}
}

// onTerminal starts the command on a terminal of 40 rows and 100 columns.
func onTerminal(t *testing.T, cmd *exec.Cmd) *console {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, cmd: cmd, tty: tty, done: make(chan struct{})}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		tty.Close()
		<-c.done
	})
	go func() {
		defer close(c.done)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			c.mu.Lock()
			c.written.Write(buf[:n])
			c.mu.Unlock()
			if err != nil { // EIO is how a terminal ends
				return
			}
		}
	}()
	return c
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written.String()
}

// expect waits until the terminal shows what matches a pattern.
func (c *console) expect(pattern string) {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s := c.String()
		if re.MatchString(s) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the terminal never shows %q but\n%s", pattern, s)
		}
	}
}

func (c *console) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.tty, s); err != nil {
		c.t.Fatal(err)
	}
}

// exits waits for the end of the command and checks its exit code.
func (c *console) exits(want int) {
	c.t.Helper()
	err := c.cmd.Wait()
	<-c.done
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		c.t.Fatal(err)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != want {
		c.t.Errorf("%s: exit code %d, want %d; the terminal shows\n%s", strings.Join(c.cmd.Args, " "), got, want, c)
	}
}

// instanceOf makes an instance with one platform up.
func instanceOf(t *testing.T, topology string, env ...string) (command func(args ...string) *exec.Cmd, file string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "my") // shorter than t.TempDir, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	command = func(args ...string) *exec.Cmd {
		cmd := myriad(dir, args...)
		cmd.Env = append(cmd.Env, env...)
		return cmd
	}
	t.Cleanup(func() {
		if out, err := command("down", "--all").CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	file = filepath.Join(dir, "platform.yaml")
	if err := os.WriteFile(file, []byte(topology), 0o600); err != nil {
		t.Fatal(err)
	}
	return command, file
}

func TestOnTerminal(t *testing.T) {
	command, file := instanceOf(t, `{platform: screen, vnetworks: {lan: 10.1.0.0/16}, vnodes: [{nodes: "n[1-300]", vifaces: [lan]}]}`,
		"MYRIAD_KERNEL=mem", "MEM_PER_VNODE=3ms")

	up := onTerminal(t, command("up", file))
	up.expect(`up screen +[0-9]+% \[=*>?\.*\] \([0-9]+/300, [0-9]+ vnodes/s\)`)
	up.expect(`\r *\rplatform screen: up, 300 of 300 vnodes up`)
	up.exits(0)

	lines := onTerminal(t, command("exec", "n[9-10]", "--", "echo", "x"))
	lines.expect(`(?m)^n9:  x\r\nn10: x\r$`)
	lines.exits(0)

	slow := onTerminal(t, command("exec", "-b", "n[1-3]", "--", "sh", "-c", "test $VNODE != n2 || sleep 0.3; echo x"))
	slow.expect(`exec +[0-9]+% .*1/3`)
	slow.expect(`\r *\r-+\r\nn\[1-3\] \(3\)\r\n`)
	slow.exits(0)

	stuck := onTerminal(t, command("exec", "n[1-2]", "--", "sleep", "60"))
	time.Sleep(200 * time.Millisecond)
	stuck.write("\x03")
	stuck.expect(`myriad: did not finish: n\[1-2\] \(2\)\r\nmyriad: interrupted; what was started is killed`)
	stuck.exits(exitInterrupted)
}

func TestShellOnTerminal(t *testing.T) {
	kerneltest.RequireRoot(t)
	command, file := instanceOf(t, `{platform: shells, vnetworks: {lan: 10.1.0.0/24}, vnodes: [{nodes: "n[1-2]", vifaces: [lan]}]}`, "SHELL=/bin/sh")
	if out, err := command("up", file).CombinedOutput(); err != nil {
		t.Fatalf("up: %v\n%s", err, out)
	}

	sh := onTerminal(t, command("shell", "n2"))
	sh.write("echo I am $(hostname), $(stty size)\n")
	sh.expect(`I am n2, 40 100\r\n`)
	if err := pty.Setsize(sh.tty, &pty.Winsize{Rows: 50, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	sh.write("sleep 60\n")
	time.Sleep(200 * time.Millisecond)
	sh.write("\x03") // is the sleep's, not ours
	sh.write("echo now $(stty size)\n")
	sh.expect(`now 50 120\r\n`)
	sh.write("exit 7\n")
	sh.exits(7)

	// A shell that hangs is left by Ctrl-] three times.
	hung := onTerminal(t, command("shell", "n1", "--", "sh", "-c", "echo begun; trap '' INT TERM HUP; while :; do sleep 1; done"))
	hung.expect("begun")
	hung.write("\x1d\x1d\x1d")
	hung.expect(`myriad: left the shell by Ctrl-\], and killed it\r\n`)
	hung.exits(exitFailed)

	// The end of the terminal ends the shell.
	gone := onTerminal(t, command("shell", "n1", "--", "sleep", "4321"))
	time.Sleep(200 * time.Millisecond)
	if err := gone.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_ = gone.cmd.Wait() // by the signal
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, _ := command("exec", "n1", "--", "pgrep", "-fx", "sleep 4321").Output()
		if len(out) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the shell's command lives on: %s", out)
		}
	}
}
