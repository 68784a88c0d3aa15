package rack

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// meeting is a command that ends when n of them have run at the same time.
func meeting(t *testing.T, n int) *ExecRequest {
	at := filepath.Join(t.TempDir(), "at")
	return sh(fmt.Sprintf("echo >> %s; while [ $(wc -l < %s) -lt %d ]; do sleep 0.05; done", at, at, n))
}

// TestExecWidens: commands that wait for each other all run, though many fewer
// are begun at first.
func TestExecWidens(t *testing.T) {
	n := 2*runtime.NumCPU() + 36
	c := open(t, n)
	run(t.Context(), c, meeting(t, n)).ok(t, n)
}

// TestExecWindow: as many run at a time as were asked for, and no more.
func TestExecWindow(t *testing.T) {
	c := open(t, 12)
	all := meeting(t, 12)
	all.Window = 12
	run(t.Context(), c, all).ok(t, 12)

	here := t.TempDir()
	four := sh("touch " + here + "/$MYRIAD_VNODE; ls " + here + " | wc -l; sleep 0.1; rm " + here + "/$MYRIAD_VNODE")
	four.Window = 4
	o := run(t.Context(), c, four)
	o.ok(t, 12)
	for v, said := range o.stdout {
		if n, err := strconv.Atoi(strings.TrimSpace(said)); err != nil || n < 1 || n > 4 {
			t.Errorf("%s saw %q run at a time, want 1 to 4", v, said)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, test := range []struct{ places, n, size, open int }{
		{3, 10, 3, 3},
		{30, 10, 10, 10},
		{1, 0, 1, 1},
	} {
		w := newWindow(test.places, test.n)
		if cap(w.tokens) != test.size || w.open() != test.open {
			t.Errorf("newWindow(%d, %d): %d of %d places open, want %d of %d",
				test.places, test.n, w.open(), cap(w.tokens), test.open, test.size)
		}
	}
	if w := newWindow(0, 1000); cap(w.tokens) != 1000 || w.open() >= 1000 || len(w.tokens) != w.closed {
		t.Errorf("a window that widens: %d of %d places open, %d tokens taken", w.open(), cap(w.tokens), len(w.tokens))
	}
}
