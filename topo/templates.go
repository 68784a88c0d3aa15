package topo

import (
	"encoding/binary"
	"net/netip"
	"regexp"
	"strings"

	"myriad/nodeset"
	"myriad/program"
)

// template is a Template and where the file says so.
type template struct {
	Template
	first   string  // its first vnode
	at      *place  // of its nodes
	vifaces []place // of its vifaces, as in Template
	groups  []value
	sound   bool // every viface is known
}

// hostAddress is an address in a vnetwork, given by its index.
type hostAddress struct {
	network int
	addr    netip.Addr
}

// holder is who has a fixed address.
type holder struct {
	name    string
	line    int
	gateway bool
}

// readTemplates reads the field vnodes. Entries whose node set cannot be read
// are left out.
func (b *builder) readTemplates() {
	entries, _ := b.file.get("vnodes")
	standard := program.AttachMacvlan
	if b.topo.Fabric == program.FabricBridge {
		standard = program.AttachVeth
	}
	standard = b.attach(b.file, standard)
	b.allKnown = true
	total := 0
	for _, v := range entries.items {
		t := template{Template: Template{Attach: b.attach(v, standard)}, sound: !v.broken}
		if gateway, ok := v.get("gateway"); ok {
			t.Gateway = gateway.flag
		}
		if groups, ok := v.get("groups"); ok {
			t.groups = groups.items
		}
		b.readNodes(&t, v, &total)
		b.readVifaces(&t, v)
		if t.Nodes == nil {
			b.allKnown = false
		} else {
			b.templates = append(b.templates, t)
		}
	}
	b.indexTemplates()
	b.index.overlaps(func(item, earlier int, common *nodeset.Set) {
		b.report(b.templates[item].at, "describe each vnode once", "%s: also described in line %d",
			clip(common.String()), b.templates[earlier].at.line)
	})
}

// readNodes reads the nodes of a vnodes entry; they stay nil if they are not
// sound. total counts the vnodes so far.
func (b *builder) readNodes(t *template, v value, total *int) {
	nodes, ok := v.get("nodes")
	if !ok {
		return
	}
	t.at = nodes.place
	set, ok := b.nodeset(nodes, nil)
	switch {
	case !ok || !b.checkNames(nodes, set):
	case set.Len() > MaxVnodes-*total:
		b.report(t.at, "describe fewer", "more than %d vnodes, with those before", MaxVnodes)
	default:
		t.Nodes, t.first = set, set.Min()
		*total += set.Len()
	}
}

// indexTemplates makes the indexes of templates, and of their kinds.
func (b *builder) indexTemplates() {
	sets := make([]*nodeset.Set, len(b.templates))
	kind := map[string]int{} // index into kinds
	var members [][]*nodeset.Set
	for i := range b.templates {
		t := &b.templates[i]
		sets[i] = t.Nodes
		k, ok := kind[t.kind()]
		if !ok {
			k = len(members)
			kind[t.kind()] = k
			b.kinds = append(b.kinds, t)
			members = append(members, nil)
		}
		members[k] = append(members[k], t.Nodes)
	}
	b.index = newIndex(sets)
	sets = nil
	for _, m := range members {
		sets = append(sets, newIndex(m).all())
	}
	b.kindIndex = newIndex(sets)
}

// kind is the same for templates that are in the same vnetworks.
func (t *template) kind() string {
	networks := []byte{0}
	if t.sound {
		networks[0] = 1
	}
	for _, f := range t.Vifaces {
		networks = binary.AppendUvarint(networks, uint64(f.Network))
	}
	return string(networks)
}

// attach reads the field attach of v, which is the platform or a vnodes entry;
// without it, standard holds.
func (b *builder) attach(v value, standard program.Attach) program.Attach {
	f, ok := v.get("attach")
	switch {
	case !ok:
		return standard
	case f.text == "veth":
		return program.AttachVeth
	case b.topo.Fabric == program.FabricBridge:
		b.report(f.place, "write attach: veth, or leave it out", "fabric: bridge has a port for each viface, which macvlan is not")
	}
	return program.AttachMacvlan
}

// checkNames says whether the names of a vnodes entry can be host names.
func (b *builder) checkNames(v value, s *nodeset.Set) bool {
	if s.Len() == 0 {
		b.report(v.place, "remove the entry, or correct the node set", "%s describes no vnode", quote(v.text))
		return false
	}
	for _, pattern := range patterns(s.String()) {
		longest, problem := hostName(pattern)
		switch {
		case problem != "":
			b.report(v.place, "use a-z, 0-9 and -, beginning with a letter", "%s cannot be a host name: %s", quote(pattern), problem)
		case longest > MaxName:
			b.report(v.place, "shorten it", "%s has %d characters, more than the %d of a host name", quote(pattern), longest, MaxName)
		default:
			continue
		}
		return false
	}
	return true
}

// MaxName is how long the name of a vnode may be: it is also its host name.
const MaxName = 64

// patterns cuts a folded node set at its commas, but not in brackets.
func patterns(folded string) (out []string) {
	depth, start := 0, 0
	for i := range len(folded) {
		switch folded[i] {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, folded[start:i])
				start = i + 1
			}
		}
	}
	return append(out, folded[start:])
}

// hostName checks all names of one pattern at once, such as n[1-5,007]: gives
// the length of the longest, and what is wrong with them.
func hostName(pattern string) (longest int, problem string) {
	var b []byte // a name with the most digits that the pattern allows
	for inside, widest, digits := false, 0, 0; pattern != ""; pattern = pattern[1:] {
		switch c := pattern[0]; {
		case c == '[':
			inside, widest, digits = true, 0, 0
		case c == ']':
			inside = false
			b = append(b, strings.Repeat("0", widest)...)
		case !inside:
			b = append(b, c)
		case '0' <= c && c <= '9':
			digits++
			widest = max(widest, digits)
		default:
			digits = 0
		}
	}
	bare := string(b)
	switch {
	case bare == "localhost":
		return 0, "every vnode has that name for itself"
	case !hostNamePattern.MatchString(bare):
		for _, c := range bare {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-", c) {
				return 0, "it has the character " + string(c)
			}
		}
		if strings.HasSuffix(bare, "-") {
			return 0, "it ends in -"
		}
		return 0, "it does not begin with a letter"
	}
	return len(bare), ""
}

// hostNamePattern is stricter than RFC 1123 by one rule: a name begins with a
// letter, so that no tool takes it for an address.
var hostNamePattern = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
