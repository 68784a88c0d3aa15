package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"myriad/bench"
)

const accuracyLong = `Measure how true link conditions are on this machine: what was asked for, what
was measured, and whether the difference is within the bar.

Each row is the median of its runs, with the least and the greatest. Beside it
stand how late the machine's own timers were in the same run, on the thread that
measured, and how much CPU time a hypervisor took meanwhile (steal); a row under
more than 1 % of steal is measured again, three times at most, and marked (!) if
it stayed so. Run it on a machine that does nothing else.

Round trips are ICMP echoes sent by one thread outside of the vnodes, through
sockets of theirs, and answered by the other vnode's kernel: between being sent
and arriving at the socket, by the kernel's clock, as ping does it.
Losses are numbered UDP packets that go one way; rates are iperf3's goodput at
the receiver, in steady state.

A bar that is not met is said to be so; the exit code is 1 only where something
could not be measured. MYRIAD_HOLDER=wheel or fq chooses the holder. --quick does
all of it once, small.`

// benchAccuracyCmd prints the tables of link conditions.
func (a *app) benchAccuracyCmd() *cobra.Command {
	o := bench.AccuracyOptions{}
	cmd := &cobra.Command{
		Use:   "accuracy",
		Short: "Measure how true link conditions are",
		Long:  accuracyLong,
		Example: `  myriad bench accuracy
  myriad bench accuracy --only delay,loss --runs 5
  myriad bench accuracy --quick -o json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range o.Only {
				if !slices.Contains(bench.AccuracyParts(), name) {
					return usageError(cmd, "--only %s: the tables are %s", name, strings.Join(bench.AccuracyParts(), ", "))
				}
			}
			if o.Runs < 1 || o.N < 0 {
				return usageError(cmd, "--runs is positive, --vnodes not negative")
			}
			return a.accuracy(cmd, o, bench.Accuracy)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Only, "only", nil, "tables: "+strings.Join(bench.AccuracyParts(), ", "))
	flags.BoolVar(&o.Quick, "quick", false, "once, small, few rows")
	flags.IntVar(&o.Runs, "runs", 3, "repetitions of each figure")
	flags.IntVar(&o.N, "vnodes", 0, "scale of the tables of many vnodes (0: 40,000, or 1,000 with --quick)")
	flags.StringVar(&o.PlanetLab, "planetlab", "", "file of the PlanetLab matrix: round trips in ms")
	mustComplete(cmd, "only", bench.AccuracyParts()...)
	return cmd
}

// benchReferenceCmd compares our links with the kernel's own emulator.
func (a *app) benchReferenceCmd() *cobra.Command {
	o := bench.AccuracyOptions{}
	cmd := &cobra.Command{
		Use:    "reference",
		Hidden: true,
		Short:  "Measure links beside netem, where the kernel has it",
		Args:   args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.accuracy(cmd, o, bench.Reference)
		},
	}
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "once, small, few rows")
	cmd.Flags().IntVar(&o.Runs, "runs", 3, "repetitions of each figure")
	return cmd
}

// accuracy runs a bench whose bars decide nothing: its rows are printed,
// whatever else went wrong.
func (a *app) accuracy(cmd *cobra.Command, o bench.AccuracyOptions, run func(context.Context, bench.AccuracyOptions) ([]bench.Row, error)) error {
	if err := needRoot("bench " + cmd.Name()); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	o.Exe = exe
	o.Say = func(line string) { fmt.Fprintln(a.stderr, line) }
	rows, err := run(cmd.Context(), o)
	if !a.json() {
		if e := bench.PrintAccuracy(a.stdout, rows); err == nil {
			err = e
		}
		return err
	}
	for _, r := range rows {
		if e := a.printJSON(r); err == nil {
			err = e
		}
	}
	return err
}

// benchProberCmd is the process that probes (see bench.RunProber).
func benchProberCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "prober",
		Hidden: true,
		Args:   args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.RunProber(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}
