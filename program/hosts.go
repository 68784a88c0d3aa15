package program

import (
	"bufio"
	"io"
	"strconv"
)

// hostsHead is what every vnode's hosts file begins with.
const hostsHead = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
`

// WriteHosts writes the text of the platform's hosts file: localhost, then a
// line for each address of each vnode, in the order of p.Names. A vnode with
// several addresses has several lines, so that its first one is what the name
// stands for.
func WriteHosts(w io.Writer, p *Program) error {
	b := bufio.NewWriterSize(w, 64<<10)
	b.WriteString(hostsHead)
	var line []byte
	for _, n := range p.Names {
		addr := number(n.Addr)
		for i := range n.Count {
			line = addr4(addr + i).AppendTo(line[:0])
			line = append(line, '\t')
			line = n.AppendName(line, i)
			line = append(line, '\n')
			b.Write(line)
		}
	}
	return b.Flush() // the first error of any write
}

// AppendName appends name i of the range to b.
func (n *NameRange) AppendName(b []byte, i uint32) []byte {
	b = append(b, n.Prefix...)
	if !n.Literal {
		b = appendPadded(b, n.First+uint64(i), int(n.Width))
	}
	return append(b, n.Suffix...)
}

// appendPadded appends v in decimal, with zeros in front up to width digits.
func appendPadded(b []byte, v uint64, width int) []byte {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], v, 10)
	for range width - len(d) {
		b = append(b, '0')
	}
	return append(b, d...)
}
