package coord

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"myriad/api"
	"myriad/link"
	"myriad/nodeset"
	"myriad/plan"
	"myriad/program"
	"myriad/topo"
)

// sent gives the files that a client has sent, by the names that its request
// uses. No others are read, whatever they are called.
func sent(files map[string][]byte) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if b, ok := files[path]; ok {
			return b, nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
}

// ChangeLinks changes conditions of links, and returns when the change is in
// force. When ctx ends before it is begun, it is not made.
func (c *Coordinator) ChangeLinks(ctx context.Context, platform string, q *api.LinkChange) (*api.Changed, error) {
	p, err := c.planOf(ctx, platform)
	if err != nil {
		return nil, err
	}
	changes, err := changesOf(p, q)
	if err != nil {
		return nil, err
	}
	at := q.At
	if !at.IsZero() { // from here on, it is the time between that counts
		now := time.Now()
		at = now.Add(at.Sub(now))
	}
	return c.changed(ctx, func(a Asker) Event { return LinksAsked{Asker: a, Platform: platform, Changes: changes, At: at} })
}

// changed has the machine change something about links, and waits for the end
// of it.
func (c *Coordinator) changed(ctx context.Context, event func(Asker) Event) (*api.Changed, error) {
	last, err := c.request(ctx, event, func(api.Event) {})
	if err != nil {
		return nil, err
	}
	if last.Error != nil {
		return nil, last.Error
	}
	return last.Changed, nil
}

// changesOf says what is to be changed, or all that is wrong with a request.
func changesOf(p *plan.Plan, q *api.LinkChange) ([]topo.Change, error) {
	var errs []error
	bad := func(cause, remedy string) {
		errs = append(errs, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "change links", Cause: cause, Remedy: remedy})
	}
	nodes := func(expr string) *nodeset.Set {
		if expr == "" {
			return nil
		}
		set, err := resolve(p, expr)
		if err != nil {
			errs = append(errs, err)
		}
		return set
	}
	side := sides[q.Side]
	switch {
	case q.Reset && len(q.Set) > 0:
		bad("there are settings, and a reset of them", "do one after the other")
	case !q.Reset && len(q.Set) == 0:
		bad("nothing is set", "write settings such as delay=20ms")
	}
	switch {
	case q.Nodes == "" && (!q.Reset || q.To != ""):
		bad("no vnodes are named", "name some, or * for all")
	case q.Nodes == "" && q.Side != "":
		bad("a reset of everything is of both sides", "name vnodes, or * for all")
	case side == 0:
		bad(fmt.Sprintf("%q is no side", q.Side), "it is out, in or both")
	case q.To != "" && q.Side != "":
		bad("conditions of pairs have no side", "with both, they are of both directions")
	case q.To == "" && q.Both:
		bad("both directions are those between two sets", "name the other one")
	}
	from, to := nodes(q.Nodes), nodes(q.To)
	changes, err := patches(q, side)
	if errs = append(errs, err); errors.Join(errs...) != nil {
		return nil, errors.Join(errs...)
	}
	if cause, remedy := pointless(p, from, to); cause != "" {
		bad(cause, remedy)
		return nil, errors.Join(errs...)
	}
	for i := range changes {
		changes[i].Nodes, changes[i].To = from, to
	}
	if q.Both {
		back := changes[0]
		back.Nodes, back.To = to, from
		changes = append(changes, back)
	}
	return changes, nil
}

// pointless says why there is nothing that a change of some vnodes, or of what
// goes from some to others, could be about.
func pointless(p *plan.Plan, from, to *nodeset.Set) (cause, remedy string) {
	switch vifaces, pairs := p.CountLinks(from, to); {
	case from == nil:
	case to == nil && vifaces == 0:
		return clip(from.String()) + " has no interfaces", "name vnodes that have some"
	case to == nil || pairs > 0:
	case from.Len() == 1 && from.Equal(to):
		return from.Min() + " has no link to itself", "name two vnodes"
	default:
		return fmt.Sprintf("%s and %s share no vnetwork, so nothing goes from one to the other directly", clip(from.String()), clip(to.String())),
			"give conditions to their interfaces, or to the gateways between them"
	}
	return "", ""
}

// sides are the names of sides in requests.
var sides = map[string]topo.Side{"": topo.SideOut | topo.SideIn, "both": topo.SideOut | topo.SideIn, "out": topo.SideOut, "in": topo.SideIn}

// patches gives the changes that settings make: two where a profile has others
// for either side.
func patches(q *api.LinkChange, side topo.Side) ([]topo.Change, error) {
	files := link.Files(sent(q.Files))
	switch {
	case q.Reset && q.To != "":
		return []topo.Change{{Side: topo.SidePair, Reset: true}}, nil
	case q.Reset:
		return []topo.Change{{Side: side, Reset: true}}, nil
	}
	out, in, err := link.ParseSides(q.Set, files)
	same := out.String() == in.String()
	switch {
	case err != nil:
		return nil, settings(err)
	case q.To != "" && !same:
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "change links", Cause: q.Set[0] + " is of an access link, which is different out and in",
			Remedy: "pairs have one of the ways between places"}
	case q.To != "":
		return []topo.Change{{Side: topo.SidePair, Patch: out}}, nil
	case same:
		return []topo.Change{{Side: side, Patch: out}}, nil
	}
	var changes []topo.Change
	if side&topo.SideOut != 0 {
		changes = append(changes, topo.Change{Side: topo.SideOut, Patch: out})
	}
	if side&topo.SideIn != 0 {
		changes = append(changes, topo.Change{Side: topo.SideIn, Patch: in})
	}
	return changes, nil
}

// settings gives what is wrong with settings the form in which it reaches a
// client.
func settings(err error) error {
	var faults link.Errors
	if !errors.As(err, &faults) {
		return err
	}
	var errs []error
	for _, f := range faults {
		bare := *f
		bare.Remedy = ""
		errs = append(errs, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: bare.Error(), Remedy: f.Remedy})
	}
	return errors.Join(errs...)
}
