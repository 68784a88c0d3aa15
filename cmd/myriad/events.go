package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"myriad/api"
)

func (a *app) eventsCmd() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to platforms",
		Long: `Show what happened to platforms: brought up, taken down, racks lost and back,
conditions of links changed, steps of schedules, and when this machine could not
keep up with them; pnodes that have joined, were refused, are lost or back, and
vnodes that have moved; of what happens more often than once a second, not all.
With --follow it goes on with what happens from now on, until Ctrl-C.`,
		Example: `  myriad events
  myriad events --follow -p quickstart
  myriad events --follow -o json | jq 'select(.type == "rack-lost")'`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.events(cmd.Context(), follow) },
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on")
	a.platformFlag(cmd)
	return cmd
}

func (a *app) events(ctx context.Context, follow bool) error {
	err := a.client().Events(ctx, a.platform, follow, func(e *api.Event) error {
		if a.json() {
			return a.printJSON(e)
		}
		_, err := fmt.Fprintln(a.stdout, eventLine(e))
		return err
	})
	if follow && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how following ends
	}
	return a.reach(err)
}

// eventLine is one event for people.
func eventLine(e *api.Event) string {
	s := e.Time.Local().Format("2006-01-02 15:04:05.000") + "  " + e.Type
	if e.Platform != "" {
		s += "  " + e.Platform
	}
	if e.Total > 0 {
		s += fmt.Sprintf("  %s of %s", count(e.Done), count(e.Total))
	}
	if e.Message != "" {
		s += "  " + e.Message
	}
	if e.Error != nil {
		s += "  " + e.Error.Error()
	}
	return s
}
