// Command myriad runs real programs on tens of thousands of virtual nodes. It
// is one binary: the command line, the daemon (serve) and the racks (rack) are
// its subcommands.
//
// The rules of its user interface:
//
//   - What was asked for goes to standard output; everything else (progress,
//     notes, errors) goes to standard error, so that a pipe carries data only.
//   - Messages begin with "myriad: ", in lower case, without a full stop. What
//     to do about an error is on its own line, which begins "myriad: hint: ".
//     Faults in a file are "FILE:LINE:COLUMN: …", as editors expect them.
//   - Every command takes -o json: then standard output is JSON, one object or
//     one per line, and an error is a JSON object on standard error.
//   - Exit codes: 0 it is done; 1 it failed; 2 what was asked cannot be meant
//     (usage, a file with errors, a name that does not exist); 130 and 143 it
//     was interrupted. exec gives the largest code of the commands that it ran.
//   - Nothing asks questions, and nothing is done half: a command that is
//     interrupted says what is made, and how to go on or go back.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
