package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"myriad/kernel"
	"myriad/program"
)

const doctorLong = `Look at what this machine has for carrying vnodes: the features of its kernel,
each tried out, and the limits that bound their number; what each is for, and
what to do about what is missing. Nothing is changed.

Without root, what cannot be tried is unknown. The exit code is 1 if up cannot
work here with full racks and the default fabric; a remedy may be to do with less.`

// diagnosis is what doctor found.
type diagnosis struct {
	Kernel   string           `json:"kernel"`
	CPUs     int              `json:"cpus"`
	Root     bool             `json:"root"`
	Works    bool             `json:"works"` // up can work here
	Holder   holderChoice     `json:"holder"`
	Features []kernel.Feature `json:"features"`
	Limits   []finding        `json:"limits"`

	// Calibration is what the path of this machine costs, nil if that has not
	// been measured since it was started.
	Calibration *program.Calibration `json:"calibration,omitempty"`
}

// holderChoice is what keeps packets that links delay.
type holderChoice struct {
	Kind    string `json:"kind"` // fq or wheel; empty: the one that is forced cannot be
	Why     string `json:"why"`
	Instead string `json:"instead,omitempty"` // how to have the other
	Remedy  string `json:"remedy,omitempty"`
}

// chooseHolder asks what platforms would get whose links have conditions.
func chooseHolder() holderChoice {
	kind, why, err := kernel.Holder()
	h := holderChoice{Kind: kind, Why: why}
	var p *program.Problem
	switch {
	case errors.As(err, &p):
		h.Why, h.Remedy = p.Op+": "+p.Cause, p.Remedy
	case err != nil:
		h.Why = err.Error()
	case kind == kernel.HolderFQ:
		h.Instead = kernel.HolderVariable + "=" + kernel.HolderWheel + " in the daemon's environment forces a wheel in each rack process"
	case os.Geteuid() != 0:
		h.Why = "without root, it cannot be told whether this kernel has fq"
	case kernel.HaveFQ() == nil:
		h.Instead = "unset " + kernel.HolderVariable + " for fq, which this kernel has"
	default:
		h.Instead = "fq: a kernel with sch_fq (Linux 5.18 and later), as Debian's"
	}
	return h
}

func (a *app) doctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can carry, and what it lacks",
		Long:  doctorLong,
		Example: `  myriad doctor
  sudo myriad doctor
  myriad doctor -o json | jq '.features[] | select(.presence != "present")'`,
		Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			d := examine()
			d.Calibration = kernel.LoadCalibration(a.stateDir)
			return a.doctor(d)
		},
	}
}

// examine looks at this machine.
func examine() *diagnosis {
	d := &diagnosis{
		Kernel:   kernel.KernelVersion(),
		CPUs:     runtime.NumCPU(),
		Root:     os.Geteuid() == 0,
		Works:    true,
		Holder:   chooseHolder(),
		Features: kernel.Features(),
		Limits:   thisMachine().limits(),
	}
	for _, f := range d.Features {
		if f.Needed && f.Presence == kernel.Absent {
			d.Works = false
		}
	}
	for _, f := range d.Limits {
		if f.Level == levelFail {
			d.Works = false
		}
	}
	return d
}

func (a *app) doctor(d *diagnosis) error {
	if a.json() {
		if err := a.printJSON(d); err != nil {
			return err
		}
	} else {
		d.write(a.stdout)
	}
	if !d.Works {
		return fail(program.KindUnsupported, "put right what is MISSING or TOO LOW above", "up cannot work on this machine as it is")
	}
	return nil
}

// write tells a person what was found, a line for each thing, and what to do
// about it below.
func (d *diagnosis) write(w io.Writer) {
	fmt.Fprintf(w, "Linux %s on %s, %d CPUs\n\n", d.Kernel, runtime.GOARCH, d.CPUs)
	for _, f := range d.Features {
		mark := map[kernel.Presence]string{kernel.Present: "ok", kernel.Unknown: "unknown"}[f.Presence]
		if f.Presence == kernel.Absent {
			mark = map[bool]string{true: "MISSING", false: "lacking"}[f.Needed]
		}
		d.line(w, mark, f.Name, f.For+" (Linux "+f.Since+")", f.Detail, f.Remedy)
	}
	fmt.Fprintln(w)
	mark, what := "ok", d.Holder.Kind+": "+d.Holder.Why
	if d.Holder.Kind == "" {
		mark, what = "lacking", d.Holder.Why
	}
	d.line(w, mark, "holder of delayed packets", what, "", d.Holder.Remedy)
	if d.Holder.Instead != "" {
		fmt.Fprintf(w, "%-8s instead: %s\n", "", d.Holder.Instead)
	}
	d.writeCalibration(w)
	fmt.Fprintln(w)
	for _, f := range d.Limits {
		mark := map[verdict]string{levelOK: "ok", levelWarn: "low", levelFail: "TOO LOW"}[f.Level]
		d.line(w, mark, f.Name, f.Value, f.Why, f.Remedy)
	}
	fmt.Fprintln(w)
	switch {
	case !d.Works:
	case d.Root:
		fmt.Fprintln(w, "up can work here")
	default:
		fmt.Fprintln(w, "up can work here, as root; so does \"sudo myriad doctor\", which finds out what is unknown")
	}
}

// writeCalibration tells what the path costs by itself.
func (d *diagnosis) writeCalibration(w io.Writer) {
	c := d.Calibration
	if c == nil {
		d.line(w, "unknown", "cost of the path", "measured by the first up with conditions of links since the machine was started", "", "")
		return
	}
	d.line(w, "ok", "cost of the path", fmt.Sprintf("%s a round trip; %s is subtracted of each delay (measured %s)",
		span(c.RTT), span(c.Base()), c.When.Local().Format(time.DateTime)), "", "")
	fmt.Fprintf(w, "%-8s timers are late by %s (median), %s (99 %%)\n", "", span(c.TimerP50), span(c.TimerP99))
}

// line is one thing that was looked at; why and remedy are told where it is
// not well.
func (d *diagnosis) line(w io.Writer, mark, name, what, why, remedy string) {
	fmt.Fprintf(w, "%-8s %-34s %s\n", mark, name, what)
	if mark == "ok" || mark == "unknown" {
		return
	}
	for _, s := range []string{why, remedy} {
		if s != "" {
			fmt.Fprintf(w, "%-8s %s\n", "", s)
		}
	}
}
