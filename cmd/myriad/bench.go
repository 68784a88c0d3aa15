package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"myriad/bench"
	"myriad/kernel"
)

// newBenchCmd is the bench command: every measurement beside a reference.
func newBenchCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine and this Myriad, always beside a reference",
		Long: `Every bench measures Myriad beside something that does the same work in the
same run: the bare kernel, a Linux bridge, another tool. It uses an instance of
its own and leaves nothing behind. Run benches alone: whatever else makes
namespaces or holds the kernel's network lock slows both sides many times over.

With -o json each row is one object: {bench, case, n, ours, reference,
reference_name, ratio, unit, bar, met, runs, spread}; accuracy has more. The
exit code is 1 when a bar is not met (accuracy only says so).`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, b := range []benchOf{
		{"deploy", "up, up again, an edit and down, beside the bare kernel", bench.Options{N: 1000, Runs: 3}, bench.Deploy},
		{"exec", "a command on every vnode, beside bare fork and exec", bench.Options{N: 1000, Runs: 3}, bench.Exec},
		{"fabric", "round trips, packets a second, TCP and ARP, beside Linux bridges", bench.Options{N: 1000, Runs: 3}, bench.Fabric},
		{"plan", "planning for 4,000 pnodes, in time and memory", bench.Options{N: 1000000, Runs: 3}, bench.Plan},
		{"mininet", "up and down, beside Mininet on this machine", bench.Options{N: 1000, Runs: 3}, bench.Mininet},
		{"pnodes", "up over several pnodes as namespaces, beside one pnode and the bare kernel", bench.Options{N: 8000, Runs: 3, Pnodes: 8}, bench.Pnodes},
		{"overlay", "the path between two pnodes, beside a bridge and VXLAN by hand", bench.Options{N: 1000, Runs: 6}, bench.Overlay},
		{"loss", "how soon a lost pnode, with as many vnodes on each, is known and replaced", bench.Options{N: 1000, Runs: 3, Pnodes: 4}, bench.Loss},
		{"kills", "that all is well after the coordinator was killed, --runs times", bench.Options{N: 150, Runs: 50, Pnodes: 3}, bench.Kills},
	} {
		cmd.AddCommand(a.benchCmd(b))
	}
	cmd.AddCommand(a.benchAccuracyCmd(), a.benchReferenceCmd(), benchPeerCmd(), benchProberCmd(), benchFloorCmd(), benchForksCmd())
	return cmd
}

// benchOf is one bench, with the options that it has by default. One of several
// pnodes has Pnodes.
type benchOf struct {
	name, short string
	standard    bench.Options
	run         func(context.Context, bench.Options) ([]bench.Row, error)
}

// benchCmd runs a bench, prints its rows, and fails where a bar is not met.
func (a *app) benchCmd(b benchOf) *cobra.Command {
	o := b.standard
	cmd := &cobra.Command{
		Use:     b.name,
		Short:   "Measure " + b.short,
		Example: fmt.Sprintf("  myriad bench %s\n  myriad bench %s --vnodes %d --runs %d -o json", b.name, b.name, o.N, o.Runs),
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.N < 1 || o.Runs < 1 || b.standard.Pnodes > 0 && o.Pnodes < 1 {
				return usageError(cmd, "--vnodes, --runs and --pnodes are positive")
			}
			if b.name != "plan" {
				if err := needRoot("bench " + b.name); err != nil {
					return err
				}
			}
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			o.Exe = exe
			o.Say = func(line string) { fmt.Fprintln(a.stderr, line) }
			rows, err := b.run(cmd.Context(), o)
			if len(rows) == 0 {
				return err
			}
			return errors.Join(err, a.printRows(rows))
		},
	}
	cmd.Flags().IntVar(&o.N, "vnodes", o.N, "scale")
	cmd.Flags().IntVar(&o.Runs, "runs", o.Runs, "repetitions, each beside its own reference")
	if b.standard.Pnodes > 0 {
		cmd.Flags().IntVar(&o.Pnodes, "pnodes", o.Pnodes, "pnodes, each a network namespace of this machine")
	}
	return cmd
}

func (a *app) printRows(rows []bench.Row) error {
	if a.json() {
		for _, r := range rows {
			if err := a.printJSON(r); err != nil {
				return err
			}
		}
	} else if err := bench.Print(a.stdout, rows); err != nil {
		return err
	}
	bars, missed := 0, 0
	for _, r := range rows {
		if !r.Bar.IsZero() {
			bars++
		}
		if !r.Met {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d bars are not met", missed, bars)
	}
	return nil
}

// benchPeerCmd is one end of a traffic measurement, run in a vnode.
func benchPeerCmd() *cobra.Command {
	p := bench.Peer{}
	cmd := &cobra.Command{
		Use:    "peer MODE ADDRESS:PORT",
		Hidden: true,
		Args:   args(2, 2, "MODE ADDRESS:PORT"),
		RunE: func(cmd *cobra.Command, a []string) error {
			addr, err := netip.ParseAddrPort(a[1])
			if err != nil {
				return usageError(cmd, "%v", err)
			}
			p.Mode, p.Addr = a[0], addr
			return p.Run(cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&p.Count, "count", 0, "packets")
	cmd.Flags().Float64Var(&p.Seconds, "seconds", 1, "how long")
	cmd.Flags().StringVar(&p.Path, "path", "", "Unix socket over which a socket is lent")
	cmd.Flags().IntVar(&p.CPU, "cpu", -1, "core to stay on")
	return cmd
}

// benchFloorCmd runs the kernel floor in a fresh process.
func benchFloorCmd() *cobra.Command {
	n := 0
	cmd := &cobra.Command{
		Use:    "floor",
		Hidden: true,
		Args:   args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			up, down, err := kernel.Floor(cmd.Context(), n)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "up %g down %g\n", up.Seconds(), down.Seconds())
			return err
		},
	}
	cmd.Flags().IntVar(&n, "vnodes", 1000, "scale")
	return cmd
}

// benchForksCmd is a worker of the floor of exec.
func benchForksCmd() *cobra.Command {
	n := 0
	cmd := &cobra.Command{
		Use:    "forks",
		Hidden: true,
		Args:   args(0, 0, ""),
		RunE:   func(cmd *cobra.Command, _ []string) error { return bench.Forks(cmd.Context(), n) },
	}
	cmd.Flags().IntVar(&n, "vnodes", 1000, "scale")
	return cmd
}
