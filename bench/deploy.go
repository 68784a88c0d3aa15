package bench

import (
	"context"
	"fmt"
	"time"

	"myriad/api"
)

// The edit that a deploy bench makes: this many vnodes more, and fewer.
const (
	editAdded   = 1000
	editRemoved = 500
)

// deployRun is what one run of Deploy measured.
type deployRun struct {
	floorUp, floorDown float64 // s
	up, again          float64 // s
	writes             float64 // kernel objects written by again
	edit, down         float64 // s
	lost               float64 // probes between vnodes that the edit does not touch
	memory             float64 // bytes per vnode
}

// Deploy measures the life of a platform of o.N vnodes in one vnetwork: up,
// up again, an edit, down; beside the kernel floor, in alternation.
func Deploy(ctx context.Context, o Options) ([]Row, error) {
	var runs []deployRun
	for i := range o.Runs {
		o.say("deploy: run %d of %d", i+1, o.Runs)
		var r deployRun
		steps := []func(context.Context, Options, *deployRun) error{deployFloor, deployOurs}
		if i%2 == 1 { // whoever is second finds memory that was touched before
			steps[0], steps[1] = steps[1], steps[0]
		}
		for _, step := range steps {
			if err := step(ctx, o, &r); err != nil {
				return nil, err
			}
		}
		runs = append(runs, r)
	}
	return deployRows(o.N, runs), nil
}

func deployFloor(ctx context.Context, o Options, r *deployRun) error {
	var err error
	r.floorUp, r.floorDown, err = floor(ctx, o)
	o.say("deploy: floor: up %.2f s, down %.2f s", r.floorUp, r.floorDown)
	return err
}

func deployOurs(ctx context.Context, o Options, r *deployRun) (err error) {
	in, err := newInstance(o.Exe)
	if err != nil {
		return err
	}
	defer in.close()
	file, err := in.file("flat.yaml", flat("bench-deploy", 1, o.N, ""))
	if err != nil {
		return err
	}
	if r.up, err = in.timed(ctx, "up", file); err != nil {
		return err
	}
	bytes, err := in.memory()
	if err != nil {
		return err
	}
	r.memory = bytes / float64(o.N)
	if r.again, err = in.timed(ctx, "up", file); err != nil {
		return err
	}
	if r.writes, err = in.writes(ctx); err != nil {
		return err
	}
	if err = deployEdit(ctx, o, in, r); err != nil {
		return err
	}
	if err = in.run(ctx, nil, "up", file); err != nil { // as many again as the floor removes
		return err
	}
	if r.down, err = in.timed(ctx, "down", "--all"); err != nil {
		return err
	}
	o.say("deploy: ours: up %.2f s, again %.2f s, edit %.2f s, down %.2f s", r.up, r.again, r.edit, r.down)
	return in.close()
}

// writes asks how many kernel objects the last up changed.
func (in *instance) writes(ctx context.Context) (float64, error) {
	var all []api.Platform
	if err := in.run(ctx, &all, "status"); err != nil {
		return 0, err
	}
	n := 0.0
	for _, p := range all {
		n += float64(p.Writes)
	}
	return n, nil
}

// deployEdit takes the lowest vnodes away and adds others at the end, while
// two that stay exchange a probe a millisecond.
func deployEdit(ctx context.Context, o Options, in *instance, r *deployRun) error {
	removed := min(editRemoved, o.N/2)
	file, err := in.file("edited.yaml", flat("bench-deploy", removed+1, o.N+editAdded, ""))
	if err != nil {
		return err
	}
	from, to := fmt.Sprintf("peer%d", removed+1), fmt.Sprintf("peer%d", o.N)
	var target []api.Vnode
	if err := in.run(ctx, &target, "ps", to); err != nil {
		return err
	}
	server := peer(ctx, in.vnodes("bench-deploy"), to, address(target[0]), []string{"udp-echo"})
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		_ = server.Cancel()
		_ = server.Wait() // its end is ours to cause: its status says nothing
	}()
	time.Sleep(400 * time.Millisecond) // the server is listening
	type outcome struct {
		r   *PeerResult
		err error
	}
	probes := make(chan outcome, 1)
	seconds := 3 + float64(editAdded)*0.004 // the edit takes less; what is over measures quiet
	go func() {
		p, err := client(ctx, in.vnodes("bench-deploy"), from, address(target[0]), []string{"ping-every", "--seconds", fmt.Sprint(seconds)})
		probes <- outcome{p, err}
	}()
	time.Sleep(300 * time.Millisecond)
	took, err := in.timed(ctx, "up", file)
	got := <-probes
	if err != nil || got.err != nil {
		return fmt.Errorf("edit: %v; probes: %v", err, got.err)
	}
	if got.r.Received == 0 {
		return fmt.Errorf("edit: no probe was answered at all")
	}
	r.edit, r.lost = took, float64(got.r.Sent-got.r.Received)
	return nil
}

func deployRows(n int, runs []deployRun) []Row {
	column := func(f func(deployRun) sample) []sample {
		var s []sample
		for _, r := range runs {
			s = append(s, f(r))
		}
		return s
	}
	share := float64(editAdded) / float64(n)
	memory := Bar{} // a daemon for few vnodes is a daemon all the same
	if n >= 40000 {
		memory = atMost("ours", 16)
	}
	row := func(name, unit, reference string, bar Bar, f func(deployRun) sample) Row {
		return newRow("deploy", name, n, unit, reference, bar, column(f))
	}
	const floorName = "kernel floor"
	return []Row{
		row("up", "s", floorName, atMost("ratio", 1.3), func(r deployRun) sample { return sample{r.up, r.floorUp} }),
		row("down", "s", floorName, atMost("ratio", 1.3), func(r deployRun) sample { return sample{r.down, r.floorDown} }),
		row("user-space memory (PSS)", "KB/vnode", "", memory, func(r deployRun) sample { return sample{r.memory / 1000, 0} }),
		row("up again, unchanged", "s", "", atMost("ours", 5), func(r deployRun) sample { return sample{r.again, 0} }),
		row("up again: kernel writes", "objects", "", atMost("ours", 0), func(r deployRun) sample { return sample{r.writes, 0} }),
		row(fmt.Sprintf("up of an edit, +%d −%d", editAdded, min(editRemoved, n/2)), "s", "floor's share for the added", Bar{},
			func(r deployRun) sample { return sample{r.edit, r.floorUp * share} }),
		row("edit: probes lost between vnodes that stay", "packets", "", atMost("ours", 0), func(r deployRun) sample { return sample{r.lost, 0} }),
	}
}
