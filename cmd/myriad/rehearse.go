package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/rack"
	"myriad/rehearse"
)

const rehearseLong = `Run a coordinator with thousands of agents on this machine, to see what the
control plane costs: the bus with TLS, records, plans, journals and a connection
for each agent are as in earnest; only the vnodes are rows of a table. It needs
no root, and nothing is left.

Each step has four times as many pnodes and vnodes as the one before, up to
--pnodes and --vnodes. Printed are the time until all agents have joined, from the
file until all vnodes are reported up, and down; what the bus carried for up, in
all and for each pnode; the messages a second by which all tell that they live,
which are not counted there; the greatest memory of the coordinator's process so
far in that step, and that of the agents', which is another.

With -o json each step is an object. The exit code is 1 if a bar is not met: with
at least 4,000 pnodes and 1,000,000 vnodes up within 60 s and 2 GB, and never
more than 1.5 times the messages for each pnode than in the first step.`

// Bars of a rehearsal of so many.
const (
	rehearsedPnodes = 4000
	rehearsedVnodes = 1_000_000
	mostUp          = 60.0 // s
	mostMemory      = 2e9  // bytes
	mostGrowth      = 1.5  // of messages for each pnode, over all steps
)

func (a *app) rehearseCmd() *cobra.Command {
	o := rehearse.Options{}
	file := ""
	cmd := &cobra.Command{
		Use:   "rehearse",
		Short: "See what thousands of pnodes would cost the coordinator",
		Long:  rehearseLong,
		Example: `  myriad rehearse
  myriad rehearse --pnodes 200 --vnodes 100000 --steps 1
  myriad rehearse --pnodes 500 --topology platform.yaml -o json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Pnodes < 1 || o.Pnodes > maxPnodes || o.Steps < 1 || o.Vnodes < o.Pnodes {
				return usageError(cmd, "--pnodes is 1 to %s, --vnodes no fewer, --steps positive", count(maxPnodes))
			}
			if file != "" {
				source, files, _, err := a.wellFormed(file)
				if err != nil {
					return err
				}
				o.File = &api.UpRequest{File: fileName(file), Source: string(source), Files: files, Force: true}
			}
			return a.rehearse(cmd, o)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Pnodes, "pnodes", rehearsedPnodes, "agents of the last step")
	flags.IntVar(&o.Vnodes, "vnodes", rehearsedVnodes, "vnodes of the last step")
	flags.IntVar(&o.Steps, "steps", 3, "scales, each four times the one before")
	flags.StringVar(&file, "topology", "", "FILE that is brought up, in the place of --vnodes in one vnetwork")
	cmd.AddCommand(&cobra.Command{
		Use:    "agents",
		Hidden: true,
		Args:   args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return rehearse.Agents(cmd.Context(), a.stdin, a.stdout)
		},
	})
	return cmd
}

func (a *app) rehearse(cmd *cobra.Command, o rehearse.Options) error {
	o.Exe, o.Version = selfExe, rack.Version()
	o.Say = func(line string) { fmt.Fprintln(a.stderr, "myriad: "+line) }
	var bar *progress
	done := func() {
		if bar != nil {
			bar.finish()
			bar = nil
		}
	}
	doing := ""
	o.Progress = func(what string, n, all int) {
		if what != doing || bar == nil {
			done()
			unit := "vnodes"
			if what == "join" {
				unit = "agents"
			}
			doing, bar = what, a.newProgress(what, unit)
		}
		bar.set(n, all)
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	var steps []rehearse.Step
	err := rehearse.Run(cmd.Context(), o, func(s rehearse.Step) {
		done()
		steps = append(steps, s)
		if a.json() {
			_ = json.NewEncoder(a.stdout).Encode(s) // whoever does not listen any more need not be told
			return
		}
		fmt.Fprintf(a.stderr, "myriad: %s pnodes: joined in %.1f s, %s vnodes up in %.1f s, down in %.1f s\n", count(s.Pnodes), s.Join, count(s.Vnodes), s.Up, s.Down)
	})
	done()
	if !a.json() && len(steps) > 0 {
		printSteps(t, steps)
		if e := t.Flush(); err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	return rehearsed(steps)
}

func printSteps(w io.Writer, steps []rehearse.Step) {
	fmt.Fprintln(w, "pnodes\tvnodes\tjoin\tup\tdown\tmessages\tper pnode\tKB per pnode\tidle\tcoordinator\tagents\t")
	for _, s := range steps {
		messages, bytes := s.PerPnode()
		fmt.Fprintf(w, "%s\t%s\t%.1f s\t%.1f s\t%.1f s\t%s\t%.1f\t%.1f\t%.0f/s\t%.0f MB\t%.0f MB\t\n", count(s.Pnodes), count(s.Vnodes), s.Join, s.Up, s.Down,
			count(s.Messages), messages, bytes/1e3, s.Idle, float64(s.Memory)/1e6, float64(s.AgentMemory)/1e6)
	}
}

// rehearsed says which bars were not met.
func rehearsed(steps []rehearse.Step) error {
	if len(steps) == 0 {
		return nil
	}
	first, last := steps[0], steps[len(steps)-1]
	least, _ := first.PerPnode()
	most, _ := last.PerPnode()
	large := last.Pnodes >= rehearsedPnodes && last.Vnodes >= rehearsedVnodes
	switch {
	case large && last.Up > mostUp:
		return fmt.Errorf("bar not met: %s vnodes took %.1f s, more than %.0f", count(last.Vnodes), last.Up, mostUp)
	case large && float64(last.Memory) > mostMemory:
		return fmt.Errorf("bar not met: the coordinator took %.0f MB, more than %.0f", float64(last.Memory)/1e6, mostMemory/1e6)
	case most > mostGrowth*least:
		return fmt.Errorf("bar not met: %.1f messages for each pnode, %.1f in the first step", most, least)
	}
	return nil
}
