package graphml

import (
	"math"
	"strconv"
	"strings"
	"time"

	"myriad/link"
)

// check reports what cannot be a unit.
func (n *Names) check(ps *problems) {
	if _, ok := rateUnits[strings.ToLower(n.RateUnit)]; !ok && n.RateUnit != "" {
		ps.report(place{}, "rate unit", "use bit, kbit, Mbit or Gbit", "%s is not known", quote(n.RateUnit))
	}
	if _, ok := delayUnits[n.DelayUnit]; !ok && n.DelayUnit != "" {
		ps.report(place{}, "delay unit", "use us, ms or s", "%s is not known", quote(n.DelayUnit))
	}
}

// The usual names of attributes, in the order in which they are looked for.
var (
	labelNames     = []string{"label", "name"}
	latitudeNames  = []string{"latitude", "lat"}
	longitudeNames = []string{"longitude", "lon", "lng", "long"}
	hintNames      = []string{"geocode_name", "city"}
	areaNames      = []string{"geocode_append", "geocode_extent", "geocode_country", "country", "state"}
)

// usual is the name that the user gives, or else the usual ones.
func usual(given string, names []string) []string {
	if given != "" {
		return []string{given}
	}
	return names
}

// connect resolves the ends of edges. A hyperedge of two ends is an edge; of
// more, a joint with an edge to each.
func (r *reader) connect() {
	for _, e := range r.edges {
		if e.ends == nil {
			e.ends = []endpoint{{e.place, e.source}, {e.place, e.target}}
		} else if len(e.ends) < 2 {
			r.report(e.place, "hyperedge", "leave it out", "it has fewer than two ends")
			continue
		}
		at := make([]int, 0, len(e.ends))
		for _, end := range e.ends {
			i, ok := r.ids[end.node]
			if !ok {
				r.report(end.place, "edge", "correct it, or describe the node", "no node has the id %s", quote(end.node))
				continue
			}
			at = append(at, i)
		}
		switch {
		case len(at) < len(e.ends):
		case len(at) == 2:
			r.graph.Edges = append(r.graph.Edges, Edge{From: at[0], To: at[1], Line: e.line})
			e.ends = nil
		default:
			r.star(e, at)
		}
	}
}

// star adds a joint in the middle of some nodes.
func (r *reader) star(e *raw, ends []int) {
	joint := len(r.nodes)
	r.nodes = append(r.nodes, &raw{place: e.place, id: "hyperedge in line " + strconv.Itoa(e.line), ends: e.ends})
	for _, i := range ends {
		r.graph.Edges = append(r.graph.Edges, Edge{From: i, To: joint, Line: e.line})
	}
}

// interpret reads the values of nodes and edges. Edges of the graph are in the
// order of r.edges, those of a hyperedge side by side.
func (r *reader) interpret(names Names) {
	r.mustExist(names)
	r.graph.Name, _ = r.value(r.data, []string{"network"})
	r.graph.Where, _ = r.value(r.data, []string{"geolocation"})
	for _, n := range r.nodes {
		r.graph.Nodes = append(r.graph.Nodes, r.readNode(n, &names))
	}
	i := 0
	for _, e := range r.edges {
		for line := e.line; i < len(r.graph.Edges) && r.graph.Edges[i].Line == line; i++ {
			r.readEdge(&r.graph.Edges[i], e, &names)
			if e.ends == nil {
				i++
				break
			}
		}
	}
}

// mustExist reports attributes that the user names and nothing has.
func (r *reader) mustExist(names Names) {
	for _, name := range []string{names.Label, names.Latitude, names.Longitude, names.Rate, names.Delay} {
		found := name == ""
		for id, k := range r.keys {
			found = found || strings.EqualFold(k.name, name) || id == name
		}
		if !found {
			r.report(place{}, "", "look for its attr.name among the key elements", "no node or edge has an attribute called %s", quote(name))
		}
	}
}

// value finds the attribute that has the first of some names.
func (r *reader) value(data []datum, names []string) (string, place) {
	for _, name := range names {
		for _, d := range data {
			k := r.keys[d.key]
			if d.key == name || k != nil && strings.EqualFold(k.name, name) {
				return d.value, d.place
			}
		}
	}
	return "", place{}
}

// valueOf is value for a node or an edge; it falls back to the default.
func (r *reader) valueOf(n *raw, names ...string) (string, place) {
	v, at := r.value(n.data, names)
	for i := 0; v == "" && i < len(names); i++ {
		v, at = r.standard[strings.ToLower(names[i])], n.place
	}
	return v, at
}

func (r *reader) readNode(n *raw, names *Names) Node {
	out := Node{ID: n.id, Line: n.line, X: n.x, Y: n.y, Drawn: n.drawn, Group: n.group, Joint: n.ends != nil}
	if out.Label, _ = r.value(n.data, usual(names.Label, labelNames)); out.Label == "" && names.Label == "" {
		out.Label = n.label
	}
	for _, name := range hintNames {
		if hint, _ := r.value(n.data, []string{name}); hint != "" {
			out.Hints = append(out.Hints, hint)
		}
	}
	for _, name := range areaNames {
		if area, _ := r.value(n.data, []string{name}); area != "" {
			out.Areas = append(out.Areas, area)
		}
	}
	internal, at := r.valueOf(n, "internal")
	out.External = internal != "" && !r.truth(internal, at, "Internal")
	joint, at := r.valueOf(n, "hyperedge")
	out.Joint = out.Joint || joint != "" && r.truth(joint, at, "hyperedge")
	r.locate(&out, n, names)
	return out
}

// truth reads a boolean.
func (r *reader) truth(s string, at place, field string) bool {
	switch strings.ToLower(s) {
	case "true", "1", "yes":
		return true
	case "false", "0", "no":
		return false
	}
	r.report(at, field, "write true or false", "%s is neither true nor false", quote(s))
	return false
}

// locate reads the coordinates of a node.
func (r *reader) locate(out *Node, n *raw, names *Names) {
	north, atNorth := r.valueOf(n, usual(names.Latitude, latitudeNames)...)
	east, atEast := r.valueOf(n, usual(names.Longitude, longitudeNames)...)
	if north == "" && east == "" {
		return
	}
	if north == "" || east == "" {
		r.report(n.place, "node "+clip(n.id), "give both, or neither", "it has only one of latitude and longitude")
		return
	}
	latitude, ok := r.degrees(north, atNorth, "latitude", 90)
	longitude, ok2 := r.degrees(east, atEast, "longitude", 180)
	out.At, out.Located = link.Position{Latitude: latitude, Longitude: longitude}, ok && ok2
}

// degrees reads a number of degrees.
func (r *reader) degrees(s string, at place, field string, most float64) (float64, bool) {
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || math.IsNaN(v):
		r.report(at, field, "write degrees, such as 51.5", "%s is not a number", quote(s))
	case v < -most || v > most:
		r.report(at, field, "write degrees, such as 51.5", "%s is not between -%g and %g", quote(s), most, most)
	default:
		return v, true
	}
	return 0, false
}

// readEdge reads the values of an edge. What states a rate in words only may
// say anything, so what is not understood there is no error; what the user
// named, or what is called a speed, must be one.
func (r *reader) readEdge(out *Edge, e *raw, names *Names) {
	if out.Label, _ = r.value(e.data, []string{"linklabel", "label"}); out.Label == "" {
		out.Label = e.label
	}
	if names.Delay != "" {
		if s, at := r.valueOf(e, names.Delay); s != "" {
			out.Delay, out.HasDelay = r.delay(s, at, names)
		}
	}
	if names.Rate != "" {
		if s, at := r.valueOf(e, names.Rate); s != "" {
			out.Rate = r.rate(s, at, names)
		}
		return
	}
	if s, at := r.value(e.data, []string{"linkspeedraw"}); s != "" {
		out.Rate = r.rate(s, at, &Names{Rate: "LinkSpeedRaw"})
	} else if s, at := r.value(e.data, []string{"linkspeed"}); s != "" {
		unit, _ := r.value(e.data, []string{"linkspeedunits"})
		out.Rate = r.rate(strings.TrimLeft(s, "<~ ")+unit, at, &Names{Rate: "LinkSpeed"})
	} else {
		out.Rate, _ = rateIn(out.Label)
	}
}

func (r *reader) rate(s string, at place, names *Names) uint64 {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		v *= rateUnits[strings.ToLower(names.RateUnit)]
		if !(v >= 0 && v <= maxRate) {
			r.report(at, names.Rate, "give the unit of bare numbers", "%s is not between 0 and 1 Tbit/s", quote(s))
			return 0
		}
		return uint64(math.Round(v))
	}
	rate, ok := rateIn(s)
	if !ok {
		r.report(at, names.Rate, "write it as 10 Gbit/s, or OC-192", "%s is not a rate", quote(s))
	}
	return rate
}

var delayUnits = map[string]time.Duration{"us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond, "s": time.Second}

// delay reads a delay: with a unit, or in the one that the user gives.
func (r *reader) delay(s string, at place, names *Names) (time.Duration, bool) {
	digits := strings.TrimRight(s, "µmnus \u00a0μ")
	unit := strings.ReplaceAll(strings.TrimSpace(s[len(digits):]), "μ", "µ")
	if unit == "" {
		unit = names.DelayUnit
	}
	v, err := strconv.ParseFloat(digits, 64)
	scale, known := delayUnits[unit]
	if unit == "ns" {
		scale, known = 1, true
	}
	switch {
	case err != nil || math.IsNaN(v):
		r.report(at, names.Delay, "write it as 20ms", "%s is not a delay", quote(s))
	case unit == "":
		r.report(at, names.Delay, "say what the unit of bare numbers is: us, ms or s", "%s has no unit", quote(s))
	case !known:
		r.report(at, names.Delay, "use us, ms or s", "%s is not a unit of time", quote(unit))
	case v < 0 || v*float64(scale) > float64(link.MaxDelay):
		r.report(at, names.Delay, "correct it", "%s is not between 0 and 15 minutes", quote(s))
	default:
		return time.Duration(math.Round(v * float64(scale))), true
	}
	return 0, false
}
