package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/program"
)

// The exit codes, beside those that exec passes on.
const (
	exitFailed      = 1
	exitInvalid     = 2
	exitInterrupted = 130 // 128 + SIGINT
	exitTerminated  = 143 // 128 + SIGTERM
)

// exitError ends the program with a code; what there was to say is said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError says that a command line cannot be meant.
func usageError(cmd *cobra.Command, format string, args ...any) error {
	return &api.Error{
		Kind:    program.KindInvalid,
		Message: fmt.Sprintf(format, args...),
		Remedy:  fmt.Sprintf("%q shows how it is used", cmd.CommandPath()+" --help"),
	}
}

// fail is an error with a remedy.
func fail(kind program.Kind, remedy, format string, args ...any) error {
	return &api.Error{Kind: kind, Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

// finish reports how a command ended and gives the exit code.
func (a *app) finish(ctx context.Context, err error) int {
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	if bad := (*faultyFile)(nil); errors.As(err, &bad) {
		a.printErrorJSON(&api.Error{Kind: program.KindInvalid, Message: bad.Error()}, faultsOf(bad.faults))
		return exitInvalid
	}
	e := describe(err)
	if ctx.Err() != nil {
		if errors.Is(err, context.Canceled) {
			e = &api.Error{Kind: program.KindUnavailable, Message: "interrupted"}
		}
		a.printError(e)
		return interruptCode(ctx)
	}
	a.printError(e)
	switch e.Kind {
	case program.KindInvalid, program.KindNotFound:
		return exitInvalid
	}
	return exitFailed
}

// interruptCode is the exit code for the signal that ended ctx.
func interruptCode(ctx context.Context) int {
	if strings.Contains(context.Cause(ctx).Error(), syscall.SIGTERM.String()) {
		return exitTerminated
	}
	return exitInterrupted
}

// describe finds the class, the message and the remedy of any error.
func describe(err error) *api.Error {
	var (
		whole   *api.Error
		problem *program.Problem
	)
	switch {
	case errors.As(err, &whole):
		return whole
	case errors.As(err, &problem):
		bare := *problem
		bare.Remedy = ""
		return &api.Error{Kind: problem.Kind, Message: bare.Error(), Remedy: problem.Remedy}
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EPERM):
		return &api.Error{Kind: program.KindPermission, Message: err.Error(), Remedy: remedyRoot()}
	case errors.Is(err, fs.ErrNotExist):
		return &api.Error{Kind: program.KindNotFound, Message: err.Error()}
	}
	return &api.Error{Kind: program.KindInternal, Message: err.Error()}
}

// remedyRoot says how to get the privileges that are missing.
func remedyRoot() string {
	if os.Geteuid() == 0 {
		return "this root lacks capabilities: myriad needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_BPF, which a container gives with --privileged"
	}
	words := []string{"sudo"}
	for _, arg := range os.Args {
		words = append(words, quoted(arg))
	}
	return "run it as root: " + strings.Join(words, " ")
}

// quoted is a word as a shell has to be given it.
func quoted(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@%") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// needRoot refuses to begin what would fail for lack of privileges.
func needRoot(verb string) error {
	if os.Geteuid() == 0 || !carriers.needsRoot {
		return nil
	}
	return fail(program.KindPermission, remedyRoot(), "%s needs root: it makes network namespaces (CAP_SYS_ADMIN), interfaces (CAP_NET_ADMIN) and eBPF programs (CAP_BPF)", verb)
}

// printError writes an error in the way that the user asked for.
func (a *app) printError(e *api.Error) {
	if a.json() {
		a.printErrorJSON(e, nil)
		return
	}
	for _, p := range e.Problems {
		fmt.Fprintln(a.stderr, p.Error())
	}
	fmt.Fprintf(a.stderr, "myriad: %s\n", strings.ReplaceAll(e.Message, "\n", "\nmyriad: "))
	a.hint(e.Remedy)
}

// printErrorJSON writes an error for programs: {"error": {"kind": …}}.
func (a *app) printErrorJSON(e *api.Error, faults []fault) {
	enc := json.NewEncoder(a.stderr)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]any{"error": struct {
		*api.Error
		Faults []fault `json:"faults,omitempty"`
	}{e, faults}}) // nobody is left to tell
}

// hint says what to do.
func (a *app) hint(remedy string) {
	for line := range strings.SplitSeq(remedy, "\n") {
		if line != "" {
			fmt.Fprintf(a.stderr, "myriad: hint: %s\n", line)
		}
	}
}

// note tells a person something beside the output. Programs are spared it.
func (a *app) note(format string, args ...any) {
	if !a.json() {
		fmt.Fprintf(a.stderr, "myriad: "+format+"\n", args...)
	}
}
