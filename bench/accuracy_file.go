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
	links   strings.Builder // entries of links
}

func newPlatform(name string) *platform { return &platform{name: "accuracy-" + name} }

// vnodes adds an entry, with conditions as {delay: 5ms, loss: 1%} or "".
func (p *platform) vnodes(nodes, out, in string) {
	fmt.Fprintf(&p.entries, "  - nodes: %s\n    vifaces: [lan]\n", nodes)
	switch {
	case out != "" && in != "":
		fmt.Fprintf(&p.entries, "    conditions: {out: %s, in: %s}\n", out, in)
	case out != "":
		fmt.Fprintf(&p.entries, "    conditions: {out: %s}\n", out)
	case in != "":
		fmt.Fprintf(&p.entries, "    conditions: {in: %s}\n", in)
	}
}

// link adds an entry of links.
func (p *platform) link(format string, args ...any) {
	fmt.Fprintf(&p.links, "  - "+format+"\n", args...)
}

// text is the file.
func (p *platform) text() string {
	links := p.links.String()
	if links != "" {
		links = "links:\n" + links
	}
	return fmt.Sprintf("platform: %s\nvnetworks:\n  lan: 10.0.0.0/8\n%svnodes:\n%s%s", p.name, p.top.String(), p.entries.String(), links)
}

// matrix writes delays, one way, as a matrix file beside the topology files of
// this instance. What is less than a microsecond is cut off.
func (in *instance) matrix(name string, ways [][]time.Duration) error {
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
	_, err := in.file(name, b.String())
	return err
}

// matrixOf is the fields of a link of a matrix that in.matrix wrote.
const matrixOf = "unit: us, values: delay, missing: none"
