package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

const linkLong = `Change and show the conditions of links while a platform runs: delay, jitter, loss,
rate and more, of the interfaces of vnodes and of pairs of vnodes. A change is in
force for all that it is about at the same moment, and no vnode is touched.

"myriad up FILE" puts back what the file says.`

func (a *app) linkCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "link COMMAND",
		Short: "Change and show conditions of links",
		Long:  linkLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(cmd, "no command %q of link", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return help(cmd) },
	}
	cmd.AddCommand(a.linkSetCmd(), a.linkShowCmd(), a.linkResetCmd(), a.linkPlayCmd(), a.linkProfilesCmd())
	return cmd
}

// linkFlags are the flags of set and reset.
type linkFlags struct {
	to     string
	oneway bool
	out    bool
	in     bool
	at     string
}

func (a *app) addLinkFlags(cmd *cobra.Command, f *linkFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "the pairs from NODESET to this node set, and back")
	flags.BoolVar(&f.oneway, "oneway", false, "with --to: not back")
	flags.BoolVar(&f.out, "out", false, "only what the vnodes send")
	flags.BoolVar(&f.in, "in", false, "only what the vnodes get")
	flags.StringVar(&f.at, "at", "", "when: +10s, 15:04:05, or a date as in RFC 3339 (at once if left out)")
	a.completeTo(cmd)
	a.platformFlag(cmd)
}

// change is the request that flags and arguments make, as far as it can be
// known here.
func (f *linkFlags) change(cmd *cobra.Command, nodes string) (*api.LinkChange, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, usageError(cmd, format, args...)) }
	q := &api.LinkChange{Nodes: nodes, To: f.to, Both: f.to != "" && !f.oneway}
	switch {
	case f.out && f.in:
		q.Side = "both"
	case f.out:
		q.Side = "out"
	case f.in:
		q.Side = "in"
	}
	if f.to != "" && q.Side != "" {
		bad("--out and --in are of interfaces; with --to, --oneway tells directions")
	}
	switch given := cmd.Flags().Changed("to"); {
	case given && f.to == "": // as a variable may be: whole interfaces are not meant
		bad("--to names no vnodes; * is all")
	case !given && f.oneway:
		bad("--oneway means nothing without --to")
	}
	if cmd.Flags().Changed("at") {
		at, err := moment(f.at, time.Now())
		if err != nil {
			bad("%v", err)
		}
		q.At = at
	}
	return q, errors.Join(errs...)
}

// moment reads a time to come.
func moment(s string, now time.Time) (time.Time, error) {
	if after, ok := strings.CutPrefix(s, "+"); ok {
		d, err := link.ParseMoment(after)
		if err != nil {
			return time.Time{}, fmt.Errorf("--at %s: %w", s, err)
		}
		return now.Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	for _, layout := range []string{"15:04", "15:04:05"} {
		if clock, failed := time.ParseInLocation(layout, s, now.Location()); failed == nil {
			y, m, d := now.Date()
			at, err = time.Date(y, m, d, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location()), nil
		}
	}
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("--at %q is no time; write +10s, 15:04:05 or a date as in RFC 3339", s)
	case at.Before(now):
		return time.Time{}, fmt.Errorf("--at %s has passed", s)
	}
	return at, nil
}

const linkSetLong = `Set conditions of links. Without --to they are those of the interfaces of the
vnodes in NODESET: of all that they send and get, or with --out or --in of one
direction as the vnode sees it. With --to they are those of pairs: what goes from
a vnode of NODESET to one of the other node set, and back unless --oneway is given.
A frame meets both: what its sender's interface does to it, then what is set for
the pair, then what the receiver's interface does.

Only the fields that are named change; none clears one. "profile=NAME", as the
first setting, sets all of them ("myriad link profiles" lists the names). Files
that settings refer to are read here. The command returns when the change is in
force; with --at, that is later, and Ctrl-C before that withdraws it.

Fields:
`

func (a *app) linkSetCmd() *cobra.Command {
	var f linkFlags
	cmd := &cobra.Command{
		Use:   "set NODESET FIELD=VALUE…",
		Short: "Set conditions",
		Long:  linkSetLong + fieldList(),
		Example: `  myriad link set peer7 delay=20ms loss=1%
  myriad link set '*' --out rate=10mbit queue=50ms
  myriad link set @paris --to @tokyo delay=110ms jitter=5ms
  myriad link set a1 --to b1 --oneway loss=none
  myriad link set 'peer[1-9]' profile=lte --at +10s
  myriad link set peer1 --in trace=data/lte.down`,
		Args: args(2, -1, "a NODESET or a setting such as delay=20ms"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := f.change(cmd, args[0])
			refs := referencesOf("-")
			q.Set, q.Files = args[1:], refs.got
			if err = errors.Join(err, settingsFaults(cmd, args[1:], f.to != "", refs)); err != nil {
				return several(cmd, err)
			}
			return a.changeLinks(cmd.Context(), q)
		},
		ValidArgsFunction: a.completeSettings,
	}
	a.addLinkFlags(cmd, &f)
	return cmd
}

// fieldList is the fields of conditions, for people.
func fieldList() string {
	var b strings.Builder
	for _, f := range link.Fields() {
		fmt.Fprintf(&b, "  %-13s %s\n", f.Name, wrapped(f.Doc, 16, 80))
	}
	return b.String()
}

// wrapped breaks a text into lines of a width, all but the first indented.
func wrapped(text string, indent, width int) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i > 0 && column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		case i > 0:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// settingsFaults says everything that is wrong with settings, each as an error
// of its own, and reads the files that they refer to.
func settingsFaults(cmd *cobra.Command, settings []string, pairs bool, refs *references) error {
	out, in, err := link.ParseSides(settings, refs.read)
	if err == nil && pairs && out.String() != in.String() {
		return usageError(cmd, "%s is of an access link, which is different out and in; pairs have one of the ways between places", settings[0])
	}
	var faults link.Errors
	if !errors.As(err, &faults) {
		return err
	}
	var errs []error
	for _, f := range faults {
		bare := *f
		bare.Remedy = ""
		errs = append(errs, fail(program.KindInvalid, f.Remedy, "%s", bare.Error()))
	}
	return errors.Join(errs...)
}

// several makes one error of those that err is joined from: all are told at
// once.
func several(cmd *cobra.Command, err error) error {
	all := flat(err, nil)
	if len(all) == 1 {
		return all[0]
	}
	whole := &api.Error{Kind: program.KindInvalid, Message: fmt.Sprintf("%d problems", len(all)), Remedy: fmt.Sprintf("%q shows how it is used", cmd.CommandPath()+" --help")}
	for _, err := range all {
		e := describe(err)
		p := program.Problem{Kind: e.Kind, Rack: -1, Op: e.Message}
		if e.Remedy != whole.Remedy {
			p.Remedy = e.Remedy
		}
		whole.Problems = append(whole.Problems, p)
	}
	return whole
}

// flat appends the errors that err is joined from.
func flat(err error, to []error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			to = flat(e, to)
		}
		return to
	}
	return append(to, err)
}

func (a *app) changeLinks(ctx context.Context, q *api.LinkChange) error {
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return err
	}
	changed, err := a.client().ChangeLinks(ctx, platform, q)
	switch {
	case ctx.Err() != nil:
		return fail(program.KindUnavailable, "\"myriad link show\" tells", "interrupted: the change is withdrawn, if it was not in force yet")
	case err != nil:
		return a.reach(err)
	case a.json():
		return a.printJSON(changed)
	}
	what := changedWhat(changed)
	if what == "" {
		what = "all links"
	}
	has := "have"
	if strings.HasPrefix(what, "1 ") {
		has = "has"
	}
	fmt.Fprintf(a.stdout, "platform %s: %s %s other conditions, in force in %s%s\n", platform, what, has, span(changed.Took), lateBy(changed, q.At))
	return nil
}

// changedWhat says what a change was about.
func changedWhat(c *api.Changed) string {
	var parts []string
	if c.Vifaces > 0 {
		parts = append(parts, plural(c.Vifaces, "viface", "vifaces"))
	}
	if c.Pairs > 0 {
		parts = append(parts, plural(c.Pairs, "pair", "pairs"))
	}
	return strings.Join(parts, " and ")
}

// lateBy says how exactly a time was kept.
func lateBy(c *api.Changed, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(", %s after %s", span(c.Lateness), at.Local().Format("15:04:05.000"))
}

const linkResetLong = `Put conditions back to what the topology file says: of the interfaces of NODESET,
of the pairs between two node sets, or without NODESET of everything.`

func (a *app) linkResetCmd() *cobra.Command {
	var f linkFlags
	cmd := &cobra.Command{
		Use:   "reset [NODESET]",
		Short: "Put conditions back to what the file says",
		Long:  linkResetLong,
		Example: `  myriad link reset
  myriad link reset 'peer[1-9]' --out
  myriad link reset @paris --to @tokyo
  myriad link reset --at +1m`,
		Args: args(0, 1, "a NODESET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes := ""
			if len(args) > 0 {
				nodes = args[0]
			}
			q, err := f.change(cmd, nodes)
			switch q.Reset = true; {
			case nodes == "" && len(args) > 0:
				err = errors.Join(err, usageError(cmd, "NODESET names no vnodes; * is all, and without it everything is put back"))
			case nodes == "" && (f.to != "" || f.out || f.in):
				err = errors.Join(err, usageError(cmd, "--to, --out and --in need a NODESET; * is all vnodes"))
			}
			if err != nil {
				return several(cmd, err)
			}
			return a.changeLinks(cmd.Context(), q)
		},
		ValidArgsFunction: a.completeNodes(false),
	}
	a.addLinkFlags(cmd, &f)
	return cmd
}

const linkPlayLong = `Play a schedule of changes: FILE has the fields schedule, repeat and profiles of a
topology file (docs/topology.md). It begins now, and goes on while the daemon
runs, and after a restart of it where it would be then. "link show" tells how far
it is and how late its steps were, "myriad events --follow" tells each.`

func (a *app) linkPlayCmd() *cobra.Command {
	var stop bool
	cmd := &cobra.Command{
		Use:   "play FILE",
		Short: "Play a schedule of changes",
		Long:  linkPlayLong,
		Example: `  myriad link play evening.yaml
  generate-schedule | myriad link play -
  myriad link play --stop`,
		Args: func(cmd *cobra.Command, given []string) error {
			if stop {
				return args(0, 0, "")(cmd, given)
			}
			return args(1, 1, "a FILE (- is standard input)")(cmd, given)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if stop {
				return a.play(cmd.Context(), &api.Schedule{})
			}
			return a.playFile(cmd.Context(), args[0])
		},
		ValidArgsFunction: completeFiles(1),
	}
	cmd.Flags().BoolVar(&stop, "stop", false, "end the schedule that is under way; conditions stay as they are")
	a.platformFlag(cmd)
	return cmd
}

func (a *app) playFile(ctx context.Context, file string) error {
	source, err := a.readSource(file)
	if err != nil {
		return err
	}
	scope, err := a.scope(ctx)
	if err != nil {
		return err
	}
	refs := referencesOf(file)
	if _, _, err := topo.ParseSchedule(fileName(file), source, scope, refs.read); err != nil {
		return a.faulty(err)
	}
	return a.play(ctx, &api.Schedule{File: fileName(file), Source: string(source), Files: refs.got})
}

// scope is what a schedule for the platform can be about.
func (a *app) scope(ctx context.Context) (s topo.Scope, err error) {
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return s, err
	}
	n, err := a.client().Nodes(ctx, platform, "")
	if err != nil {
		return s, a.reach(err)
	}
	s.Groups = map[string]*nodeset.Set{}
	for name, members := range n.Groups {
		if s.Groups[name], err = nodeset.Parse(members, nil); err != nil {
			return s, err
		}
	}
	s.Nodes, err = nodeset.Parse(n.Nodes, nil)
	return s, err
}

func (a *app) play(ctx context.Context, q *api.Schedule) error {
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return err
	}
	changed, err := a.client().Play(ctx, platform, q)
	switch {
	case err != nil:
		return a.reach(err)
	case a.json():
		return a.printJSON(changed)
	case q.Source == "":
		fmt.Fprintf(a.stdout, "platform %s: the schedule is ended\n", platform)
	default:
		fmt.Fprintf(a.stdout, "platform %s: %s begins, %s\n", platform, q.File, plural(changed.Steps, "step", "steps"))
	}
	return nil
}

func (a *app) linkProfilesCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "profiles",
		Short: "List the profiles of well-known links",
		Long: `List the profiles of well-known links, and where their figures are from. A
topology file refers to them by name (profile: lte), and so does "link set"
(profile=lte). It needs no platform.`,
		Example: `  myriad link profiles
  myriad link profiles -o json | jq '.[] | select(.name == "lte")'`,
		Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error { return a.linkProfiles() },
	}
}

// profile is a profile for programs.
type profile struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Out    string `json:"out,omitempty"`
	In     string `json:"in,omitempty"`
	Way    string `json:"way,omitempty"`
	Source string `json:"source"`
}

func (a *app) linkProfiles() error {
	var all []profile
	for _, p := range link.Profiles() {
		one := profile{Name: p.Name, Title: p.Title, Source: p.Source}
		for _, leg := range []struct {
			c  *link.Conditions
			to *string
		}{{p.Out, &one.Out}, {p.In, &one.In}, {p.Way, &one.Way}} {
			if leg.c != nil {
				*leg.to = leg.c.String()
			}
		}
		all = append(all, one)
	}
	if a.json() {
		return a.printJSON(all)
	}
	for i, p := range all {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		fmt.Fprintf(a.stdout, "%-13s %s\n", p.Name, p.Title)
		for _, leg := range []struct{ name, c string }{{"out", p.Out}, {"in", p.In}, {"way", p.Way}} {
			if leg.c != "" {
				fmt.Fprintf(a.stdout, "  %-4s %s\n", leg.name, leg.c)
			}
		}
		fmt.Fprintf(a.stdout, "  from %s\n", wrapped(p.Source, 7, 100))
	}
	return nil
}
