package daemon

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestListening: after a daemon that listened was killed, none is started by
// the way; after one that ended in good order, some may.
func TestListening(t *testing.T) {
	dir := t.TempDir()
	begin := func(auto bool, listen string) (func(), error) {
		d := &daemon{Config: Config{StateDir: dir, Auto: auto, Listen: listen}}
		return d.noteListening()
	}
	ok := func(auto bool, listen string) func() {
		t.Helper()
		done, err := begin(auto, listen)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	ok(true, "")()
	ok(false, ":4222") // and it is killed
	if _, err := begin(true, ""); err == nil || !strings.Contains(err.Error(), "--listen :4222") {
		t.Errorf("while one that listened is away: %v", err)
	}
	ok(false, ":4222")()
	ok(true, "")()
	ok(false, ":4222")
	ok(false, "")() // somebody has thought better of it
	ok(true, "")()
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
