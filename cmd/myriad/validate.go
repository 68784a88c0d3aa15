package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/program"
	"myriad/topo"
)

// fault is one problem of a file, for programs.
type fault struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// checked is what validate says of a file.
type checked struct {
	File     string  `json:"file"`
	Valid    bool    `json:"valid"`
	Platform string  `json:"platform,omitempty"`
	Vnodes   int     `json:"vnodes,omitempty"`
	Networks int     `json:"networks,omitempty"`
	Faults   []fault `json:"faults,omitempty"`
	Notes    []fault `json:"notes,omitempty"` // what is right, and may surprise
}

const validateLong = `Check topology files: every problem of every file at once, each with its line,
its column and what to do; and notes of what is right, and may surprise. Nothing
but the files is looked at, and those that they refer to, so it needs no
privileges; myriad plan tells whether a platform fits this machine.

The lines are "FILE:LINE:COLUMN: …", as editors and CI systems expect them.`

func (a *app) validateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE…",
		Short: "Check topology files",
		Long:  validateLong,
		Example: `  myriad validate platform.yaml
  myriad validate *.yaml
  generate-platform | myriad validate -
  myriad validate platform.yaml -o json | jq '.faults[]'`,
		Args:              args(1, -1, "a FILE (- is standard input)"),
		ValidArgsFunction: completeFiles(-1),
		RunE:              func(_ *cobra.Command, args []string) error { return a.validate(args) },
	}
}

func (a *app) validate(files []string) error {
	bad := 0
	for _, file := range files {
		_, _, t, err := a.readTopology(file)
		var faults topo.Errors
		if err != nil {
			bad++
		}
		if err != nil && !errors.As(err, &faults) { // it cannot be read; the others may be
			a.printError(describe(err))
			continue
		}
		if err := a.printChecked(file, t, faults); err != nil {
			return err
		}
	}
	if bad > 0 {
		return exitError(exitInvalid)
	}
	return nil
}

func (a *app) printChecked(file string, t *topo.Topology, faults topo.Errors) error {
	c := checked{File: fileName(file), Valid: len(faults) == 0, Faults: faultsOf(faults)}
	if t != nil {
		c.Platform, c.Vnodes, c.Networks = t.Name, vnodesOf(t), len(t.Networks)
		c.Notes = faultsOf(t.Notes)
	}
	if a.json() {
		return a.printJSON(c)
	}
	if !c.Valid {
		a.printFaults(faults)
		return nil
	}
	a.printNotes(t)
	_, err := fmt.Fprintf(a.stdout, "%s: platform %s, %s in %s\n", c.File, c.Platform,
		plural(c.Vnodes, "vnode", "vnodes"), plural(c.Networks, "vnetwork", "vnetworks"))
	return err
}

// printFaults writes the problems of a file to standard error.
func (a *app) printFaults(faults topo.Errors) {
	for _, f := range faults {
		fmt.Fprintln(a.stderr, f)
	}
	a.note("%s has %s", faults[0].File, plural(len(faults), "problem", "problems"))
}

// printNotes tells what is right in a topology, and may surprise.
func (a *app) printNotes(t *topo.Topology) {
	for _, n := range t.Notes {
		a.note("note: %s", n)
	}
}

func faultsOf(faults topo.Errors) []fault {
	out := make([]fault, len(faults))
	for i, f := range faults {
		out[i] = fault{f.File, f.Line, f.Column, f.Field, f.Msg, f.Remedy}
	}
	return out
}

// vnodesOf counts the vnodes of a topology.
func vnodesOf(t *topo.Topology) int {
	n := 0
	for _, v := range t.Vnodes {
		n += v.Nodes.Len()
	}
	return n
}

// fileName is what messages call a FILE argument.
func fileName(file string) string {
	if file == "-" {
		return "<stdin>"
	}
	return file
}

// readTopology reads and checks a topology file, with the files that it refers
// to; - is standard input. What is wrong with its text is a topo.Errors.
func (a *app) readTopology(file string) (source []byte, files map[string][]byte, t *topo.Topology, err error) {
	if source, err = a.readSource(file); err != nil {
		return nil, nil, nil, err
	}
	refs := referencesOf(file)
	t, err = topo.ParseWith(fileName(file), source, refs.read)
	return source, refs.got, t, err
}

// readSource reads a FILE argument.
func (a *app) readSource(file string) ([]byte, error) {
	r := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, notFound(err, "is the path right? %q reads standard input", "-")
		}
		defer f.Close()
		r = f
	}
	// One byte more than is allowed, and topo says what the limit is.
	source, err := io.ReadAll(io.LimitReader(r, topo.MaxSize+1))
	if err != nil {
		return nil, fail(program.KindInvalid, "", "read %s: %v", fileName(file), bare(err))
	}
	return source, nil
}

// bare is the cause of an error about a path, without the path.
func bare(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// wellFormed is readTopology for the commands that go on with the topology:
// problems and notes are printed as validate prints them.
func (a *app) wellFormed(file string) (source []byte, files map[string][]byte, t *topo.Topology, err error) {
	source, files, t, err = a.readTopology(file)
	if err == nil {
		a.printNotes(t)
	}
	return source, files, t, a.faulty(err)
}

// faulty prints the faults of a file, if that is what an error is.
func (a *app) faulty(err error) error {
	var faults topo.Errors
	if !errors.As(err, &faults) {
		return err
	}
	if a.json() {
		return &faultyFile{faults}
	}
	a.printFaults(faults)
	return exitError(exitInvalid)
}

// faultyFile is a file with problems as an error for programs.
type faultyFile struct{ faults topo.Errors }

func (f *faultyFile) Error() string {
	return fmt.Sprintf("%s has %s", f.faults[0].File, plural(len(f.faults), "problem", "problems"))
}

// notFound gives an error of opening a file its remedy.
func notFound(err error, remedy string, args ...any) error {
	e := describe(err)
	if e.Kind == program.KindNotFound {
		return &api.Error{Kind: e.Kind, Message: e.Message, Remedy: fmt.Sprintf(remedy, args...)}
	}
	return err
}

// completeFiles leaves the first n arguments (all if n < 0) to be topology files.
func completeFiles(n int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if n >= 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []cobra.Completion{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
	}
}
