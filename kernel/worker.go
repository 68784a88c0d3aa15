package kernel

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// worker is a thread at work on vnodes, one after the other: on what it has
// in its namespace, on the messages that would make that right.
type worker struct {
	j      *job
	t      *netns.Thread
	rack   *rtnl.Conn // in the rack's namespace
	inside *rtnl.Conn // in the vnode's
	have   *state

	// The messages for one vnode, in the order in which they are sent.
	remove    rtnl.Batch // inside: links that go
	attach    rtnl.Batch // in the rack: links that come
	configure rtnl.Batch // inside: everything else
	reroute   bool       // a link or address changed: routes may be lost
	conf      [2]rtnl.Conf
}

func newWorker(j *job, t *netns.Thread) (*worker, error) {
	w := &worker{j: j, t: t, have: newState()}
	err := t.Enter(j.l.ns)
	if err == nil {
		w.rack, err = rtnl.Open()
	}
	if err == nil {
		w.inside, err = rtnl.Open()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *worker) close() {
	for _, c := range []*rtnl.Conn{w.rack, w.inside} {
		if c != nil {
			c.Close()
		}
	}
}

// match makes one vnode as it is wanted, from whatever it is.
func (w *worker) match(v *program.Vnode) error {
	if held := w.j.l.at(v.Slot); held != nil {
		if err := w.t.Enter(held.ns); err != nil {
			return err
		}
		err := w.inside.Reopen()
		if err == nil {
			err = w.have.read(w.inside)
		}
		if err != nil {
			return err
		}
		return w.converge(v, held.ns)
	}
	if !w.j.room() {
		return errFull
	}
	ns, err := w.t.Make()
	if err != nil {
		return err
	}
	w.have.clear()
	if err = w.inside.Reopen(); err == nil {
		err = w.converge(v, ns)
	}
	if err != nil {
		w.undo(v)
		unix.Close(ns)
		return err
	}
	w.j.l.keep(&vnode{name: v.Name, slot: v.Slot, weight: v.Weight, ns: ns})
	return nil
}

// converge sends what turns the state that was read into what is wanted; with
// nothing to do, it sends nothing.
func (w *worker) converge(v *program.Vnode, ns int) error {
	w.remove.Reset()
	w.attach.Reset()
	w.configure.Reset()
	w.reroute = false
	rack := &w.j.spec.Rack
	vifaces := rack.VifacesOf(v.Slot)
	routes := rack.RoutesOf(v.Slot)
	w.removeRoutes(routes)
	w.removeLinks(vifaces)
	for i := range vifaces {
		w.viface(v, &vifaces[i], ns)
	}
	if lo := w.have.link(1); lo == nil || !lo.Up {
		w.configure.SetLink(&rtnl.Link{Index: 1, Up: true, Label: "lo"})
	}
	for _, x := range routes {
		if r := (rtnl.Route{To: x.To, Via: x.Via}); w.reroute || !w.have.hasRoute(r) {
			w.configure.NewRoute(r)
		}
	}
	writes := w.remove.Len() + w.attach.Len() + w.configure.Len()
	if writes == 0 {
		return nil
	}
	w.j.wrote(writes)
	err := w.inside.Do(&w.remove)
	if err == nil {
		err = w.rack.Do(&w.attach)
	}
	if err == nil {
		err = w.inside.Do(&w.configure)
	}
	return err
}

// removeLinks removes those of our links that no viface has.
func (w *worker) removeLinks(vifaces []program.Viface) {
	for i := range w.have.links {
		l := &w.have.links[i]
		if !ours(l) {
			continue
		}
		if !slices.ContainsFunc(vifaces, func(f program.Viface) bool { return indexOf(&f) == l.Index }) {
			w.remove.DelLink(l.Index, l.Name)
			w.reroute = true
		}
	}
}

// indexOf is the interface index of a viface in its vnode.
func indexOf(f *program.Viface) int32 { return firstIndex + int32(f.Index) }

// viface makes one viface right. What can be changed in place is; a link of
// another kind, name or Ethernet address is made anew.
func (w *worker) viface(v *program.Vnode, f *program.Viface, ns int) {
	n := w.j.networks[f.Network]
	index := indexOf(f)
	have := w.have.link(index)
	if have != nil && !w.same(have, f, n) {
		if ours(have) { // else the kernel will say that it is in the way
			w.remove.DelLink(index, have.Name)
		}
		have = nil
	}
	if have == nil {
		w.newLink(f, n, ns)
	}
	w.settings(have, v, f, n)
	w.address(have, f, n)
	if have == nil || !have.Up {
		w.configure.SetLink(&rtnl.Link{Index: index, Up: true, Label: f.Name})
		w.reroute = true
	}
}

// settings makes those of a link right that can be changed.
func (w *worker) settings(have *rtnl.LinkInfo, v *program.Vnode, f *program.Viface, n *program.Network) {
	set := rtnl.Link{Index: indexOf(f), Label: f.Name}
	differs := have == nil
	if have != nil && have.MTU != uint32(n.MTU) {
		set.MTU, differs = uint32(n.MTU), true
	}
	if have != nil && have.Group != uint32(n.ID) {
		set.Group, differs = uint32(n.ID), true
	}
	if w.j.l.ipv6 && n.MTU >= minIPv6MTU && (have == nil || !have.IPv6Quiet) {
		set.IPv6, differs = rtnl.IPv6Quiet, true
	}
	if have == nil || have.Forward != v.Forward {
		w.conf = [2]rtnl.Conf{{Setting: rtnl.IPv4Forwarding}, {Setting: rtnl.IPv4RPFilter}}
		if v.Forward {
			w.conf[0].Value = 1
		}
		set.IPv4, differs = w.conf[:], true
	}
	if differs {
		w.configure.SetLink(&set)
	}
}

// minIPv6MTU is the least with which a link has IPv6 at all.
const minIPv6MTU = 1280

// address gives a link its address, and takes away the one it was given before
// if that was another. Addresses that a user added stay.
func (w *worker) address(have *rtnl.LinkInfo, f *program.Viface, n *program.Network) {
	want := netip.PrefixFrom(n.Addr(f.Host), n.Subnet.Bits())
	if have != nil && w.have.hasAddr(have.Index, want) {
		return
	}
	index := indexOf(f)
	if have != nil {
		for _, a := range w.have.addrs {
			if a.Link == index && w.given(a.Addr) {
				w.configure.DelAddr(index, a.Addr)
			}
		}
	}
	w.configure.NewAddr(index, want)
	w.reroute = true
}

// given says whether some viface of the rack was asked to have an address
// when it was last applied.
func (w *worker) given(addr netip.Prefix) bool {
	before := w.j.l.spec
	if before == nil {
		return false
	}
	for i := range before.Networks {
		n := &before.Networks[i]
		if n.Subnet.Bits() != addr.Bits() || !n.Subnet.Contains(addr.Addr()) {
			continue
		}
		host := n.HostOf(addr.Addr())
		for _, f := range before.Rack.Vifaces {
			if f.Network == n.ID && f.Host == host {
				return true
			}
		}
	}
	return false
}

// removeRoutes removes the static routes to where none is wanted. One that
// leads elsewhere than it should is replaced later.
func (w *worker) removeRoutes(want []program.Route) {
	for i := range w.have.routes {
		r := w.have.routes[i].Route
		if !slices.ContainsFunc(want, func(x program.Route) bool { return x.To == r.To }) {
			w.remove.DelRoute(r)
		}
	}
}

// undo takes back what a vnode that could not be made has left outside of its
// namespace.
func (w *worker) undo(v *program.Vnode) {
	w.inside.Close() // it would hold on to the namespace
	w.attach.Reset()
	for _, f := range w.j.spec.Rack.VifacesOf(v.Slot) {
		if w.j.veth(&f) {
			w.attach.DelLink(endIndex(&f), f.Name)
		}
	}
	// What is not there cannot be removed; nor does it need to be.
	_ = w.rack.DoEach(&w.attach, func(int, *rtnl.OpError) {})
}

// wrote counts messages that change something.
func (j *job) wrote(n int) {
	j.mu.Lock()
	j.writes += uint64(n)
	j.mu.Unlock()
}
