package store_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
	"myriad/store"
)

// writerDir is where a process of this test binary writes until it is killed.
const writerDir = "MYRIAD_TEST_STORE_DIR"

// TestWriter is that process: it puts the platform a with ever more vnodes, b
// with twice as many, forgets and puts c, and says so. Otherwise it does
// nothing.
func TestWriter(t *testing.T) {
	dir := os.Getenv(writerDir)
	if dir == "" {
		return
	}
	s, _, _ := open(t, dir)
	for n := 1; ; n++ {
		put(t, s, "a", n)
		put(t, s, "b", 2*n)
		if n%2 == 0 {
			if err := s.Forget(t.Context(), "c"); err != nil {
				t.Fatal(err)
			}
		} else {
			put(t, s, "c", n)
		}
		if err := s.Note(t.Context(), store.Event{Type: "n", Message: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\nwritten %d\n", n)
	}
}

// TestCrash kills a process that writes, again and again. What is read back
// then is what was there before or after the write that was under way.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		last := writeUntilKilled(t, dir, time.Duration(random.IntN(60))*time.Millisecond)
		s, c, end := open(t, dir)
		platforms, problems := s.Platforms(t.Context())
		for _, err := range problems {
			if err != nil {
				t.Error(err)
			}
		}
		for _, p := range platforms {
			n := p.Plan.Len()
			if p.Name == "b" {
				n /= 2
			}
			if n < last || n > last+1 {
				if p.Name != "c" {
					t.Errorf("%s is that of round %d, after %d rounds", p.Name, n, last)
				}
			}
			if _, text, files, err := s.Source(t.Context(), p.Name); err != nil || store.Digest(text, files) != p.Digest || text != source(p.Name, p.Plan.Len()) {
				t.Errorf("the source of %s is not that of its record: %v", p.Name, err)
			}
		}
		checkObjects(t, c, platforms)
		events := 0
		if err := s.Events(t.Context(), func(store.Event) bool { events++; return true }); err != nil {
			t.Error(err)
		}
		if want := min(last, 1000); events < want {
			t.Errorf("%d events are left of %d", events, want)
		}
		// The next writer counts from 1 again.
		for _, p := range platforms {
			if err := s.Forget(t.Context(), p.Name); err != nil {
				t.Error(err)
			}
		}
		end()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// checkObjects: what nobody speaks of is gone.
func checkObjects(t *testing.T, c *bus.Conn, platforms []store.Platform) {
	t.Helper()
	objects, err := c.Objects(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	names, err := objects.Names(t.Context())
	if p := bus.ProblemOf(err); p != nil && p.Kind != program.KindNotFound {
		t.Fatal(err)
	}
	if len(names) != 2*len(platforms) {
		t.Errorf("%d platforms have the objects %q", len(platforms), names)
	}
}

// writeUntilKilled runs a writer, kills it a while after its first round, and
// gives the number of the last round that it has told of.
func writeUntilKilled(t *testing.T, dir string, after time.Duration) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestWriter$")
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	last := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(strings.TrimSpace(lines.Text()), "written %d", &last); err == nil && last == 1 {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	if last == 0 {
		t.Error("the writer wrote nothing")
	}
	return last
}
