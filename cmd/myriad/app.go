package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"myriad/rack"
)

// app is what every command shares: the streams and the global flags.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	runDir   string
	stateDir string
	format   format
	platform string
}

// format is the value of -o.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
	formatWide format = "wide" // of ps
)

// String, Set and Type make format a flag value.
func (f *format) String() string { return string(*f) }

// Set refuses anything but the two formats.
func (f *format) Set(s string) error {
	switch format(s) {
	case formatText, formatJSON, formatWide:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("output is text or json")
}

// Type names the values in help.
func (f *format) Type() string { return "text|json" }

// json says whether output is for programs.
func (a *app) json() bool { return a.format == formatJSON }

// run is the whole program: what main does, with everything it touches given.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if rack.Arguments(args) {
		return runRack(ctx, args, stderr)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends the command in good order, a second one at once.
	context.AfterFunc(ctx, stop)

	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, format: formatText}
	if asksJSON(args) {
		a.format = formatJSON // so that errors in the flags themselves are JSON too
	}
	root := a.rootCmd()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return a.finish(ctx, root.ExecuteContext(ctx))
}

// runRack is a rack process, which the daemon starts: a hidden role of this
// binary, without the weight of the others.
func runRack(ctx context.Context, args []string, stderr io.Writer) int {
	if err := rack.Main(ctx, args, rack.Version()); err != nil {
		fmt.Fprintf(stderr, "myriad: %v\n", err)
		return exitFailed
	}
	return 0
}

// asksJSON looks for -o json ahead of parsing.
func asksJSON(args []string) bool {
	for i, arg := range args {
		switch {
		case arg == "--":
			return false
		case arg == "-ojson", arg == "-o=json", arg == "--output=json":
			return true
		case (arg == "-o" || arg == "--output") && i+1 < len(args):
			return args[i+1] == "json"
		}
	}
	return false
}

func init() {
	cobra.EnableCommandSorting = false // commands are listed in the order of their use
}

// rootCmd builds the tree of commands.
func (a *app) rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "myriad COMMAND [ARGUMENT…]",
		Short:         "Run real programs on tens of thousands of virtual nodes",
		Long:          rootLong,
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,

		Args: a.noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return help(cmd) },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.runDir, "run-dir", envOr("MYRIAD_RUN_DIR", "/run/myriad"), "sockets and namespaces of this instance (MYRIAD_RUN_DIR)")
	flags.StringVar(&a.stateDir, "state-dir", envOr("MYRIAD_STATE_DIR", "/var/lib/myriad"), "what the daemon remembers (MYRIAD_STATE_DIR)")
	flags.VarP(&a.format, "output", "o", "output format")
	mustComplete(root, "output", "text", "json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(cmd, "%v", err)
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if a.format == formatWide && cmd.Name() != "ps" {
			return usageError(cmd, "output is text or json; wide is for ps")
		}
		return a.absoluteDirs()
	}

	a.addGroup(root, "describe", "Describe a platform:",
		a.schemaCmd(), a.importCmd(), a.validateCmd(), a.planCmd())
	a.addGroup(root, "live", "Bring it up, use it, take it down:",
		a.upCmd(), a.statusCmd(), a.psCmd(), a.inspectCmd(), a.execCmd(), a.shellCmd(),
		a.checkCmd(), a.linkCmd(), a.fidelityCmd(), a.eventsCmd(), a.downCmd())
	a.addGroup(root, "many", "Many machines:",
		a.initCmd(), a.tokenCmd(), a.agentCmd(), a.bootstrapCmd(), a.relayCmd(), a.pnodesCmd(), a.drainCmd(), a.rehearseCmd())
	a.addGroup(root, "machine", "This machine:",
		a.doctorCmd(), a.verifyCmd(), newBenchCmd(a), a.serveCmd())
	root.AddCommand(a.versionCmd(), a.completionCmd(), a.bashCmd())
	root.CompletionOptions.DisableDefaultCmd = true
	explain(root)
	return root
}

// addGroup adds commands under a heading of the root's help.
func (a *app) addGroup(root *cobra.Command, id, title string, cmds ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range cmds {
		cmd.GroupID = id
		root.AddCommand(cmd)
	}
}

// absoluteDirs makes the two directories absolute: they name the instance,
// and processes with another working directory are told them.
func (a *app) absoluteDirs() error {
	for _, dir := range []*string{&a.runDir, &a.stateDir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		*dir = abs
	}
	return nil
}

// noSuchCommand refuses arguments of the root, with the nearest command.
func (a *app) noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError(cmd, "no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usageError(cmd, "no command %q", args[0])
}

// args gives an argument check: between min and max of them (max < 0: any number).
func args(min, max int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < min:
			return usageError(cmd, "%s: %s is missing", cmd.Name(), what)
		case max == 0 && n > 0:
			return usageError(cmd, "%s takes no argument, not %q", cmd.Name(), args[0])
		case max >= 0 && n > max:
			return usageError(cmd, "%s: %q is one argument too many", cmd.Name(), args[max])
		}
		return nil
	}
}

// platformFlag adds -p to a command that works on one platform.
func (a *app) platformFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&a.platform, "platform", "p", os.Getenv("MYRIAD_PLATFORM"),
		"platform, where several are up (MYRIAD_PLATFORM)")
	err := cmd.RegisterFlagCompletionFunc("platform", a.completePlatforms)
	if err != nil {
		panic(err) // the flag was registered just above
	}
}

// mustComplete completes the values of a flag from a fixed list.
func mustComplete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(slices.Clone(values), cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // no such flag: a mistake in this program
	}
}

// envOr is a variable of the environment, or what stands for it.
func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// isTerminal says whether a stream is a terminal, and gives its descriptor.
func isTerminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return -1, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}
