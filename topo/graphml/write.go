package graphml

import (
	"fmt"
	"path/filepath"
	"strings"

	"myriad/link"
)

// Topology writes the graph as a topology file, and counts what became of it.
// What cannot be done with the options is an Errors value.
func (g *Graph) Topology(o Options) ([]byte, *Summary, error) {
	n := g.build(o)
	if err := n.err(); err != nil {
		return nil, nil, err
	}
	w := writer{network: n}
	w.head()
	w.vnetworks()
	w.vnodes()
	return []byte(w.String()), &n.s, nil
}

// writer writes YAML.
type writer struct {
	*network
	strings.Builder
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...)
}

// comment keeps what the file says to one line.
func comment(s string) string {
	return clip(printable(strings.Join(strings.Fields(s), " ")))
}

func (w *writer) head() {
	title := comment(w.Name)
	if file := filepath.Base(w.o.File); w.o.File != "" && title != "" {
		title += " (" + comment(file) + ")"
	} else if w.o.File != "" {
		title = comment(file)
	}
	if title == "" {
		title = "A network"
	}
	w.line("# %s, imported from GraphML: %s, %s, %s.", title, plural(w.s.Routers, "router"), plural(w.s.Links, "link"), plural(w.s.Hosts, "host"))
	w.line("#")
	w.line("# Each link is a vnetwork of its own, which delays either direction by")
	if stated := w.stated(); stated == len(w.links) && stated > 0 {
		w.line("# what the file states.")
	} else {
		w.line("# the time that light takes in fibre (2/3 c), along a great circle%s%s.", w.stretched(), map[bool]string{true: ",\n# or by what the file states"}[stated > 0])
	}
	for _, note := range w.s.Notes {
		w.line("# Note: %s.", note)
	}
	w.line("")
	w.line("platform: %s", quoted(platformName(w.o.Platform, w.Name, w.o.File)))
	if w.s.Parts > 1 {
		w.line("routing: parts     # complete, but there is no way from one to another")
	} else {
		w.line("routing: complete")
	}
	w.line("metric: delay      # of two ways, the faster one")
}

// stated counts the links whose delay the file states.
func (w *writer) stated() (n int) {
	for _, l := range w.links {
		if l.how == byFile {
			n++
		}
	}
	return n
}

func (w *writer) stretched() string {
	if w.o.Stretch == 0 || w.o.Stretch == 1 {
		return ""
	}
	return fmt.Sprintf(" and %g times as long", w.o.Stretch)
}

func (w *writer) vnetworks() {
	w.line("")
	if w.s.Vnetworks == 0 {
		w.line("vnetworks: {}")
		return
	}
	w.line("vnetworks:")
	if w.s.Hosts > 0 {
		w.line("  # of routers and their hosts, without delay")
	}
	for _, r := range w.routers {
		if r.lan != "" {
			w.line("  %s: %s", quoted(r.name), r.lan)
		}
	}
	if len(w.links) > 0 {
		w.line("  # of links")
	}
	for _, l := range w.links {
		w.link(&l)
	}
}

func (w *writer) link(l *wire) {
	var out []string
	if l.delay > 0 {
		out = append(out, "delay: "+link.FormatDelay(l.delay))
	}
	if l.rate > 0 {
		out = append(out, "rate: "+link.FormatRate(l.rate))
	}
	text := l.subnet
	if len(out) > 0 {
		text = fmt.Sprintf("{cidr: %s, conditions: {out: {%s}}}", l.subnet, strings.Join(out, ", "))
	}
	var said []string
	switch l.how {
	case byPlace:
		said = append(said, fmt.Sprintf("%.0f km", l.km))
	case byDefault:
		said = append(said, "of unknown length")
	}
	if len(l.edges) > 1 {
		said = append(said, plural(len(l.edges), "edge"))
	}
	if label := comment(w.Edges[l.edges[0]].Label); label != "" {
		said = append(said, label)
	}
	if len(said) > 0 {
		text += "   # " + strings.Join(said, "; ")
	}
	w.line("  %s: %s", l.name, text)
}

func (w *writer) vnodes() {
	w.line("")
	w.line("vnodes:")
	for i := range w.routers {
		w.oneRouter(&w.routers[i])
	}
}

func (w *writer) oneRouter(r *router) {
	var vifaces []string
	if r.lan != "" {
		vifaces = append(vifaces, quoted(r.name))
	}
	for _, l := range r.links {
		vifaces = append(vifaces, w.links[l].name)
	}
	w.line("  # %s", w.describe(r))
	w.line("  - nodes: %s", quoted(r.name))
	if len(vifaces) > 1 {
		w.line("    gateway: true")
	}
	w.line("    groups: [%s]", strings.Join(w.groups(r), ", "))
	w.line("    vifaces: [%s]", strings.Join(vifaces, ", "))
	if r.hosts == 0 {
		return
	}
	hosts := r.name + "-h1"
	if r.hosts > 1 {
		hosts = fmt.Sprintf("%s-h[1-%d]", r.name, r.hosts)
	}
	w.line("  - {nodes: \"%s\", groups: [hosts], vifaces: [%s]}", hosts, quoted(r.name))
}

// groups gives the groups that a router is in.
func (w *writer) groups(r *router) []string {
	out := []string{"routers"}
	if w.Nodes[r.node].External {
		out = append(out, "external")
	}
	if w.Nodes[r.node].Joint {
		out = append(out, "joints")
	}
	return out
}

// describe says what a node was, and where.
func (w *writer) describe(r *router) string {
	n := w.Nodes[r.node]
	what := comment(n.Label)
	if what == "" {
		what = comment(n.ID)
	}
	if n.Joint {
		what += ", where links meet"
	}
	if n.External {
		what += ", of another network"
	}
	at := w.p.at[r.node]
	switch w.p.source[r.node] {
	case given:
		return fmt.Sprintf("%s, at %g, %g", what, at.Latitude, at.Longitude)
	case known:
		return fmt.Sprintf("%s, at %g, %g by its name", what, at.Latitude, at.Longitude)
	case fitted:
		return fmt.Sprintf("%s, at %g, %g by the drawing", what, at.Latitude, at.Longitude)
	case interpolated:
		return fmt.Sprintf("%s, at %g, %g between its neighbours", what, at.Latitude, at.Longitude)
	}
	return what + ", at an unknown place"
}

// quoted keeps YAML from reading a name as something else.
func quoted(name string) string {
	switch name {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return `"` + name + `"`
	}
	return name
}
