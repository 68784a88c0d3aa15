package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"myriad/nodeset"
	"myriad/rack"
)

// codeUnfinished stands for the exit code of a command whose end nobody saw.
const codeUnfinished = 255

// tally counts how the commands of an exec ended.
type tally struct {
	ended    int
	worst    int
	failures map[failure][]string
	names    []string // of those that ended
}

// failure is a way of not ending well.
type failure struct {
	code, signal int
	err          string
}

func newTally() *tally { return &tally{failures: map[failure][]string{}} }

func (t *tally) exit(e rack.Exit) {
	t.ended++
	t.names = append(t.names, e.Vnode)
	t.worst = max(t.worst, e.Code)
	if e.Code != 0 || e.Err != "" {
		f := failure{e.Code, e.Signal, e.Err}
		t.failures[f] = append(t.failures[f], e.Vnode)
	}
}

// unfinished is the set of the vnodes asked for whose end was not seen.
func (t *tally) unfinished(asked *nodeset.Set) *nodeset.Set {
	return nodeset.Difference(asked, nodeset.Of(t.names...))
}

// summary tells the failures, one line for each way of failing, the lowest
// code first.
func (t *tally) summary(say func(format string, args ...any)) {
	ways := slices.SortedFunc(maps.Keys(t.failures), func(a, b failure) int {
		return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.err, b.err))
	})
	for _, f := range ways {
		say("%s: %s", briefly(t.failures[f]), f)
	}
}

// String says what happened.
func (f failure) String() string {
	switch {
	case f.err == "timeout":
		return "killed at the timeout"
	case f.err != "":
		return fmt.Sprintf("exit code %d: %s", f.code, f.err)
	case f.signal != 0:
		return fmt.Sprintf("exit code %d (%s)", f.code, syscall.Signal(f.signal))
	}
	return fmt.Sprintf("exit code %d", f.code)
}
