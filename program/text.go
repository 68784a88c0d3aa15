package program

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// String names the fabric as topology files do.
func (f Fabric) String() string { return nameOf(f, "ebpf", "bridge") }

// String names the attachment as topology files do.
func (a Attach) String() string { return nameOf(a, "macvlan", "veth") }

// String names the weight as topology files do.
func (w Weight) String() string { return nameOf(w, "netns", "container", "light") }

// MarshalText writes the name, for JSON.
func (f Fabric) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText writes the name, for JSON.
func (a Attach) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// MarshalText writes the name, for JSON.
func (w Weight) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// MarshalText writes the address as String does, for JSON.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func nameOf[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("unknown-%d", v)
}

// String is the whole program as WriteText writes it.
func (p *Program) String() string {
	var b strings.Builder
	p.WriteText(&b)
	return b.String()
}

// WriteText writes the program for people: everything in it, a line a row, in
// the order of its tables.
func (p *Program) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "platform %s on %s, fabric %s\n", p.Platform, p.Pnode, p.Fabric)
	networks := make(map[uint16]Network, len(p.Networks))
	for _, n := range p.Networks {
		networks[n.ID] = n
		fmt.Fprintf(b, "network %d %s %s mtu %d", n.ID, n.Name, n.Subnet, n.MTU)
		if n.Broadcast {
			b.WriteString(" broadcast")
		}
		b.WriteString("\n")
	}
	for i := range p.Racks {
		p.Racks[i].writeText(b, networks)
	}
	for i := range p.Names {
		n := &p.Names[i]
		fmt.Fprintf(b, "name %s %s", n, n.Addr)
		if n.Count > 1 {
			fmt.Fprintf(b, " - %s", addr4(number(n.Addr)+n.Count-1))
		}
		b.WriteString("\n")
	}
	for _, r := range p.Remote {
		if !p.Elsewhere(&r) {
			continue
		}
		n := networks[r.Network]
		fmt.Fprintf(b, "remote %s %s - %s on pnode %d\n", n.Name, n.Addr(r.Host), n.Addr(r.Host+r.Count-1), r.Pnode)
	}
	for _, m := range p.MACs {
		if n, ok := networks[m.Network]; ok {
			fmt.Fprintf(b, "address %s %s %s\n", n.Name, n.Addr(m.Host), m.MAC)
		}
	}
	p.Overlay.writeText(b, p.Number, p.Ways)
	p.Links.writeText(b, networks)
	return b.Flush()
}

func (r *Rack) writeText(b *bufio.Writer, networks map[uint16]Network) {
	fmt.Fprintf(b, "rack %d\n", r.Index)
	for _, v := range r.Vnodes {
		fmt.Fprintf(b, "  %d %s %s", v.Slot, v.Name, v.Weight)
		if v.Forward {
			b.WriteString(" forward")
		}
		b.WriteString("\n")
		for _, f := range r.VifacesOf(v.Slot) {
			n := networks[f.Network]
			fmt.Fprintf(b, "    %d %s %s %s/%d %s %s\n", f.Index, f.Name, n.Name, n.Addr(f.Host), n.Subnet.Bits(), f.Address(), f.Attach)
		}
		for _, t := range r.RoutesOf(v.Slot) {
			fmt.Fprintf(b, "    %s via %s\n", t.To, t.Via)
		}
	}
}

// String is the range as a node set: peer[1-40].
func (n *NameRange) String() string {
	first := n.AppendName(nil, 0)
	if n.Count <= 1 {
		return string(first)
	}
	first = first[len(n.Prefix) : len(first)-len(n.Suffix)]
	return fmt.Sprintf("%s[%s-%s]%s", n.Prefix, first, appendPadded(nil, n.First+uint64(n.Count)-1, int(n.Width)), n.Suffix)
}
