package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"myriad/kernel"
	"myriad/plan"
	"myriad/program"
)

const planLong = `Say what a platform would take, without making anything: whether it fits, how
long up and down will take, and which limit of the machine breaks first and what
to do about it. It needs no privileges and no daemon.

Where links have conditions and this machine has measured what its own path costs
(the first up with conditions does), it also says what cannot be met.

The machine is this one, unless others have joined the daemon here, or --pnodes,
--cpus and --memory tell of others. Where there are several, it says how many
vnodes go to which, and by which rule of the file's placement.

--show prints the programs: everything that each pnode would have, down to
every address. The same file gives the same programs, on any machine.

The exit code is 1 if the platform does not fit.`

// planOptions are the flags of plan.
type planOptions struct {
	pnodes int
	sites  []string
	cpus   int
	memory float64 // GB
	show   bool
}

func (a *app) planCmd() *cobra.Command {
	var opts planOptions
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say whether a platform fits, and how long it will take",
		Long:  planLong,
		Example: `  myriad plan platform.yaml
  myriad plan platform.yaml --show | grep ' peer7 '
  myriad plan platform.yaml --pnodes 4 --cpus 32 --memory 256
  myriad plan platform.yaml --pnodes 8 --sites paris,lyon
  myriad plan platform.yaml -o json | jq '.forecast.limits[0]'`,
		Args:              args(1, 1, "a FILE (- is standard input)"),
		ValidArgsFunction: completeFiles(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.plan(cmd.Context(), args[0], opts) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.show, "show", false, "print the program of every pnode")
	flags.IntVar(&opts.pnodes, "pnodes", 0, "plan for this many imagined pnodes, like this one")
	flags.StringSliceVar(&opts.sites, "sites", nil, "sites of the imagined pnodes, in turn")
	flags.IntVar(&opts.cpus, "cpus", 0, "CPUs of each (0: as many as here)")
	flags.Float64Var(&opts.memory, "memory", 0, "GB of memory of each (0: as much as here)")
	return cmd
}

func (a *app) plan(ctx context.Context, file string, opts planOptions) error {
	if opts.pnodes < 0 || opts.pnodes > maxPnodes || opts.cpus < 0 || !(opts.memory >= 0 && opts.memory <= maxMemory) {
		return fail(program.KindInvalid, "", "--pnodes is 1 to %s, --cpus and --memory are positive", count(maxPnodes))
	}
	_, _, t, err := a.wellFormed(file)
	if err != nil {
		return err
	}
	machines := opts.machines(a.stateDir)
	if opts.pnodes == 0 && opts.cpus == 0 && opts.memory == 0 {
		if joined := a.joinedPnodes(ctx); len(joined) > 1 {
			a.note("this is for the %s that have joined; --pnodes imagines others", plural(len(joined), "pnode", "pnodes"))
			machines = joined
		}
	}
	p, err := plan.Make(t, machines, plan.Options{})
	if err != nil {
		return err
	}
	f := p.Forecast()
	if a.json() {
		err = a.printPlanJSON(p, f, opts.show)
	} else {
		err = a.printPlan(p, f, opts.show)
	}
	if err != nil {
		return err
	}
	if limit := f.Breaks(); limit != nil {
		return fail(program.KindExhausted, limit.Remedy, "platform %s does not fit: it needs more %s than %s has; about %s such vnodes fit there",
			t.Name, limit.Name, limit.Pnode, count(limit.Vnodes))
	}
	return nil
}

// These bound imagination; maxMemory, in GB, is what 64 bits can count.
const (
	maxPnodes = 100_000
	maxMemory = 18e9
)

// machines are the pnodes to plan for. What the path of this one costs is kept
// in its state directory.
func (o *planOptions) machines(stateDir string) []plan.Pnode {
	one := thisPnode()
	one.Calibration = kernel.LoadCalibration(stateDir)
	if o.cpus > 0 {
		one.CPUs = o.cpus
	}
	if o.memory > 0 {
		one.Memory = uint64(o.memory * 1e9)
	}
	if o.pnodes == 0 {
		return []plan.Pnode{one}
	}
	out := make([]plan.Pnode, o.pnodes)
	for i := range out {
		out[i] = one
		out[i].Name = fmt.Sprintf("pnode%d", i+1)
		// As on Ethernet, with WireGuard.
		out[i].MTU, out[i].Key = 1500, [32]byte{1}
		if len(o.sites) > 0 {
			out[i].Site = o.sites[i%len(o.sites)]
		}
		out[i].Address = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	return out
}

// joinedPnodes are those that an up would place vnodes on now, if a daemon can
// be asked.
func (a *app) joinedPnodes(ctx context.Context) []plan.Pnode {
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	list, err := a.client().Pnodes(ctx)
	if err != nil {
		return nil // a plan needs no daemon
	}
	var out []plan.Pnode
	for _, n := range list {
		if n.State != pnodeUp || n.Drained {
			continue
		}
		address, _ := netip.ParseAddr(n.Address) // none if there is none
		p := plan.Pnode{Name: n.Name, CPUs: n.CPUs, Memory: n.Memory, Files: n.Files, Namespaces: n.Namespaces, Pids: n.Pids, Site: n.Site, Address: address, MTU: n.MTU}
		if n.WireGuard {
			p.Key[0] = 1 // whichever it is
		}
		out = append(out, p)
	}
	return out
}

// thisPnode is this machine. What cannot be found out stays zero: not known.
func thisPnode() plan.Pnode {
	m := thisMachine()
	n := plan.Pnode{Name: "this machine", CPUs: runtime.NumCPU(), Memory: m.meminfo("MemTotal")}
	if name, err := os.Hostname(); err == nil {
		n.Name = name
	}
	n.Namespaces, _ = m.number("proc/sys/user/max_net_namespaces")
	n.Pids, _ = m.number("proc/sys/kernel/pid_max")
	if lim, err := m.file(); err == nil {
		n.Files = lim.Max
	}
	return n
}

func (a *app) printPlan(p *plan.Plan, f *plan.Forecast, show bool) error {
	if show {
		return eachProgram(p, func(g *program.Program) error { return g.WriteText(a.stdout) })
	}
	fmt.Fprintf(a.stdout, "platform %s: ", p.Platform())
	if _, err := fmt.Fprint(a.stdout, f); err != nil || len(p.Pnodes()) == 1 {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "where, and why:\n%s", p.Explain())
	return err
}

// printPlanJSON writes the forecast as one object, followed, if they are
// wanted, by each program as one.
func (a *app) printPlanJSON(p *plan.Plan, f *plan.Forecast, show bool) error {
	if err := a.printJSON(struct {
		Platform string         `json:"platform"`
		Fits     bool           `json:"fits"`
		Forecast *plan.Forecast `json:"forecast"`
		Where    plan.Reasons   `json:"where"`
	}{p.Platform(), f.Breaks() == nil, f, p.Explain()}); err != nil {
		return err
	}
	if !show {
		return nil
	}
	return eachProgram(p, func(g *program.Program) error { return a.printJSON(g) })
}

// eachProgram calls f with the program of every pnode that carries vnodes.
func eachProgram(p *plan.Plan, f func(*program.Program) error) error {
	for i := range p.Pnodes() {
		if p.VnodesOn(i) == 0 {
			continue
		}
		if err := f(p.Program(i)); err != nil {
			return err
		}
	}
	return nil
}
