package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/daemon"
	"myriad/program"
)

const statusLong = `Show the platforms that are up: how many of their vnodes are up, their
vnetworks and racks, what is wrong, whether links have conditions, how far their
schedule is, when this machine could not keep up with them, and what the fabric
counted.

A platform is up, partial (some vnodes are not as the file says), lost (its
racks were killed, or its pnodes are lost, and its vnodes with them), applying,
removing, down, or foreign (it is there, but this daemon knows nothing of it), or
unattended (no daemon runs). "myriad up FILE" puts right what is not up, and
touches nothing else. Of many pnodes, those that are alike are one line.`

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME…]",
		Short: "Show platforms and what is wrong with them",
		Long:  statusLong,
		Example: `  myriad status
  myriad status quickstart -o json | jq '.[0].counters'
  myriad status -o json | jq -e 'all(.state == "up")'`,
		ValidArgsFunction: a.completePlatforms,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.status(cmd.Context(), args) },
	}
}

func (a *app) status(ctx context.Context, names []string) error {
	platforms, err := a.platforms(ctx, names)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(platforms)
	}
	if len(platforms) == 0 {
		fmt.Fprintln(a.stdout, "no platform is up")
	}
	for i := range platforms {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if err := a.printPlatform(&platforms[i]); err != nil {
			return err
		}
	}
	return nil
}

// platforms fetches the platforms of the given names, or all. Without a
// daemon they are those that the kernel has.
func (a *app) platforms(ctx context.Context, names []string) ([]api.Platform, error) {
	all, err := a.client().Platforms(ctx)
	if daemonless(err) {
		all, err = a.unattended(ctx)
	}
	if err != nil {
		return nil, a.reach(err)
	}
	slices.SortFunc(all, func(x, y api.Platform) int { return strings.Compare(x.Name, y.Name) })
	if len(names) == 0 {
		return all, nil
	}
	out := []api.Platform{}
	for _, name := range names {
		i := slices.IndexFunc(all, func(p api.Platform) bool { return p.Name == name })
		if i < 0 {
			return nil, fail(program.KindNotFound, "\"myriad status\" lists those that are", "no platform %q is up", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// stateUnattended is that of a platform that no daemon looks after.
const stateUnattended = "unattended"

// unattended finds the platforms that live on after their daemon, for who may
// look into the kernel.
func (a *app) unattended(ctx context.Context) ([]api.Platform, error) {
	all := []api.Platform{}
	if os.Geteuid() != 0 || !carriers.needsRoot {
		return all, nil
	}
	p, err := a.pnode()
	if err != nil {
		return nil, err
	}
	names, err := p.Platforms()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		r, err := p.Status(ctx, name)
		if err != nil {
			return nil, err
		}
		one := api.Platform{Name: name, State: stateUnattended, Up: r.Up(), Racks: r.Racks, Networks: []api.Network{}}
		for _, k := range r.Racks {
			one.Vnodes += max(k.Wanted, k.Vnodes)
		}
		all = append(all, one)
	}
	if h := daemon.HolderOf(a.runDir); h.Role == daemon.RoleAgent {
		if !a.json() {
			a.note("an agent looks after what is here, process %d, for the coordinator at %s", h.Pid, h.Bus)
		}
		return all, nil
	}
	if len(all) > 0 && !a.json() {
		a.note("no daemon looks after what is up")
		a.hint("\"myriad up FILE\" or \"myriad serve\" takes it over, \"myriad down\" removes it")
	}
	return all, nil
}

func (a *app) printPlatform(p *api.Platform) error {
	w := a.stdout
	fmt.Fprintf(w, "platform %s: %s, %s of %s vnodes up", p.Name, p.State, count(p.Up), count(p.Vnodes))
	if !p.Since.IsZero() {
		fmt.Fprintf(w, ", since %s (brought up in %s)", p.Since.Local().Format(time.DateTime), span(p.Took))
	}
	fmt.Fprintln(w)
	networks := newTable(w, "  vnetwork", "subnet", "vifaces")
	for _, n := range p.Networks {
		networks.add("  "+n.Name, n.Subnet, count(n.Vifaces))
	}
	if err := networks.flush(); err != nil {
		return err
	}
	if len(p.Pnodes) > 1 {
		err := a.printCarried(p.Pnodes)
		if err != nil {
			return err
		}
	} else if err := a.printRacks(p.Racks); err != nil {
		return err
	}
	problems := groupProblems(p.Problems)
	for _, line := range problems[:min(len(problems), problemsShown)] {
		fmt.Fprintf(w, "  problem: %s\n", line)
	}
	if more := len(problems) - problemsShown; more > 0 {
		fmt.Fprintf(w, "  and %s, which -o json has\n", plural(more, "more problem", "more problems"))
	}
	a.printConditions(p.Links)
	var seen []string
	for _, c := range p.Counters {
		if c.Packets > 0 {
			seen = append(seen, c.Name+" "+count(c.Packets))
		}
	}
	if len(seen) > 0 {
		fmt.Fprintf(w, "  packets: %s\n", strings.Join(seen, ", "))
	}
	return nil
}

// printConditions tells that links have conditions, and how true they are.
func (a *app) printConditions(l *api.LinkState) {
	if l == nil {
		return
	}
	var what []string
	if l.Vifaces > 0 {
		what = append(what, plural(l.Vifaces, "viface", "vifaces"))
	}
	if l.Classes > 0 {
		what = append(what, "pairs of "+plural(l.Classes, "class", "classes"))
	}
	if l.Pairs > 0 {
		what = append(what, plural(l.Pairs, "single pair", "single pairs"))
	}
	line := "no conditions now"
	if len(what) > 0 {
		line = "conditions of " + strings.Join(what, ", ")
	}
	if l.Changes > 0 {
		line += fmt.Sprintf("; %s since up", plural(l.Changes, "change", "changes"))
	}
	if l.Holder != "" {
		line += "; holder " + l.Holder
	}
	fmt.Fprintf(a.stdout, "  links: %s\n", line)
	if l.Schedule != nil {
		fmt.Fprintf(a.stdout, "  schedule %s\n", scheduleLine(l.Schedule, time.Now()))
	}
	for _, line := range overloadLines(l.Overload) {
		fmt.Fprintf(a.stdout, "  %s\n", line)
	}
}

// problemsShown is how many different problems of a platform are told.
const problemsShown = 20

// pnodesShown is how many pnodes are listed one by one.
const pnodesShown = 8

// printCarried lists the pnodes that carry a platform; of many, those that are
// alike in state are one line, and the worst come first.
func (a *app) printCarried(pnodes []api.Carried) error {
	type kind struct {
		state string
		whole bool
	}
	byKind := map[kind][]api.Carried{}
	var order []kind
	for _, c := range pnodes {
		k := kind{c.State, c.Up >= c.Vnodes && c.RacksUp == c.Racks}
		if byKind[k] == nil {
			order = append(order, k)
		}
		byKind[k] = append(byKind[k], c)
	}
	slices.SortStableFunc(order, func(x, y kind) int {
		if x.whole != y.whole {
			return map[bool]int{false: -1, true: 1}[x.whole]
		}
		return strings.Compare(x.state, y.state)
	})
	t := newTable(a.stdout, "  pnode", "state", "vnodes", "racks")
	for _, k := range order {
		rows := byKind[k]
		if len(pnodes) > pnodesShown {
			rows = []api.Carried{summed(rows)}
		}
		for _, c := range rows {
			t.add("  "+c.Pnode, c.State, count(c.Up)+"/"+count(c.Vnodes), count(c.RacksUp)+"/"+count(c.Racks))
		}
	}
	return t.flush()
}

// summed is several pnodes in one line.
func summed(rows []api.Carried) api.Carried {
	sum := api.Carried{State: rows[0].State}
	names := make([]string, len(rows))
	for i, c := range rows {
		names[i] = c.Pnode
		sum.Vnodes += c.Vnodes
		sum.Up += c.Up
		sum.Racks += c.Racks
		sum.RacksUp += c.RacksUp
	}
	sum.Pnode = briefly(names)
	return sum
}

// racksShown is how many racks are listed when all is well with them.
const racksShown = 8

// printRacks lists racks; of many, only those that are not up.
func (a *app) printRacks(racks []program.RackReport) error {
	shown := racks
	up := 0
	for _, r := range racks {
		if r.State == program.RackUp {
			up++
		}
	}
	if len(racks) > racksShown {
		fmt.Fprintf(a.stdout, "  %s of %s racks up\n", count(up), count(len(racks)))
		shown = slices.DeleteFunc(slices.Clone(racks), func(r program.RackReport) bool { return r.State == program.RackUp })
	}
	if len(shown) == 0 {
		return nil
	}
	t := newTable(a.stdout, "  rack", "state", "vnodes", "pid")
	for _, r := range shown {
		t.add(fmt.Sprintf("  %d", r.Index), r.State.String(), count(r.Vnodes)+"/"+count(r.Wanted), fmt.Sprint(r.Pid))
	}
	return t.flush()
}

// groupProblems tells problems that differ in their vnode only as one.
func groupProblems(problems []program.Problem) []string {
	type way struct{ op, cause, remedy string }
	var order []way
	vnodes := map[way][]string{}
	for _, p := range problems {
		w := way{p.Op, p.Cause, p.Remedy}
		if _, seen := vnodes[w]; !seen {
			order = append(order, w)
			vnodes[w] = nil
		}
		if p.Vnode != "" {
			vnodes[w] = append(vnodes[w], p.Vnode)
		}
	}
	lines := make([]string, len(order))
	for i, w := range order {
		p := program.Problem{Op: w.op, Cause: w.cause, Remedy: w.remedy}
		lines[i] = p.Error()
		if names := vnodes[w]; len(names) > 0 {
			lines[i] = briefly(names) + ": " + lines[i]
		}
	}
	return lines
}
