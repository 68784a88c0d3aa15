package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/program"
)

const linkShowLong = `Show the conditions that are in force: of the interfaces of NODESET or of all, like
ones in one line; with --to, of the pairs from NODESET to the other node set. Then
how far the schedule is, if there is one, and how late its steps were.`

func (a *app) linkShowCmd() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "show [NODESET]",
		Short: "Show the conditions in force",
		Long:  linkShowLong,
		Example: `  myriad link show
  myriad link show 'peer[1-9]'
  myriad link show @paris --to @tokyo
  myriad link show -o json | jq '.vifaces[] | select(.asked != "none")'`,
		Args: args(0, 1, "a NODESET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes := ""
			if len(args) > 0 {
				nodes = args[0]
			}
			return a.linkShow(cmd.Context(), nodes, to)
		},
		ValidArgsFunction: a.completeNodes(false),
	}
	cmd.Flags().StringVar(&to, "to", "", "the pairs from NODESET to this node set")
	a.completeTo(cmd)
	a.platformFlag(cmd)
	return cmd
}

func (a *app) linkShow(ctx context.Context, nodes, to string) error {
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return err
	}
	l, err := a.client().Links(ctx, platform, nodes, to)
	switch {
	case err != nil:
		return a.reach(err)
	case a.json():
		return a.printJSON(l)
	}
	if err := a.printLinks(l); err != nil {
		return err
	}
	if to != "" && len(l.Pairs) == 0 {
		a.note("no pairs: nothing goes from one to the other directly")
	}
	a.printLinkState(&l.State, to == "")
	return nil
}

// rowsShown is how many rows are printed of a list that may have very many.
const rowsShown = 1000

func (a *app) printLinks(l *api.Links) error {
	header := []string{"NODES", "COUNT", "VNETWORK", "SIDE", "CONDITIONS"}
	rows := l.Vifaces
	if len(l.Pairs) > 0 {
		header = []string{"FROM", "TO", "PAIRS", "VNETWORK", "CONDITIONS"}
		rows = l.Pairs
	}
	if len(rows) == 0 {
		return nil
	}
	t := newTable(a.stdout, header...)
	for _, r := range rows[:min(len(rows), rowsShown)] {
		if r.To != "" {
			t.add(r.Nodes, r.To, count(r.Count), r.Network, r.Asked)
		} else {
			t.add(r.Nodes, count(r.Count), r.Network, r.Side, r.Asked)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if more := max(len(rows)-rowsShown, 0) + l.More; more > 0 {
		fmt.Fprintf(a.stdout, "… and %s more; name fewer vnodes\n", plural(more, "row", "rows"))
	}
	return nil
}

// printLinkState tells what goes for the platform as a whole.
func (a *app) printLinkState(s *api.LinkState, pairs bool) {
	w := a.stdout
	if pairs && (s.Classes > 0 || s.Pairs > 0) {
		var what []string
		if s.Classes > 0 {
			what = append(what, plural(s.Classes, "class", "classes")+" of vifaces")
		}
		if s.Pairs > 0 {
			what = append(what, plural(s.Pairs, "single pair", "single pairs"))
		}
		fmt.Fprintf(w, "pairs have conditions too: %s; --to shows them\n", strings.Join(what, " and "))
	}
	if s.Changes > 0 {
		fmt.Fprintf(w, "%s made since up; \"myriad link reset\" takes back all\n", plural(s.Changes, "change", "changes"))
	}
	if s.Schedule != nil {
		fmt.Fprintf(w, "schedule %s\n", scheduleLine(s.Schedule, time.Now()))
	}
	for _, line := range overloadLines(s.Overload) {
		fmt.Fprintln(w, line)
	}
}

// scheduleLine is how far a schedule is.
func scheduleLine(s *api.ScheduleState, now time.Time) string {
	out := fmt.Sprintf("%s: step %s of %s", s.File, count(s.Step), count(s.Steps))
	if s.Round > 0 {
		out += fmt.Sprintf(", round %s", count(s.Round+1))
	}
	switch {
	case s.Over:
		out += ", it is over"
	case s.Next != nil:
		out += fmt.Sprintf(", the next at %s (in %s)", s.Next.Local().Format("15:04:05.000"), span(max(s.Next.Sub(now), 0)))
	}
	if s.Made > 0 {
		out += fmt.Sprintf("; late by %s (median), %s (at most)", span(s.LateMedian), span(s.LateMax))
	}
	if s.Missed > 0 {
		out += fmt.Sprintf("; %s came together with the next", plural(s.Missed, "step", "steps"))
	}
	if s.Failed > 0 {
		out += fmt.Sprintf("; %s failed", plural(s.Failed, "step", "steps"))
	}
	return out
}

// overloadsShown is how many stretches of overload are listed.
const overloadsShown = 5

// overloadLines tells the last stretches of overload.
func overloadLines(all []program.Overload) []string {
	var lines []string
	for i := len(all) - 1; i >= 0 && len(lines) < overloadsShown; i-- {
		o := all[i]
		lines = append(lines, fmt.Sprintf("overload %s to %s: %s: %s", o.From.Local().Format("15:04:05.0"), o.To.Local().Format("15:04:05.0"), o.What, o.Detail))
	}
	if more := len(all) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("… and %s before", plural(more, "overload", "overloads")))
	}
	return lines
}
