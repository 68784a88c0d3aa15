package program

import (
	"bufio"
	"fmt"
	"time"
)

// String names the kind as topology files do.
func (k OverlayKind) String() string { return nameOf(k, "unicast", "multicast") }

// MarshalText writes the name, for JSON.
func (k OverlayKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// writeText writes how pnode number reaches the others, a line for each.
func (o *Overlay) writeText(b *bufio.Writer, number uint32, ways []time.Duration) {
	if o == nil {
		return
	}
	fmt.Fprintf(b, "overlay %s VNI %d port %d, pnode %d\n", o.Kind, o.VNI, o.Port, number)
	for i := range o.Underlay {
		u := &o.Underlay[i]
		if *u == (Underlay{}) {
			continue
		}
		fmt.Fprintf(b, "  pnode %d %s %s mtu %d site %d", i, u.Pnode, u.Addr, u.MTU, u.Site)
		if u.Gate.IsValid() {
			fmt.Fprintf(b, " wireguard %s key %x", u.Gate, u.Key[:4])
		}
		if uint32(i) != number {
			if _, _, encrypted := o.Ends(number, uint32(i)); encrypted {
				b.WriteString(" encrypted")
			}
		}
		if i < len(ways) && ways[i] > 0 {
			fmt.Fprintf(b, " takes %s", ways[i])
		}
		b.WriteString("\n")
	}
}
