package main

import (
	"context"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"myriad/agent"
	"myriad/daemon"
	"myriad/kernel"
	"myriad/rack"
)

const serveLong = `Run the daemon in the foreground: it keeps platforms, watches their racks, and
answers the other commands on api.sock in the run directory. Without it, up
starts one in the background. Ctrl-C or SIGTERM ends it; vnodes and what runs in
them live on, and the next daemon finds them.

packaging/myriad.service is a unit for systemd.`

// carrier is what vnodes are made of: this machine's kernel, except in tests.
type carrier struct {
	needsRoot bool
	open      func(runDir, stateDir string) (*carried, error)
}

// carried is how a daemon carries vnodes.
type carried struct {
	pnode     agent.Pnode
	racks     agent.Racks                               // nil: processes
	calibrate func(context.Context, func(string)) error // see agent.Config
}

var carriers = carrier{needsRoot: true, open: openKernel}

// openKernel carries vnodes in this machine's kernel, by rack processes.
func openKernel(runDir, stateDir string) (*carried, error) {
	if os.Getenv(kernel.HolderVariable) != "" { // rather now than at the first condition
		if _, _, err := kernel.Holder(); err != nil {
			return nil, err
		}
	}
	p, err := kernel.Open(kernel.Config{RunDir: runDir, Racks: &rack.Starter{RunDir: runDir}})
	if err != nil {
		return nil, err
	}
	c := &calibrator{pnode: p, dir: stateDir}
	return &carried{pnode: p, calibrate: c.calibrate}, nil
}

// calibrator tells a pnode what its own path costs: as was measured once since
// the machine was started, or is measured now.
type calibrator struct {
	pnode *kernel.Pnode
	dir   string

	mu   sync.Mutex
	done bool
	last time.Time // that it was tried
}

// calibrateAgain is how long it is not tried again where it has failed.
const calibrateAgain = time.Minute

func (c *calibrator) calibrate(ctx context.Context, say func(string)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done || time.Since(c.last) < calibrateAgain {
		return nil
	}
	c.last = time.Now()
	if found := kernel.LoadCalibration(c.dir); found != nil {
		c.pnode.SetCalibration(found)
		c.done = true
		return nil
	}
	say("measuring what this machine's own path costs")
	begun, waited := time.Now(), thisMachine().waited()
	found, err := kernel.Calibrate(ctx, kernel.CalibrateOptions{})
	if err != nil {
		return err
	}
	c.pnode.SetCalibration(found)
	if busy := float64(thisMachine().waited()-waited) / float64(time.Since(begun)); busy > tooBusy {
		say("this machine is busy, so that its path costs more than it does as a rule: it will be measured again")
		return nil
	}
	c.done = true
	return kernel.StoreCalibration(c.dir, found)
}

// tooBusy is how much of the time processes may wait for a CPU while a
// calibration is made that is kept.
const tooBusy = 0.5

func (a *app) serveCmd() *cobra.Command {
	var auto bool
	var readyFD string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon in the foreground",
		Long:  serveLong,
		Example: `  sudo myriad serve
  sudo myriad serve --run-dir /run/lab --state-dir /var/lib/lab
  sudo systemctl enable --now myriad`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			announce, err := newAnnouncer(readyFD)
			if err != nil {
				return usageError(cmd, "%v", err)
			}
			err = a.serve(cmd.Context(), auto, announce)
			if err != nil {
				announce.say(readiness{Error: describe(err)})
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&auto, "auto", false, "end with the last platform")
	flags.StringVar(&readyFD, readyFlag, "", "descriptor on which to say that it answers")
	for _, hidden := range []string{"auto", readyFlag} {
		if err := flags.MarkHidden(hidden); err != nil {
			panic(err) // they were added just above
		}
	}
	return cmd
}

func (a *app) serve(ctx context.Context, auto bool, announce *announcer) error {
	if err := needRoot("serve"); err != nil {
		return err
	}
	on, err := carriers.open(a.runDir, a.stateDir)
	if err != nil {
		return err
	}
	logger := newLogger(a.stderr)
	logger.Printf("myriad %s begins, process %d, run directory %s", rack.Version(), os.Getpid(), a.runDir)
	defer logger.Printf("myriad ends")
	return daemon.Run(ctx, daemon.Config{
		RunDir:    a.runDir,
		StateDir:  a.stateDir,
		Pnode:     on.pnode,
		Racks:     on.racks,
		Calibrate: on.calibrate,
		Version:   rack.Version(),
		Auto:      auto,
		Logf:      logger.Printf,
		Ready: func() {
			announce.say(readiness{Ready: true})
			notifySystemd("READY=1")
		},
	})
}

// newLogger logs with the time, unless the journal notes that itself.
func newLogger(w io.Writer) *log.Logger {
	flags := log.LstdFlags | log.Lmicroseconds
	if os.Getenv("JOURNAL_STREAM") != "" {
		flags = 0
	}
	return log.New(w, "", flags)
}

// notifySystemd tells the service manager, if there is one that wants to
// know (sd_notify(3)).
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return // then the manager is not there any more
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, state)
}
