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

const drainLong = `Move the vnodes of a pnode to others, and place none there from now on, also not
with the next up and after a restart. Vnodes that move are made anew elsewhere,
with the same names, addresses and conditions: what ran in them ends.

Others must have room for them; where they have not, drain says so and nothing is
moved. Ctrl-C stops moving. Either way none is placed there any more: drain, given
again, goes on, and --undo takes it back.

--undo lets vnodes be placed there again. None moves by that alone: those that
are somewhere stay there.`

func (a *app) drainCmd() *cobra.Command {
	var undo bool
	cmd := &cobra.Command{
		Use:   "drain PNODE…",
		Short: "Move the vnodes of a pnode to others",
		Long:  drainLong,
		Example: `  sudo myriad drain host7
  sudo myriad drain 'host[7-9]' -o json
  sudo myriad drain --undo host7`,
		Args: args(1, -1, "the name of a PNODE"),
		ValidArgsFunction: a.completePnodes(func(n *api.Pnode) bool {
			return n.Drained == undo
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return a.drain(cmd.Context(), args, undo) },
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "let vnodes be placed there again")
	return cmd
}

func (a *app) drain(ctx context.Context, names []string, undo bool) error {
	names, err := a.pnodeNames(ctx, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := a.drainOne(ctx, name, undo); err != nil {
			return err
		}
	}
	return nil
}

// drainOne drains a pnode and says so.
func (a *app) drainOne(ctx context.Context, name string, undo bool) error {
	bar := a.newProgress("drain "+name, "vnodes")
	begin := time.Now()
	moved := 0
	err := a.client().Drain(ctx, name, &api.DrainRequest{Undo: undo}, func(e *api.Event) error {
		if e.Type == api.EventDrained && !a.json() {
			moved = e.Done
			return nil // it is told below
		}
		return a.followEvent(bar, e)
	})
	bar.finish()
	switch {
	case ctx.Err() != nil:
		return fail(program.KindUnavailable, fmt.Sprintf("\"myriad drain %s\" goes on, \"myriad drain --undo %s\" lets vnodes be placed there again", quoted(name), quoted(name)),
			"interrupted: pnode %s is drained in part", name)
	case err != nil:
		e := *describe(a.reach(err))
		if op := fmt.Sprintf("drain pnode %s: ", name); !strings.HasPrefix(e.Message, op) {
			e.Message = op + e.Message
		}
		return &e
	case a.json():
		return nil
	case undo:
		fmt.Fprintf(a.stdout, "pnode %s: vnodes may be placed there again\n", name)
	case moved > 0:
		fmt.Fprintf(a.stdout, "pnode %s: drained, %s moved in %s\n", name, plural(moved, "vnode", "vnodes"), span(time.Since(begin)))
	default:
		fmt.Fprintf(a.stdout, "pnode %s: drained, in %s\n", name, span(time.Since(begin)))
	}
	return nil
}
