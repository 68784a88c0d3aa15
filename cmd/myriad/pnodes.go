package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/nodeset"
	"myriad/program"
)

const pnodesLong = `List the machines that carry vnodes, or could: those whose agents have joined
this daemon, and its own machine.

A pnode is up, lost (it has not been heard of for 2.5 seconds; what runs there
may go on), left (its agent ended in good order; its vnodes live on), or refused
(the reason is below the table). One that is drained gets no vnodes. CLOCK is by
how much its clock is ahead of this machine's; nothing depends on that, but times
in logs do. ADDRESS and MTU are those by which tunnels of other pnodes reach it.

"pnodes forget" lets go of one that is not up and will not come back, and of
what it carried: vnodes that the file wants come up on others with the next up.`

// clockShown is by how much clocks must be apart to be worth a word.
const clockShown = time.Second

func (a *app) pnodesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pnodes",
		Short: "List the machines that carry vnodes",
		Long:  pnodesLong,
		Example: `  myriad pnodes
  myriad pnodes -o json | jq -r '.[] | select(.state != "up") | .name'
  sudo myriad pnodes forget host7`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.pnodes(cmd.Context()) },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "forget NAME…",
		Short: "Let go of pnodes that are not up and will not come back",
		Example: `  sudo myriad pnodes forget host7
  sudo myriad pnodes forget 'host[7-9]'`,
		Args:              args(1, -1, "the NAME of a pnode"),
		ValidArgsFunction: a.completePnodes(func(n *api.Pnode) bool { return n.State != pnodeUp }),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.forget(cmd.Context(), args) },
	})
	return cmd
}

// pnodeUp is the state of a pnode that can be asked for something.
const pnodeUp = "up"

func (a *app) pnodes(ctx context.Context) error {
	list, err := a.client().Pnodes(ctx)
	if err != nil {
		return a.reach(err)
	}
	slices.SortFunc(list, func(x, y api.Pnode) int { return natural(x.Name, y.Name) })
	if a.json() {
		return a.printJSON(append([]api.Pnode{}, list...))
	}
	t := newTable(a.stdout, "NAME", "SITE", "STATE", "VNODES", "CPUS", "MEMORY", "ADDRESS", "MTU", "CLOCK", "HEARD", "VERSION")
	now := time.Now()
	for i := range list {
		t.add(pnodeRow(&list[i], now)...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, n := range list {
		if n.Problem != "" {
			fmt.Fprintf(a.stdout, "problem: %s: %s\n", n.Name, n.Problem)
		}
	}
	return nil
}

// pnodeRow is a line of the table. What is not known is a dash, so that
// columns stay columns.
func pnodeRow(n *api.Pnode, now time.Time) []string {
	state := n.State
	if n.Drained {
		state += ", drained"
	}
	or := func(known bool, text string) string {
		if known {
			return text
		}
		return "-"
	}
	return []string{
		n.Name, or(n.Site != "", n.Site), state, count(n.Vnodes),
		or(n.CPUs > 0, fmt.Sprint(n.CPUs)), or(n.Memory > 0, size(n.Memory)),
		or(n.Address != "", n.Address), or(n.MTU > 0, fmt.Sprint(n.MTU)),
		clockOf(n.Clock), heardOf(n.Heard, now), or(n.Version != "", n.Version),
	}
}

// clockOf tells how far a clock is off, where that is worth a word.
func clockOf(ahead time.Duration) string {
	if ahead.Abs() < clockShown {
		return "ok"
	}
	sign := "+"
	if ahead < 0 {
		sign = "-"
	}
	return sign + span(ahead.Abs())
}

// heardOf tells how long ago something was.
func heardOf(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	ago := max(0, now.Sub(at))
	if ago < time.Second {
		return "now"
	}
	return ago.Round(time.Second).String() + " ago"
}

// natural orders names as people count: host2 before host10.
func natural(x, y string) int {
	for x != "" && y != "" {
		a, restA := leading(x)
		b, restB := leading(y)
		if isDigit(a[0]) && isDigit(b[0]) {
			numberA, numberB := strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
			if c := cmp.Or(cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB), cmp.Compare(a, b)); c != 0 {
				return c
			}
		} else if c := cmp.Compare(a, b); c != 0 {
			return c
		}
		x, y = restA, restB
	}
	return cmp.Compare(len(x), len(y))
}

// leading cuts the digits, or what is none, off the beginning of a name.
func leading(s string) (part, rest string) {
	i := 1
	for i < len(s) && isDigit(s[i]) == isDigit(s[0]) {
		i++
	}
	return s[:i], s[i:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (a *app) forget(ctx context.Context, names []string) error {
	names, err := a.pnodeNames(ctx, names)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if err := a.client().ForgetPnode(ctx, name); err != nil {
			failed = append(failed, a.reach(err))
			continue
		}
		if a.json() {
			err = a.printJSON(map[string]string{"forgotten": name})
		} else {
			_, err = fmt.Fprintf(a.stdout, "pnode %s: forgotten\n", name)
		}
		if err != nil {
			return err
		}
	}
	return joined(failed)
}

// pnodeNames takes node sets of pnodes apart: host[1-3] is three of them. A
// name that no pnode has is an error before anything is done.
func (a *app) pnodeNames(ctx context.Context, expressions []string) ([]string, error) {
	list, err := a.client().Pnodes(ctx)
	if err != nil {
		return nil, a.reach(err)
	}
	there := make([]string, len(list))
	for i, n := range list {
		there[i] = n.Name
	}
	var names, unknown []string
	for _, expr := range expressions {
		if slices.Contains(there, expr) { // also names that would be node sets of several
			names = append(names, expr)
			continue
		}
		set, err := nodeset.Parse(expr, nil)
		if err != nil {
			return nil, noPnode([]string{expr})
		}
		for name := range set.All() {
			if slices.Contains(there, name) {
				names = append(names, name)
			} else {
				unknown = append(unknown, name)
			}
		}
	}
	if len(unknown) > 0 {
		return nil, noPnode(unknown)
	}
	return names, nil
}

func noPnode(names []string) error {
	return fail(program.KindNotFound, "\"myriad pnodes\" lists those that there are", "no pnode %s", briefly(names))
}

// completePnodes offers the names of pnodes that suit.
func (a *app) completePnodes(suits func(*api.Pnode) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, taken []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := a.completing(cmd)
		defer cancel()
		list, err := a.client().Pnodes(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		slices.SortFunc(list, func(x, y api.Pnode) int { return natural(x.Name, y.Name) })
		var found []cobra.Completion
		for _, n := range list {
			if suits(&n) && !slices.Contains(taken, n.Name) {
				found = append(found, cobra.CompletionWithDesc(n.Name, n.State+", "+plural(n.Vnodes, "vnode", "vnodes")))
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
