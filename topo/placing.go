package topo

import (
	"cmp"
	"math/big"
	"slices"
	"strings"

	"myriad/nodeset"
	"myriad/program"
)

// readOverlay reads the field overlay.
func (b *builder) readOverlay() {
	b.topo.Overlay.Port = program.VXLANPort
	v, ok := b.file.get("overlay")
	if !ok {
		return
	}
	o := &b.topo.Overlay
	if v.or("kind", "unicast") == "multicast" {
		o.Kind = program.OverlayMulticast
		if b.topo.Fabric != program.FabricBridge {
			b.report(v.place, "add fabric: bridge, or leave it out", "eBPF programs know where each vnode is, and need no multicast")
		}
	}
	if port, ok := v.get("port"); ok {
		o.Port = uint16(port.number)
	}
	encryption, ok := v.get("encryption")
	if !ok {
		return
	}
	o.Encryption = Encryption(slices.Index(encryptionNames, encryption.text))
	if o.Encryption != EncryptNone && o.Kind == program.OverlayMulticast {
		b.report(encryption.place, "use overlay: unicast", "WireGuard carries no multicast")
	}
}

// readPlacement reads the field placement.
func (b *builder) readPlacement() {
	v, ok := b.file.get("placement")
	if !ok {
		return
	}
	p := &b.topo.Placement
	p.Policy = Policy(slices.Index(policyNames, v.or("policy", policyNames[0])))
	p.Loss = Loss(slices.Index(lossNames, v.or("loss", lossNames[0])))
	var together, apart []value
	p.Together, together = b.placedSets(v, "together")
	p.Apart, apart = b.placedSets(v, "apart")
	for i, a := range p.Apart {
		for j, t := range p.Together {
			if both := nodeset.Intersection(a, t); both.Len() > 1 {
				b.report(apart[i].place, "take them out of one of the two", "%s cannot be apart, as line %d has them together", clip(both.String()), together[j].line)
			}
		}
	}
	at, _ := v.get("at")
	for _, item := range at.items {
		b.readPin(item)
	}
	if limits, ok := v.get("limits"); ok {
		b.readLimits(limits)
	}
	p.sort()
}

// sort puts sets in an order that does not depend on the file's.
func (p *Placement) sort() {
	byText := func(a, b *nodeset.Set) int { return cmp.Compare(a.String(), b.String()) }
	slices.SortFunc(p.Together, byText)
	slices.SortFunc(p.Apart, byText)
	slices.SortFunc(p.At, func(a, b Pin) int {
		return cmp.Or(byText(a.Nodes, b.Nodes), cmp.Compare(a.Site, b.Site), byText(a.Pnodes, b.Pnodes))
	})
}

// placedSets reads a list of node sets of vnodes, and where each stands.
func (b *builder) placedSets(v value, name string) (sets []*nodeset.Set, at []value) {
	items, _ := v.get(name)
	for _, item := range items.items {
		if item.broken {
			continue
		}
		set, ok := b.linkNodes(item)
		if ok && set.Len() == 1 {
			b.report(item.place, "name two vnodes or more", "%s says nothing of a single vnode", name)
			ok = false
		}
		if ok {
			sets, at = append(sets, set), append(at, item)
		}
	}
	return sets, at
}

// readPin reads an entry of at.
func (b *builder) readPin(v value) {
	if v.broken {
		return
	}
	of, _ := v.get("nodes")
	set, ok := b.linkNodes(of)
	pin := Pin{Nodes: set, Site: v.or("site", "")}
	pnodes, named := v.get("pnodes")
	if named {
		var sound bool
		pin.Pnodes, sound = b.nodeset(pnodes, nil)
		if ok = ok && sound; sound && pin.Pnodes.Len() == 0 {
			b.report(pnodes.place, "remove the entry, or correct the node set", "%s names no pnode", quote(pnodes.text))
			ok = false
		}
	}
	if named == (pin.Site != "") {
		b.report(v.place, "write either pnodes: or site:", "says where the vnodes go twice, or not at all")
		ok = false
	}
	if ok {
		b.topo.Placement.At = append(b.topo.Placement.At, pin)
	}
}

// readLimits reads the limits of pnodes.
func (b *builder) readLimits(v value) {
	l := &b.topo.Placement.Limits
	for name, to := range map[string]*int{"vnodes": &l.Vnodes, "vnodes-per-core": &l.VnodesPerCore, "vifaces": &l.Vifaces} {
		if n, ok := v.get(name); ok {
			*to = int(n.number)
		}
	}
	memory, ok := v.get("memory")
	if !ok {
		return
	}
	bytes, share, ok := parseMemory(memory.text)
	switch {
	case !ok:
		b.report(memory.place, "write it as 50% or 16GB", "%s is not an amount of memory: at most 1000%% or 2^62 bytes can be", quote(memory.text))
	case bytes == 0 && share == 0:
		b.report(memory.place, "give it more, or leave it out", "in %s there is room for no vnode", quote(memory.text))
	}
	l.Memory, l.MemoryShare = bytes, share
}

// memoryUnits are the letters of amounts of memory, by their power.
const memoryUnits = "kMGT"

// parseMemory reads an amount that matches memoryForm: bytes, or a share in
// thousandths.
func parseMemory(s string) (bytes uint64, share int, ok bool) {
	digits := strings.TrimRight(s, "%iB"+memoryUnits)
	amount, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, 0, false
	}
	unit := s[len(digits):]
	if unit == "%" {
		amount.Mul(amount, big.NewRat(10, 1))
	} else {
		base := int64(1000)
		if strings.Contains(unit, "i") {
			base = 1024
		}
		for range 1 + strings.IndexByte(memoryUnits, unit[0]) {
			amount.Mul(amount, big.NewRat(base, 1))
		}
	}
	n := new(big.Int).Quo(amount.Num(), amount.Denom())
	if unit == "%" {
		return 0, int(n.Int64()), n.IsInt64() && n.Int64() <= 10_000
	}
	return n.Uint64(), 0, n.IsUint64() && n.Uint64() <= 1<<62
}

// readSiteRule reads an entry of links that is about sites.
func (b *builder) readSiteRule(v value) {
	if !b.only(v, "sites", aboutSites...) {
		return
	}
	list, _ := v.get("sites")
	change, given, ok := b.pairPatch(v)
	r := LinkRule{}
	for _, item := range list.items {
		if slices.Contains(r.Sites, item.text) {
			b.report(item.place, "name it once; a list of one site stands for the pairs inside of it", "%s is there twice", item.text)
			ok = false
		}
		r.Sites = append(r.Sites, item.text)
	}
	oneway, hasOneway := v.get("oneway")
	r.Oneway = oneway.flag
	switch {
	case !ok || v.broken:
		return
	case len(r.Sites) == 0:
		b.report(list.place, "name the sites", "says no sites")
		return
	case hasOneway && len(r.Sites) != 2:
		b.report(oneway.place, "name two sites", "a direction is from one site to another")
		return
	case !given:
		b.report(v.place, "add a field such as delay: 20ms, or profile: none", "says no conditions")
		return
	}
	c, sound := b.settle(v.place, change)
	if sound {
		r.Conditions = &c
		b.topo.Links = append(b.topo.Links, r)
	}
}
