package main

import (
	"os/exec"
	"testing"
)

// TestQuoted lets a shell read back what is quoted for it.
func TestQuoted(t *testing.T) {
	for _, word := range []string{"", "up", "--run-dir=/tmp/a b", "*", "peer[1-3]!peer2", "a; b", `it's "$HOME" \`, "ü\n"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quoted(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("a shell reads %s as %q (%v)", quoted(word), out, err)
		}
	}
	if q := quoted("peer1,@lab"); q != "peer1,@lab" {
		t.Errorf("quotes without need: %s", q)
	}
}
