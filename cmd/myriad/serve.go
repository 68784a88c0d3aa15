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

With --listen it also coordinates other machines: they join by "myriad agent", with
the certificates and the token that "myriad init" has made. Nothing else listens,
and nothing at all without --listen or --leaf-listen. The other machines reach
this one's vnodes at --address.

With --bus the messages go by a NATS server or cluster of yours, which must have
JetStream; agents join the same one. Two daemons on one bus: the second stands by,
and takes over when the first is gone.

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
	key       func() [32]byte                           // see daemon.Config
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
	return &carried{pnode: p, calibrate: c.calibrate, key: func() [32]byte {
		key, err := kernel.WireGuardKey(runDir)
		if err != nil { // then platforms that want encryption say so
			return [32]byte{}
		}
		return key
	}}, nil
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

// serveOptions are the flags of serve.
type serveOptions struct {
	auto       bool
	readyFD    string
	listen     string
	leafListen string
	bus        joinFlags
	noAgent    bool
	name       string
	site       string
	address    string
	vniBase    int
	takeOver   bool
}

func (a *app) serveCmd() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon in the foreground",
		Long:  serveLong,
		Example: `  sudo myriad serve
  sudo myriad init && sudo myriad serve --listen :4222
  sudo myriad serve --listen :4222 --leaf-listen :7422 --site paris
  sudo MYRIAD_BUS=nats://nats1,nats2,nats3 myriad serve
  sudo myriad serve --run-dir /run/lab --state-dir /var/lib/lab
  sudo systemctl enable --now myriad`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			announce, err := newAnnouncer(o.readyFD)
			if err != nil {
				return usageError(cmd, "%v", err)
			}
			err = a.serve(cmd, &o, announce)
			if err != nil {
				announce.say(readiness{Error: describe(err)})
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "", "where agents of other machines join: ADDRESS:PORT, or :4222")
	flags.StringVar(&o.leafListen, "leaf-listen", "", "where relays of other sites join: ADDRESS:PORT, or :7422")
	o.bus.addURL(cmd, "bus", "MYRIAD_BUS", "URL of a NATS server or cluster to be used instead of one's own")
	o.bus.addToken(cmd)
	flags.BoolVar(&o.noAgent, "no-agent", false, "carry no vnodes on this machine")
	flags.StringVar(&o.name, "name", "", "name of this machine as a pnode (default: the host name)")
	flags.StringVar(&o.site, "site", "", "where this machine is")
	flags.StringVar(&o.address, "address", "", "IPv4 address by which other pnodes reach this one (default: that of --listen, or of the default route)")
	flags.IntVar(&o.vniBase, "vni-base", 0, "1 to 255: first part of the VNIs of its overlays, where several coordinators share machines (default: from its identity)")
	flags.BoolVar(&o.takeOver, "take-over", false, "let go of what this machine carries for another coordinator")
	flags.BoolVar(&o.auto, "auto", false, "end with the last platform")
	flags.StringVar(&o.readyFD, readyFlag, "", "descriptor on which to say that it answers")
	for _, hidden := range []string{"auto", readyFlag} {
		if err := flags.MarkHidden(hidden); err != nil {
			panic(err) // they were added just above
		}
	}
	for _, f := range []string{"listen", "leaf-listen", "name", "site", "address", "vni-base"} {
		mustComplete(cmd, f)
	}
	return cmd
}

// config checks what was asked, all of it.
func (o *serveOptions) config(a *app, cmd *cobra.Command) (daemon.Config, error) {
	var faults faultList
	c := daemon.Config{
		RunDir: a.runDir, StateDir: a.stateDir, Version: versionOf(), Auto: o.auto,
		Listen:     listenAddress(o.listen, "listen", daemon.BusPort, &faults),
		LeafListen: listenAddress(o.leafListen, "leaf-listen", daemon.LeafPort, &faults),
		NoAgent:    o.noAgent, Name: o.name, Site: o.site, TakeOver: o.takeOver,
		Address: underlayAddress(o.address, &faults),
	}
	checkName(o.name, &faults)
	checkSite(o.site, &faults)
	if cmd.Flags().Changed("vni-base") && (o.vniBase < 1 || o.vniBase > 255) {
		faults.add("--vni-base is 1 to 255, not %d", o.vniBase)
	}
	c.VNIBase = uint8(o.vniBase)
	switch {
	case o.bus.url == "" && (o.bus.token != "" || o.bus.tokenFile != ""):
		faults.add("--token and --token-file go with --bus; the token of one's own bus is made by \"myriad init\"")
	case o.bus.url != "":
		if o.listen != "" || o.leafListen != "" {
			faults.add("--bus and --listen contradict each other: agents join the bus at %s", redacted(o.bus.url))
		}
		remote := o.bus.remote(a, "bus", &faults)
		c.Join = &remote
	}
	if o.noAgent && (o.address != "" || o.site != "" || o.takeOver) {
		faults.add("--no-agent contradicts --address, --site and --take-over: they are about this machine's vnodes")
	}
	return c, faults.err(cmd)
}

func (a *app) serve(cmd *cobra.Command, o *serveOptions, announce *announcer) error {
	c, err := o.config(a, cmd)
	if err != nil {
		return err
	}
	if !c.NoAgent {
		if err := needRoot("serve"); err != nil {
			return err
		}
		on, err := carriers.open(a.runDir, a.stateDir)
		if err != nil {
			return err
		}
		c.Pnode, c.Racks, c.Calibrate, c.Key = on.pnode, on.racks, on.calibrate, on.key
	}
	logger := newLogger(a.stderr)
	logger.Printf("myriad %s begins, process %d, run directory %s", versionOf(), os.Getpid(), a.runDir)
	defer logger.Printf("myriad ends")
	c.Logf = logger.Printf
	c.Ready = func() {
		announce.say(readiness{Ready: true})
		notifySystemd("READY=1")
	}
	return daemon.Run(cmd.Context(), c)
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
