package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/program"
)

const fidelityLong = `Measure how true the conditions of links are: vnodes ping each other at a low rate,
and what comes of it is compared with what was asked. For each pair,

  asked     the delays on the way there and back, with the time that the probe
            takes at the rates on the way, and the median of the jitter
  applied   what the tables hold: the same, less what this machine's own path
            costs (measured when it was brought up), plus that cost
  measured  the median round trip

so that what is measured is what was asked. Pairs are chosen at random, the same
again with the same --seed: mostly such whose ways have conditions. Ways with a
trace are left out. A pair is within the goal if it is wrong by at most 1 % or
100 us; with jitter, if what was asked lies in the 99 % confidence interval of the
median. Losses are compared with the exact 99 % interval of what was counted.

An overload says that the machine could not keep up: 95 % of the CPUs' time is
taken, or some process waits for one 90 % of the time; a hypervisor takes 5 %; 1 %
of a second's frames leave the holder more than 1 ms late; or the holder drops
frames. What is measured then is not what was asked, whatever the table says.

The verdict is "within the goal" if 99 % of the pairs and all losses are, and no
overload was seen. The exit code is 1 if it is not.`

func (a *app) fidelityCmd() *cobra.Command {
	var req api.FidelityRequest
	cmd := &cobra.Command{
		Use:   "fidelity",
		Short: "Measure how true the conditions of links are",
		Long:  fidelityLong,
		Example: `  myriad fidelity
  myriad fidelity --pairs 2000 --for 30s --seed 7
  myriad fidelity -o json | jq '.error_us.p99'`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.fidelity(cmd.Context(), &req) },
	}
	flags := cmd.Flags()
	flags.IntVar(&req.Pairs, "pairs", 200, "pairs that are probed")
	flags.DurationVar(&req.Duration, "for", 5*time.Second, "how long; longer where each pair would get too few probes")
	flags.Uint64Var(&req.Seed, "seed", 0, "of the choice of pairs (0: the platform's own)")
	a.platformFlag(cmd)
	return cmd
}

func (a *app) fidelity(ctx context.Context, req *api.FidelityRequest) error {
	if req.Pairs <= 0 || req.Duration <= 0 {
		return fail(program.KindInvalid, "", "--pairs and --for are positive")
	}
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return err
	}
	bar := a.newProgress("measure "+platform, "probes")
	var result *api.Fidelity
	err = a.client().Fidelity(ctx, platform, req, func(e *api.Event) error {
		if e.Total > 0 {
			bar.set(e.Done, e.Total)
		}
		if e.Fidelity != nil {
			result = e.Fidelity
		}
		return nil
	})
	bar.finish()
	switch {
	case err != nil:
		return a.reach(err)
	case result == nil:
		return fail(program.KindUnavailable, "", "the daemon ended the measurement without a result")
	case a.json():
		err = a.printJSON(result)
	default:
		err = a.printFidelity(platform, result)
	}
	if err == nil && !result.WithinGoal {
		return exitError(exitFailed)
	}
	return err
}

// fidelityRows is how many pairs are printed: the worst.
const fidelityRows = 15

func (a *app) printFidelity(platform string, f *api.Fidelity) error {
	w := a.stdout
	t := newTable(w, "FROM", "TO", "ASKED", "APPLIED", "MEASURED", "WRONG BY", "LOST", "")
	for _, r := range f.Rows[:min(len(f.Rows), fidelityRows)] {
		t.add(r.From, r.To, micros(r.Asked), micros(r.Applied), measured(&r), wrongBy(&r), fmt.Sprintf("%d/%d", r.Lost, r.Probes), judgement(&r))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if more := len(f.Rows) - fidelityRows; more > 0 {
		fmt.Fprintf(w, "… and %s that %s better\n", plural(more, "pair", "pairs"), map[bool]string{true: "is", false: "are"}[more == 1])
	}
	fmt.Fprintf(w, "\nplatform %s: %s of %s answered, in %s\n", platform, count(f.Answered), plural(f.Pairs, "pair", "pairs"), span(time.Duration(f.Seconds*float64(time.Second))))
	if f.Relative != (api.Quantiles{}) || f.Error != (api.Quantiles{}) {
		fmt.Fprintf(w, "wrong by        %s\n", quantilesText(f.Error, micros))
		fmt.Fprintf(w, "  of the asked  %s\n", quantilesText(f.Relative, percent))
	}
	for _, l := range f.Loss {
		verdict := "agrees"
		if l.Asked < l.Low || l.Asked > l.High {
			verdict = "DIFFERS"
		}
		fmt.Fprintf(w, "loss            asked %s, counted %s of %s probes (99 %%: %s to %s): %s\n", percent(l.Asked), percent(l.Counted), count(l.Packets), percent(l.Low), percent(l.High), verdict)
	}
	if f.Lateness != (api.Quantiles{}) {
		fmt.Fprintf(w, "frames late by  %s\n", quantilesText(f.Lateness, micros))
	}
	a.printPnodes(f.Pnodes)
	if f.Schedule != nil {
		fmt.Fprintf(w, "schedule        %s\n", scheduleLine(f.Schedule, time.Now()))
	}
	for _, line := range overloadLines(f.Overloads) {
		fmt.Fprintln(w, line)
	}
	for _, p := range f.Problems {
		fmt.Fprintf(w, "problem: %s\n", p)
	}
	verdict := "within the goal"
	if !f.WithinGoal {
		verdict = "NOT within the goal"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

// printPnodes tells what holds packets, and what was dropped.
func (a *app) printPnodes(pnodes []program.LinkStats) {
	for _, s := range pnodes {
		line := "holder          " + s.Holder
		if s.HeldMost > 0 {
			line += fmt.Sprintf(", at most %s held", plural(s.HeldMost, "frame", "frames"))
		}
		if s.Lost > 0 {
			line += fmt.Sprintf(", %s lost for lack of room", plural(s.Lost, "frame", "frames"))
		}
		if c := s.Calibration; c != nil {
			line += fmt.Sprintf("; the path itself takes %s a round trip, %s is subtracted of each delay", span(c.RTT), span(c.Base()))
		}
		fmt.Fprintln(a.stdout, line)
		var seen []string
		for _, c := range s.Counters {
			if c.Packets > 0 {
				seen = append(seen, c.Name+" "+count(c.Packets))
			}
		}
		if len(seen) > 0 {
			fmt.Fprintf(a.stdout, "packets         %s\n", strings.Join(seen, ", "))
		}
	}
}

func measured(r *api.FidelityRow) string {
	if r.Probes == r.Lost {
		return "-"
	}
	return micros(r.Measured)
}

func wrongBy(r *api.FidelityRow) string {
	if r.Probes == r.Lost || r.Asked == 0 {
		return "-"
	}
	d := r.Measured - r.Asked
	return fmt.Sprintf("%+.0f us (%s)", d, percent(math.Abs(d)/r.Asked))
}

// judgement is a pair's verdict in a word.
func judgement(r *api.FidelityRow) string {
	switch {
	case r.Probes == r.Lost:
		return "no answer"
	case r.Asked == 0:
		return "nothing asked"
	case !r.Within:
		return "OFF"
	case r.Jitter:
		return "ok, as far as jitter tells"
	}
	return "ok"
}

func quantilesText(q api.Quantiles, form func(float64) string) string {
	return fmt.Sprintf("%s (median), %s (90 %%), %s (99 %%), %s (at most)", form(q.P50), form(q.P90), form(q.P99), form(q.Max))
}

func percent(share float64) string {
	p := share * 100
	switch {
	case p == 0:
		return "0 %"
	case p < 0.01:
		return fmt.Sprintf("%.2g %%", p)
	case p < 10:
		return fmt.Sprintf("%.2f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}
