package rack

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Arguments says whether a command line, without the program's name, is that
// of a rack process.
func Arguments(args []string) bool { return len(args) > 0 && args[0] == "rack" }

// Main is a rack process from its command line on. Whoever starts racks from
// its own executable, as the daemon and tests do, calls it first of all when
// Arguments says so: nothing that a rack does not need should run before.
func Main(ctx context.Context, args []string, version string) error {
	c := Config{Version: version, Ready: os.Stdout}
	flags := flag.NewFlagSet("rack", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.RunDir, "run-dir", "", "")
	flags.StringVar(&c.Platform, "platform", "", "")
	index := flags.Uint("index", 0, "")
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("serve rack: %w", err)
	}
	c.Index = uint32(*index)
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM)
	defer stop()
	// A signal that the daemon was told to ignore would be ignored by every
	// process in every vnode. One that is caught here is not, there.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	return Serve(ctx, c)
}
