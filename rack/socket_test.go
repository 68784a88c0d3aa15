package rack

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketIndex(t *testing.T) {
	for name, want := range map[string]int{
		"rack-0.sock": 0, "rack-17.sock": 17, "rack-4294967295.sock": 4294967295,
		"rack-.sock": -1, "rack-01.sock": -1, "rack--1.sock": -1, "rack-4294967296.sock": -1,
		"rack-3.log": -1, "rack-3.sock.99": -1, "api.sock": -1,
	} {
		got, ok := socketIndex(name)
		if ok != (want >= 0) || ok && got != uint32(want) {
			t.Errorf("socketIndex(%q) = %d, %v, want %d", name, got, ok, want)
		}
	}
}

func TestListen(t *testing.T) {
	for _, depth := range []int{0, 150} {
		dir := filepath.Join(t.TempDir(), strings.Repeat("d", depth))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "rack-1.sock")
		ln, err := listen(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode() != os.ModeSocket|0o600 {
			t.Errorf("mode of the socket: %v, %v", fi.Mode(), err)
		}
		if _, err := listen(path); !errors.Is(err, errServed) {
			t.Errorf("a second listener: %v, want %v", err, errServed)
		}
		conn, err := dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		peer, err := ln.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		if err := checkPeer(peer); err != nil {
			t.Error(err)
		}
		peer.Close()
		conn.Close()
		if err := removeStale(path); err != nil {
			t.Fatal(err)
		}
		if !answers(path) {
			t.Error("the socket of a living rack was removed")
		}
		ln.Close() // and leaves its file, as a killed process would
		if next, err := listen(path); err != nil {
			t.Errorf("in place of a stale socket: %v", err)
		} else {
			next.Close()
		}
		if err := removeStale(path); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestListenPlainFile: what is no socket of ours is not taken for one.
func TestListenPlainFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rack-1.sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := listen(path)
	if err != nil {
		t.Fatalf("a plain file in the place of the socket: %v", err)
	}
	defer ln.Close()
	if _, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	}
}
