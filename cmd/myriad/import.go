package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/link"
	"myriad/program"
	"myriad/topo"
	"myriad/topo/graphml"
)

func (a *app) importCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FORMAT FILE",
		Short: "Turn a network described elsewhere into a topology file",
		Long: `Turn a network that is described in another format into a topology file, which
is yours to read and to change. Nothing but the files is looked at.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(cmd, "import: no format %q; there is graphml", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return help(cmd) },
	}
	cmd.AddCommand(a.importGraphMLCmd())
	return cmd
}

const importGraphMLLong = `Turn a network in GraphML, such as those of the Internet Topology Zoo
(topology-zoo.org), into a topology file on standard output.

Nodes become routers; edges become vnetworks of two, with the delay of their
length and the rate that they state; every router gets hosts. Lengths are great
circles between coordinates, or else between the cities that nodes are called
after, with the rest placed by the drawing or between their neighbours: the
summary on standard error, and the comments in the file, say what was done.`

// importOptions are the flags of import graphml.
type importOptions struct {
	graphml.Options
	names       graphml.Names
	hostsAt     []string
	pool        string
	places      string
	defaultRate string
	output      string
}

func (a *app) importGraphMLCmd() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "graphml FILE",
		Short: "Import GraphML, such as the Internet Topology Zoo",
		Long:  importGraphMLLong,
		Example: `  myriad import graphml Abilene.graphml > abilene.yaml
  myriad import graphml Geant2012.graphml --hosts 4 --stretch 1.5 --output-file geant.yaml
  myriad import graphml net.graphml --hosts 0 --hosts-at Paris=100 --hosts-at Tokyo=10
  myriad import graphml net.graphml --delay latency --delay-unit ms --rate bandwidth --rate-unit Mbit
  myriad import graphml Kdl.graphml -o json | jq .summary`,
		Args: args(1, 1, "a FILE (- is standard input)"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []cobra.Completion{"graphml", "xml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.importGraphML(args[0], o) },
	}
	o.flags(cmd)
	return cmd
}

func (o *importOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.Platform, "name", "", "name of the platform (the network's own)")
	f.IntVar(&o.Hosts, "hosts", 1, "hosts of each router")
	f.StringArrayVar(&o.hostsAt, "hosts-at", nil, "LABEL=N: N hosts at the node of that label or ID; may be repeated")
	f.StringVar(&o.pool, "pool", "10.0.0.0/8", "subnet to take all addresses from")
	f.StringVar(&o.output, "output-file", "", "write the topology there")

	f.Float64Var(&o.Stretch, "stretch", 1, "how much longer links are than great circles")
	f.StringVar(&o.places, "places", "", "file of name,latitude,longitude lines for labels of nodes")
	f.BoolVar(&o.NoGuess, "no-guess", false, "believe coordinates only, not names of cities or drawings")
	f.DurationVar(&o.DefaultDelay, "default-delay", 0, "delay of links of unknown length, such as 5ms (else nodes go between their neighbours)")
	f.StringVar(&o.defaultRate, "default-rate", "", "rate of links that state none, such as 1gbit (else unlimited)")
	f.BoolVar(&o.NoRates, "no-rates", false, "leave out the rates that links state")

	f.BoolVar(&o.KeepParallel, "keep-parallel", false, "keep links between the same two routers apart, instead of adding them up")
	f.BoolVar(&o.InternalOnly, "internal-only", false, "leave out nodes of other networks (Internal=0)")
	f.BoolVar(&o.Largest, "largest", false, "of several parts that nothing joins, import the largest")

	f.StringVar(&o.names.Label, "label", "", "attribute of nodes that names them (label, name)")
	f.StringVar(&o.names.Latitude, "latitude", "", "attribute of nodes, in degrees north (Latitude, lat)")
	f.StringVar(&o.names.Longitude, "longitude", "", "attribute of nodes, in degrees east (Longitude, lon)")
	f.StringVar(&o.names.Rate, "rate", "", "attribute of edges with a rate (LinkSpeedRaw, LinkSpeed, words in LinkLabel)")
	f.StringVar(&o.names.RateUnit, "rate-unit", "", "unit of its bare numbers: bit, kbit, Mbit, Gbit (bit)")
	f.StringVar(&o.names.Delay, "delay", "", "attribute of edges with a delay")
	f.StringVar(&o.names.DelayUnit, "delay-unit", "", "unit of its bare numbers: us, ms, s")
	mustComplete(cmd, "rate-unit", "bit", "kbit", "Mbit", "Gbit")
	mustComplete(cmd, "delay-unit", "us", "ms", "s")
}

// settle reads the flags that are not plain values.
func (o *importOptions) settle() error {
	bad := func(remedy, format string, args ...any) error {
		return fail(program.KindInvalid, remedy, format, args...)
	}
	var err error
	if o.Pool, err = netip.ParsePrefix(o.pool); err != nil {
		return bad("write it as 10.0.0.0/8", "--pool: %q is not a subnet", o.pool)
	}
	if !(o.Stretch >= 1 && o.Stretch <= 100) {
		return bad("no way is shorter than the great circle", "--stretch is 1 to 100")
	}
	if o.DefaultDelay < 0 || o.DefaultDelay > link.MaxDelay {
		return bad("", "--default-delay is 0 to %s", link.MaxDelay)
	}
	o.DefaultDelay = o.DefaultDelay.Round(time.Microsecond)
	if o.defaultRate != "" {
		if o.DefaultRate, err = link.ParseRate(o.defaultRate); err != nil {
			return bad("", "--default-rate: %v", err)
		}
	}
	o.HostsAt = map[string]int{}
	for _, s := range o.hostsAt {
		at := strings.LastIndexByte(s, '=')
		n, err := strconv.Atoi(s[at+1:])
		if at < 1 || err != nil || n < 0 {
			return bad("write it as Paris=10", "--hosts-at: %q is not LABEL=N", s)
		}
		o.HostsAt[s[:at]] = n
	}
	return o.readPlaces()
}

func (o *importOptions) readPlaces() error {
	if o.places == "" {
		return nil
	}
	text, err := os.ReadFile(o.places)
	if err != nil {
		return notFound(err, "is the path right?")
	}
	lines, err := link.ParsePositions(o.places, text)
	if err != nil {
		return fail(program.KindInvalid, "", "%v", err)
	}
	for _, p := range lines {
		o.Places = append(o.Places, graphml.Place{Name: p.Nodes, At: p.Position})
	}
	return nil
}

func (a *app) importGraphML(file string, o importOptions) error {
	if err := o.settle(); err != nil {
		return err
	}
	src, err := a.readWhole(file, graphml.MaxSize+1)
	if err != nil {
		return err
	}
	o.File = fileName(file)
	g, err := graphml.Read(o.File, src, o.names)
	if err != nil {
		return a.faultyGraph(err)
	}
	text, summary, err := g.Topology(o.Options)
	if err != nil {
		return a.faultyGraph(err)
	}
	t, err := topo.Parse("the topology", text)
	if err != nil {
		return fmt.Errorf("import %s: %w", o.File, err) // a mistake in this program
	}
	if o.output != "" {
		if err := os.WriteFile(o.output, text, 0o644); err != nil {
			return notFound(err, "does the folder exist?")
		}
	}
	return a.printImported(&o, t.Name, text, summary)
}

// imported is what import says of a file.
type imported struct {
	File     string           `json:"file"`
	Platform string           `json:"platform"`
	Summary  *graphml.Summary `json:"summary"`
	Topology string           `json:"topology,omitempty"`
	Written  string           `json:"written,omitempty"`
}

func (a *app) printImported(o *importOptions, platform string, text []byte, s *graphml.Summary) error {
	if a.json() {
		out := imported{File: o.File, Platform: platform, Summary: s, Written: o.output}
		if o.output == "" {
			out.Topology = string(text)
		}
		return a.printJSON(out)
	}
	if o.output == "" {
		if _, err := a.stdout.Write(text); err != nil {
			return err
		}
	}
	a.note("%s: %s and %s become %s, %s and %s", o.File, plural(s.Nodes, "node", "nodes"), plural(s.Edges, "edge", "edges"),
		plural(s.Routers, "router", "routers"), plural(s.Links, "link", "links"), plural(s.Hosts, "host", "hosts"))
	if s.DroppedNodes+s.DroppedEdges > 0 {
		a.note("dropped: %s, %s", plural(s.DroppedNodes, "node", "nodes"), plural(s.DroppedEdges, "edge", "edges"))
	}
	for _, note := range s.Notes {
		a.note("%s", note)
	}
	if o.output != "" {
		a.note("platform %s is in %s", platform, o.output)
	}
	return nil
}

// readWhole reads a file, or standard input, up to a limit.
func (a *app) readWhole(file string, limit int64) ([]byte, error) {
	r := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, notFound(err, "is the path right? %q reads standard input", "-")
		}
		defer f.Close()
		r = f
	}
	src, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, fail(program.KindInvalid, "", "read %s: %v", fileName(file), bare(err))
	}
	return src, nil
}

// faultyGraph prints what is wrong with a file, all of it.
func (a *app) faultyGraph(err error) error {
	var found graphml.Errors
	if !errors.As(err, &found) {
		return err
	}
	faults := make(topo.Errors, len(found))
	for i, e := range found {
		faults[i] = &topo.Error{File: e.File, Line: e.Line, Column: e.Column, Field: e.Field, Msg: e.Msg, Remedy: e.Remedy}
	}
	if a.json() {
		return &faultyFile{faults}
	}
	for _, e := range found {
		fmt.Fprintln(a.stderr, e)
	}
	a.note("%s has %s", found[0].File, plural(len(found), "problem", "problems"))
	return exitError(exitInvalid)
}
