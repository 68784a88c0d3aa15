package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNotify: the service manager is told that an agent is ready when it has
// been taken in, not before.
func TestNotify(t *testing.T) {
	dir, err := os.MkdirTemp("", "my")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mem := []string{"MYRIAD_KERNEL=mem", "MYRIAD_TOKEN=", "NOTIFY_SOCKET=" + path}
	start := func(name string, args ...string) (log string) {
		log = filepath.Join(dir, name+".log")
		f, err := os.Create(log)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := myriad(filepath.Join(dir, name), args...)
		cmd.Env = append(cmd.Env, mem...)
		cmd.Stderr = f
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		})
		return log
	}
	told := func() string {
		b := make([]byte, 100)
		_ = l.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := l.Read(b)
		if err != nil {
			t.Fatalf("nothing is told: %v", err)
		}
		return string(b[:n])
	}
	if out, err := myriad(filepath.Join(dir, "a"), "init").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	token, err := myriad(filepath.Join(dir, "a"), "token").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "b/state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b/state/token"), token, 0o600); err != nil {
		t.Fatal(err)
	}
	log := start("a", "serve", "--listen", "127.0.0.1:0", "--name", "a", "--address", "10.9.0.1")
	if got := told(); got != "READY=1" {
		t.Fatalf("the daemon tells %q", got)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`agents join at (tls://\S+)`).FindSubmatch(text)
	if url == nil {
		t.Fatalf("where agents join is not said:\n%s", text)
	}
	log = start("b", "agent", "--join", string(url[1]), "--name", "b", "--address", "10.9.0.2")
	if got := told(); got != "READY=1" {
		t.Fatalf("the agent tells %q", got)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "joined coordinator") {
		t.Errorf("it is ready before it has joined: %v\n%s", err, text)
	}
}
