package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/program"
)

const psLong = `List vnodes: those of NODESET, or all. A list of 40,000 comes as it is read; with
--fold, vnodes that are alike in everything but their addresses are one line. With
-o wide, the conditions of their interfaces are told too.`

func (a *app) psCmd() *cobra.Command {
	var folded bool
	cmd := &cobra.Command{
		Use:   "ps [NODESET]",
		Short: "List vnodes",
		Long:  psLong,
		Example: `  myriad ps
  myriad ps 'peer[1-10],@gateways'
  myriad ps --fold
  myriad ps -o wide
  myriad ps -o json | jq -r '.[] | select(.state != "up") | .name'`,
		Args:              args(0, 1, "a NODESET"),
		ValidArgsFunction: a.completeNodes(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes := "*"
			if len(args) == 1 {
				nodes = args[0]
			}
			return a.ps(cmd.Context(), nodes, folded)
		},
	}
	cmd.Flags().BoolVar(&folded, "fold", false, "one line for vnodes that are alike")
	a.platformFlag(cmd)
	return cmd
}

func (a *app) ps(ctx context.Context, nodes string, folded bool) error {
	if folded && a.json() {
		return fail(program.KindInvalid, "-o json has one object for each vnode", "--fold is for people, -o json for programs")
	}
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(a.stdout, 1<<16)
	var each func(v *api.Vnode) error
	var end func() error
	switch {
	case a.json():
		l := newJSONList(out)
		each, end = func(v *api.Vnode) error { return l.add(v) }, l.end
	case folded:
		f := newFolding()
		each, end = f.add, func() error { return f.write(out) }
	default:
		header := []string{"NAME", "STATE", "PNODE", "RACK", "ADDRESSES", "GROUPS"}
		if a.format == formatWide {
			header = append(header, "CONDITIONS")
		}
		t := newTable(out, header...)
		each = func(v *api.Vnode) error {
			row := []string{v.Name, v.State, v.Pnode, fmt.Sprint(v.Rack), addresses(v), strings.Join(v.Groups, ",")}
			if a.format == formatWide {
				row = append(row, conditionsOf(v))
			}
			t.add(row...)
			return t.err
		}
		end = t.flush
	}
	if err := a.client().Vnodes(ctx, platform, nodes, each); err != nil {
		return a.reach(err)
	}
	if err := end(); err != nil {
		return err
	}
	return out.Flush()
}

// addresses are a vnode's addresses, with the vnetwork of each where there
// are several.
func addresses(v *api.Vnode) string {
	out := make([]string, len(v.Vifaces))
	for i, f := range v.Vifaces {
		out[i] = f.Address
		if len(v.Vifaces) > 1 {
			out[i] += " (" + f.Network + ")"
		}
	}
	return strings.Join(out, " ")
}

// conditionsOf are the conditions of a vnode's vifaces, with the name of each
// where there are several.
func conditionsOf(v *api.Vnode) string {
	var out []string
	for i := range v.Vifaces {
		if c := vifaceConditions(&v.Vifaces[i]); c != "" && len(v.Vifaces) > 1 {
			out = append(out, v.Vifaces[i].Name+": "+c)
		} else if c != "" {
			out = append(out, c)
		}
	}
	return strings.Join(out, "; ")
}

// vifaceConditions are the conditions of a viface, empty if it has none.
func vifaceConditions(f *api.Viface) string {
	switch {
	case f.Out == f.In && f.Out != "":
		return "out and in " + f.Out
	case f.Out == "" && f.In == "":
		return ""
	case f.In == "":
		return "out " + f.Out
	case f.Out == "":
		return "in " + f.In
	}
	return "out " + f.Out + ", in " + f.In
}

// folding gathers vnodes that are alike.
type folding struct {
	order []alike
	names map[alike][]string
}

// alike is what a line of ps --fold tells of its vnodes.
type alike struct {
	state, pnode, weight, role, networks, groups string
	rack                                         uint32
}

func newFolding() *folding { return &folding{names: map[alike][]string{}} }

func (f *folding) add(v *api.Vnode) error {
	k := alike{state: v.State, pnode: v.Pnode, rack: v.Rack, weight: v.Weight, groups: strings.Join(v.Groups, ",")}
	if v.Gateway {
		k.role = "gateway"
	}
	networks := make([]string, len(v.Vifaces))
	for i, n := range v.Vifaces {
		networks[i] = n.Network
	}
	k.networks = strings.Join(networks, ",")
	if f.names[k] == nil {
		f.order = append(f.order, k)
	}
	f.names[k] = append(f.names[k], v.Name)
	return nil
}

func (f *folding) write(w *bufio.Writer) error {
	t := newTable(w, "NAMES", "COUNT", "STATE", "PNODE", "RACK", "WEIGHT", "ROLE", "VNETWORKS", "GROUPS")
	for _, k := range f.order {
		names := f.names[k]
		t.add(strings.TrimSuffix(fold(names), fmt.Sprintf(" (%d)", len(names))), count(len(names)),
			k.state, k.pnode, fmt.Sprint(k.rack), k.weight, k.role, k.networks, k.groups)
	}
	return t.flush()
}

func (a *app) inspectCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect NODE",
		Short: "Show everything about one vnode",
		Example: `  myriad inspect peer1
  myriad inspect gw1 -o json | jq -r '.vifaces[].mac'`,
		Args:              args(1, 1, "the name of a vnode"),
		ValidArgsFunction: a.completeNodes(false),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.inspect(cmd.Context(), args[0]) },
	}
	a.platformFlag(cmd)
	return cmd
}

func (a *app) inspect(ctx context.Context, name string) error {
	platform, v, err := a.oneVnode(ctx, name)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(v)
	}
	w := a.stdout
	fmt.Fprintf(w, "vnode    %s of platform %s\nstate    %s, in rack %d of %s\n", v.Name, platform, v.State, v.Rack, v.Pnode)
	fmt.Fprintf(w, "weight   %s\n", v.Weight)
	if v.Gateway {
		fmt.Fprintln(w, "role     gateway: forwards between its vifaces")
	}
	if len(v.Groups) > 0 {
		fmt.Fprintf(w, "groups   %s\n", strings.Join(v.Groups, ", "))
	}
	for _, f := range v.Vifaces {
		fmt.Fprintf(w, "viface   %s in %s: %s, %s, %s\n", f.Name, f.Network, f.Address, f.MAC, f.Attach)
		if c := vifaceConditions(&f); c != "" {
			fmt.Fprintf(w, "         %s\n", c)
		}
	}
	for _, r := range v.Routes {
		fmt.Fprintf(w, "route    %s via %s\n", r.To, r.Via)
	}
	return nil
}

// oneVnode fetches the vnode that name, a node set of one, stands for.
func (a *app) oneVnode(ctx context.Context, name string) (platform string, v *api.Vnode, err error) {
	platform, err = a.onePlatform(ctx)
	if err != nil {
		return "", nil, err
	}
	var found []*api.Vnode
	err = a.client().Vnodes(ctx, platform, name, func(v *api.Vnode) error {
		found = append(found, v)
		if len(found) > 1 {
			return errSeveral
		}
		return nil
	})
	switch {
	case len(found) > 1:
		return "", nil, fail(program.KindInvalid, "name one vnode; \"myriad ps\" lists several", "%q is more than one vnode", name)
	case err != nil:
		return "", nil, a.reach(err)
	case len(found) == 0:
		return "", nil, fail(program.KindNotFound, "\"myriad ps\" lists the names", "no vnode %q in platform %s", name, platform)
	}
	return platform, found[0], nil
}

var errSeveral = fmt.Errorf("more than one vnode")
