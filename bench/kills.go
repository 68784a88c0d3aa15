package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"myriad/api"
	"myriad/program"
	"myriad/testbed"
)

// Kills kills the coordinator of o.Pnodes pnodes o.Runs times, each at a random
// moment of an up, an edit, a change of links, or a down, and starts it again.
// Whatever it was, the same asked once more must do it; then every pnode is
// looked at, not by way of Myriad, for vnodes that are lost or there twice.
// Another platform must not notice.
func Kills(ctx context.Context, o Options) ([]Row, error) {
	l, err := newLab(ctx, o, testbed.Options{Pnodes: o.Pnodes})
	if err != nil {
		return nil, err
	}
	defer l.close()
	k := &kills{Options: o, lab: l, random: rand.New(rand.NewPCG(50, 50)), took: map[string]time.Duration{}}
	if err := k.prepare(ctx); err != nil {
		return nil, err
	}
	for i := range o.Runs {
		if err := k.round(ctx, i); err != nil {
			return nil, fmt.Errorf("kill %d: %w", i+1, err)
		}
	}
	lived, err := k.calmLives()
	if err != nil {
		return nil, err
	}
	one := func(v, of float64) []sample { return []sample{{v, of}} }
	rows := []Row{
		newRow("kills", "kills after which the same, asked again, was done", o.N, "kills", "coordinators killed", atLeast("ratio", 1), one(float64(k.converged), float64(o.Runs))),
		newRow("kills", "kills while something was under way", o.N, "kills", "", Bar{}, one(float64(k.hit), 0)),
		newRow("kills", "vnodes lost", o.N, "vnodes", "", atMost("ours", 0), one(float64(k.lost), 0)),
		newRow("kills", "vnodes doubled, or where they should not be", o.N, "vnodes", "", atMost("ours", 0), one(float64(k.doubled), 0)),
		newRow("kills", "processes of another platform that live on", o.N, "processes", "started", atLeast("ratio", 1), one(float64(lived), float64(len(k.calm)))),
	}
	return rows, l.close()
}

type kills struct {
	Options
	*lab
	random *rand.Rand
	ops    []killOp
	took   map[string]time.Duration // each operation
	calm   []int                    // processes in another platform

	converged, hit, lost, doubled int
}

// killOp is something that is killed into. It is asked for as commands do it,
// but for one thing: up would start a daemon where there is none, and this one
// is to be started again as it was.
type killOp struct {
	name  string
	there bool // before, there must be the platform; else there must not
	do    func(context.Context) error
	gone  bool // afterwards there is no platform
}

const killPlatform = "bench-kills"

func (k *kills) prepare(ctx context.Context) error {
	calm, err := k.lab.file("calm.yaml", flat("bench-calm", 1, 2*k.Pnodes, ""))
	if err != nil {
		return err
	}
	if err := k.run(ctx, nil, "up", calm); err != nil {
		return err
	}
	out, err := k.instance.command(ctx, "exec", "-p", "bench-calm", "*", "--", "sh", "-c", "sleep 3600 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		return fmt.Errorf("start processes in another platform: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		_, pid, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.Atoi(pid)
		if err != nil {
			return fmt.Errorf("start processes in another platform: %q", line)
		}
		k.calm = append(k.calm, n)
	}
	k.ops = []killOp{
		{"up", false, k.up, false},
		{"edit", true, func(ctx context.Context) error { return k.bring(ctx, 1+k.N/3, k.N+k.N/3) }, false},
		{"links", true, func(ctx context.Context) error {
			_, err := k.Client.ChangeLinks(ctx, killPlatform, &api.LinkChange{Nodes: "*", Set: []string{"delay=5ms"}})
			return err
		}, false},
		{"down", true, k.down, true},
	}
	for range 2 { // the first conditions wait for the machine to be measured
		for _, op := range k.ops {
			if err := k.begin(ctx, op); err != nil {
				return err
			}
			begin := time.Now()
			if err := op.do(ctx); err != nil {
				return err
			}
			k.took[op.name] = time.Since(begin)
		}
	}
	return nil
}

func (k *kills) up(ctx context.Context) error { return k.bring(ctx, 1, k.N) }

// bring brings the platform up with vnodes first … last.
func (k *kills) bring(ctx context.Context, first, last int) error {
	return k.Client.Up(ctx, &api.UpRequest{File: "kills.yaml", Source: flat(killPlatform, first, last, "")}, func(*api.Event) error { return nil })
}

func (k *kills) down(ctx context.Context) error {
	return k.Client.Down(ctx, killPlatform, func(*api.Event) error { return nil })
}

// begin makes what there must be before an operation.
func (k *kills) begin(ctx context.Context, op killOp) error {
	if op.there {
		return k.up(ctx)
	}
	_ = k.down(ctx) // there may be none
	return nil
}

// round is one kill. What is lost or doubled is counted; what does not work at
// all is an error.
func (k *kills) round(ctx context.Context, i int) error {
	op := k.ops[i%len(k.ops)]
	if err := k.begin(ctx, op); err != nil {
		return err
	}
	after := time.Duration(k.random.Float64() * float64(k.took[op.name]))
	done := make(chan error, 1)
	go func() { done <- op.do(ctx) }()
	time.Sleep(after)
	k.Coordinator().Kill()
	failed := <-done != nil
	if failed {
		k.hit++
	}
	if err := k.StartCoordinator(ctx); err != nil {
		return err
	}
	if err := k.AwaitPnodes(ctx, k.Pnodes); err != nil {
		return err
	}
	again := op.do(ctx)
	if e := (*api.Error)(nil); op.gone && errors.As(again, &e) && e.Kind == program.KindNotFound {
		again = nil // it was gone before the kill, whether or not that could be said
	}
	k.say("kills: %d of %d: %v into %s, under way: %v, then: %v", i+1, k.Runs, after.Round(time.Millisecond), op.name, failed, again)
	if again != nil {
		return again
	}
	k.converged++
	return k.look(ctx, op)
}

// look compares what every pnode has with what the plan says.
func (k *kills) look(ctx context.Context, op killOp) error {
	want := make([][]netip.Addr, k.Pnodes)
	var names []string
	for i := range want {
		names = append(names, k.Lab.Name(i))
	}
	if !op.gone {
		all, err := k.where(ctx, killPlatform)
		if err != nil {
			return err
		}
		for _, v := range all {
			a, err := netip.ParseAddr(address(v))
			i := slices.Index(names, v.Pnode)
			if err != nil || i < 0 {
				return errors.Join(err, fmt.Errorf("%s is said to be on %q", v.Name, v.Pnode))
			}
			want[i] = append(want[i], a)
		}
	}
	for i := range want {
		has, err := k.Carried(i, killPlatform)
		if err != nil {
			return err
		}
		lost, extra := differ(want[i], has)
		if len(lost)+len(extra) > 0 {
			k.say("kills: %s lacks %v, and has %v too much", k.Lab.Name(i), lost, extra)
		}
		k.lost += len(lost)
		k.doubled += len(extra)
	}
	return nil
}

// differ gives what only one of two lists has; what one has twice, too.
func differ(want, has []netip.Addr) (lost, extra []netip.Addr) {
	count := map[netip.Addr]int{}
	for _, a := range want {
		count[a]++
	}
	for _, a := range has {
		if count[a]--; count[a] < 0 {
			extra = append(extra, a)
		}
	}
	for _, a := range want {
		if count[a] > 0 {
			lost = append(lost, a)
			count[a]--
		}
	}
	return lost, extra
}

// calmLives counts the processes of the other platform that live.
func (k *kills) calmLives() (int, error) {
	lived := 0
	for _, pid := range k.calm {
		if syscall.Kill(pid, 0) == nil {
			lived++
		}
	}
	if len(k.calm) == 0 {
		return 0, errors.New("there was no process in another platform")
	}
	return lived, nil
}
