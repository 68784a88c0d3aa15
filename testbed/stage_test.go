package testbed_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myriad/api"
	"myriad/testbed"
)

// build makes the command, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	exe := filepath.Join(os.TempDir(), "myriad")
	if out, err := exec.Command("go", "build", "-o", exe, "../cmd/myriad").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return exe, nil
})

// stage is a lab under test.
type stage struct {
	*testing.T
	*testbed.Lab
	names []string
}

func newStage(t *testing.T, b *testbed.Bed, o testbed.LabOptions) *stage {
	t.Helper()
	exe, err := build()
	must(t, err)
	o.Exe = exe
	l, err := testbed.NewLab(t.Context(), b, o)
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &stage{T: t, Lab: l}
	for i := range b.Options.Pnodes {
		s.names = append(s.names, l.Bed.Name(i))
	}
	return s
}

// try runs a command of who is in control, and gives what it printed.
func (s *stage) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := s.Myriad(ctx, testbed.Control, &out, args...)
	return out.String(), err
}

func (s *stage) must(args ...string) string {
	s.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.logs()
		s.Fatal(err)
	}
	return out
}

// refused runs a command that must fail, and say certain words.
func (s *stage) refused(args, words []string) {
	s.Helper()
	out, err := s.try(args...)
	if err == nil {
		s.Errorf("myriad %s succeeds:\n%s", strings.Join(args, " "), out)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("myriad %s says nothing of %q:\n%v", strings.Join(args, " "), w, err)
		}
	}
}

// logs shows the ends of all logs.
func (s *stage) logs() {
	for _, p := range append([]*testbed.Process{s.Coordinator()}, s.agents()...) {
		if p != nil {
			s.Logf("%s ends:\n%s", p.Log, p.Tail())
		}
	}
}

func (s *stage) agents() []*testbed.Process {
	var all []*testbed.Process
	for i := range s.names {
		all = append(all, s.AgentOf(i))
	}
	return all
}

// file writes a topology file.
func (s *stage) file(name, text string) string {
	s.Helper()
	path := filepath.Join(s.PnodeDir(testbed.Control), name)
	must(s.T, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// eventually waits until f gives nothing to complain of.
func (s *stage) eventually(patience time.Duration, f func() string) {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		wrong := f()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			s.logs()
			s.Fatalf("%v later: %s", patience, wrong)
		}
	}
}

func (s *stage) platform(name string) *api.Platform {
	p, err := s.Client.Platform(s.Context(), name)
	if err != nil {
		return &api.Platform{State: err.Error()}
	}
	return p
}

// up waits until a platform is up, all of it.
func (s *stage) up(platform string, patience time.Duration) {
	s.Helper()
	s.eventually(patience, func() string {
		if p := s.platform(platform); p.State != "up" || p.Up != p.Vnodes {
			return fmt.Sprintf("%s is %s, %d of %d vnodes up, %v", platform, p.State, p.Up, p.Vnodes, p.Problems)
		}
		return ""
	})
}

// vnodes gives a platform's vnodes by pnode.
func (s *stage) vnodes(platform string) map[string][]api.Vnode {
	s.Helper()
	found := map[string][]api.Vnode{}
	err := s.Client.Vnodes(s.Context(), platform, "", func(v *api.Vnode) error {
		found[v.Pnode] = append(found[v.Pnode], *v)
		return nil
	})
	must(s.T, err)
	return found
}

// first is the address that a vnode's first viface has.
func first(v api.Vnode) netip.Addr { return netip.MustParsePrefix(v.Vifaces[0].Address).Addr() }

// placed checks with its own eyes that each pnode has what the plan says it
// has, once, and nothing else.
func (s *stage) placed(platform string) {
	s.Helper()
	plan := s.vnodes(platform)
	for i, name := range s.names {
		var want []netip.Addr
		for _, v := range plan[name] {
			for _, f := range v.Vifaces {
				want = append(want, netip.MustParsePrefix(f.Address).Addr())
			}
		}
		has, err := s.Carried(i, platform)
		must(s.T, err)
		slices.SortFunc(want, netip.Addr.Compare)
		slices.SortFunc(has, netip.Addr.Compare)
		if !slices.Equal(want, has) {
			s.Errorf("%s has %d addresses of %s, and the plan %d there:\n%v\n%v", name, len(has), platform, len(want), has, want)
		}
	}
}

// pings has a vnode of each pnode ping one of each other, without Myriad's
// help. only, unless nil, are the pnodes that take part.
func (s *stage) pings(platform string, only ...string) {
	s.Helper()
	plan := s.vnodes(platform)
	for name, list := range plan { // those of one vnetwork
		plan[name] = slices.DeleteFunc(list, func(v api.Vnode) bool { return !strings.HasPrefix(v.Name, "peer") })
	}
	for i, from := range s.names {
		for k, to := range s.names {
			if i == k || only != nil && (!slices.Contains(only, from) || !slices.Contains(only, to)) || len(plan[from]) == 0 || len(plan[to]) == 0 {
				continue
			}
			a, b := plan[from][0], plan[to][len(plan[to])-1]
			if out, err := s.ping(i, platform, first(a), first(b)); err != nil {
				s.Errorf("%s on %s does not reach %s on %s: %v\n%s", a.Name, from, b.Name, to, err, out)
			}
		}
	}
}

func (s *stage) ping(i int, platform string, from, to netip.Addr, more ...string) (string, error) {
	return s.Inside(s.Context(), i, platform, from, append(append([]string{"ping", "-n", "-c1", "-W2"}, more...), to.String())...)
}
