package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/program"
)

const checkLong = `Let vnodes ping each other, and tell which could not. On a small platform every
pair is tried, in both directions; on a large one 2,000 random pairs, which are
the same again with the same --seed. The exit code is 1 if any pair failed.`

func (a *app) checkCmd() *cobra.Command {
	var req api.CheckRequest
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Let vnodes ping each other",
		Long:  checkLong,
		Example: `  myriad check
  myriad check --pairs 10000 --seed 7
  myriad check -o json | jq .rtt_p99_us`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.check(cmd.Context(), &req) },
	}
	flags := cmd.Flags()
	flags.IntVar(&req.Pairs, "pairs", 0, "random pairs (0: all up to 10,000, else 2,000)")
	flags.Uint64Var(&req.Seed, "seed", 0, "of the choice of pairs (0: the platform's own)")
	flags.DurationVar(&req.Timeout, "timeout", time.Second, "how long to wait for each answer")
	a.platformFlag(cmd)
	return cmd
}

func (a *app) check(ctx context.Context, req *api.CheckRequest) error {
	if req.Pairs < 0 || req.Timeout <= 0 {
		return fail(program.KindInvalid, "", "--pairs and --timeout are positive")
	}
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return err
	}
	bar := a.newProgress("check "+platform, "pairs")
	var result *api.Check
	err = a.client().Check(ctx, platform, req, func(e *api.Event) error {
		if e.Total > 0 {
			bar.set(e.Done, e.Total)
		}
		if e.Check != nil {
			result = e.Check
		}
		return nil
	})
	bar.finish()
	if err != nil {
		return a.reach(err)
	}
	if result == nil {
		return fail(program.KindUnavailable, "", "the daemon ended the check without a result")
	}
	return a.printCheck(platform, result)
}

func (a *app) printCheck(platform string, c *api.Check) error {
	if a.json() {
		if err := a.printJSON(c); err != nil {
			return err
		}
	} else {
		for _, f := range c.Failed {
			fmt.Fprintln(a.stderr, f)
		}
		if more := c.Pairs - c.Answered - len(c.Failed); more > 0 && len(c.Failed) > 0 {
			fmt.Fprintf(a.stderr, "… and %s more\n", plural(more, "pair", "pairs"))
		}
		fmt.Fprintf(a.stdout, "platform %s: %s of %s answered", platform, count(c.Answered), plural(c.Pairs, "pair", "pairs"))
		if c.Answered > 0 {
			fmt.Fprintf(a.stdout, "; round trip %s (median), %s (99 %%)", micros(c.RTTMedian), micros(c.RTTP99))
		}
		fmt.Fprintln(a.stdout)
	}
	if c.Answered < c.Pairs {
		return exitError(exitFailed)
	}
	return nil
}

// micros writes a time given in microseconds.
func micros(us float64) string { return span(time.Duration(us * float64(time.Microsecond))) }
