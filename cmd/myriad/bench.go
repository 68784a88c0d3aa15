package main

import (
	"context"
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
	for _, b := range []struct {
		name, short string
		n           int
		run         func(context.Context, bench.Options) ([]bench.Row, error)
	}{
		{"deploy", "up, up again, an edit and down, beside the bare kernel", 1000, bench.Deploy},
		{"exec", "a command on every vnode, beside bare fork and exec", 1000, bench.Exec},
		{"fabric", "round trips, packets a second, TCP and ARP, beside Linux bridges", 1000, bench.Fabric},
		{"plan", "planning for 4,000 pnodes, in time and memory", 1000000, bench.Plan},
		{"mininet", "up and down, beside Mininet on this machine", 1000, bench.Mininet},
	} {
		cmd.AddCommand(a.benchCmd(b.name, b.short, b.n, b.run))
	}
	cmd.AddCommand(a.benchAccuracyCmd(), a.benchReferenceCmd(), benchPeerCmd(), benchProberCmd(), benchFloorCmd(), benchForksCmd())
	return cmd
}

// benchCmd is one bench: it runs, prints its rows, and fails where a bar is
// not met.
func (a *app) benchCmd(name, short string, n int, run func(context.Context, bench.Options) ([]bench.Row, error)) *cobra.Command {
	o := bench.Options{N: n}
	cmd := &cobra.Command{
		Use:     name,
		Short:   "Measure " + short,
		Example: fmt.Sprintf("  myriad bench %s\n  myriad bench %s --vnodes %d --runs 3 -o json", name, name, n),
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.N < 1 || o.Runs < 1 {
				return usageError(cmd, "--vnodes and --runs are positive")
			}
			if name != "plan" {
				if err := needRoot("bench " + name); err != nil {
					return err
				}
			}
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			o.Exe = exe
			o.Say = func(line string) { fmt.Fprintln(a.stderr, line) }
			rows, err := run(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.printRows(rows)
		},
	}
	cmd.Flags().IntVar(&o.N, "vnodes", n, "scale")
	cmd.Flags().IntVar(&o.Runs, "runs", 3, "repetitions, each beside its own reference")
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
