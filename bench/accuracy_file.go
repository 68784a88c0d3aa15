package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// platform is the topology file of a table, as it grows.
type platform struct {
	name    string
	top     strings.Builder // fields of the platform
	entries strings.Builder // of vnodes
}

func newPlatform(name string) *platform { return &platform{name: "accuracy-" + name} }

// field adds a field of the platform.
func (p *platform) field(format string, args ...any) { fmt.Fprintf(&p.top, format+"\n", args...) }

// vnodes adds an entry, with conditions as {delay: 5ms, loss: 1%} or "".
func (p *platform) vnodes(nodes, out, in string) {
	fmt.Fprintf(&p.entries, "  - nodes: %s\n    vifaces:\n      - vnetwork: lan\n", nodes)
	if out != "" {
		fmt.Fprintf(&p.entries, "        out: %s\n", out)
	}
	if in != "" {
		fmt.Fprintf(&p.entries, "        in: %s\n", in)
	}
}

// text is the file.
func (p *platform) text() string {
	return fmt.Sprintf("platform: %s\nvnetworks:\n  lan: 10.0.0.0/8\n%svnodes:\n%s", p.name, p.top.String(), p.entries.String())
}

// matrix writes delays, one way, as a matrix file of this instance.
func (in *instance) matrix(name string, ways [][]time.Duration) (string, error) {
	var b strings.Builder
	for _, row := range ways {
		for j, d := range row {
			if j > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(strconv.FormatInt(d.Microseconds(), 10))
		}
		b.WriteByte('\n')
	}
	return in.file(name, b.String())
}

// matrix gives the delays of a matrix file to the pairs of nodes.
func (p *platform) matrix(nodes, file string) {
	p.field("links:\n  - matrix: %s\n    nodes: %s\n    unit: us", file, nodes)
}
