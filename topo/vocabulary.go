package topo

import (
	"regexp"

	"myriad/link"
)

// The grammar of what goes on between vnodes: conditions, links and schedule.

// linkFields are the fields of conditions, as the package link has them.
func linkFields() []field {
	var out []field
	for _, f := range link.Fields() {
		if f.Switch {
			out = append(out, field{name: f.Name, shape: boolean{doc: f.Doc}})
			continue
		}
		q := quantity{
			what: f.What, doc: f.Doc, pattern: regexp.MustCompile(`^(none|0|` + f.Pattern + `)$`),
			explain: func(s string) error {
				if err := f.Look(s); err != nil {
					return err
				}
				return nil
			},
		}
		for _, e := range f.Examples {
			q.examples = append(q.examples, e)
		}
		out = append(out, field{name: f.Name, shape: q})
	}
	return out
}

// profileName names a profile.
var profileName = text{
	what: "a profile's name", longest: 63, pattern: regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`),
	remedy: "use a-z, 0-9 and -", examples: []any{"lte", "dsl", "transatlantic"},
	doc: "Name of a profile, of those in profiles or of those that come with Myriad; it sets all fields. none clears them.",
}

var side = record{
	what:   "the conditions of one direction",
	doc:    "Conditions of one direction of an interface.",
	fields: append([]field{{name: "profile", shape: profileName}}, linkFields()...),
}

// sideOf is the field of a direction.
func sideOf(name, doc string) field {
	long := side
	long.doc = doc
	return field{name: name, shape: either{short: profileName, long: long}}
}

var sides = []field{
	sideOf("out", "What befalls what the vnode sends."),
	sideOf("in", "What befalls what the vnode gets."),
	sideOf("both", "The same for either direction: a delay counts twice in a round trip. out and in add to it."),
}

var conditions = record{
	what:   "link conditions",
	doc:    "What befalls all that goes through an interface, as the vnode sees it.",
	fields: append([]field{{name: "profile", shape: profileName}}, sides...),
}

// conditionsOf is the field conditions, said of something.
func conditionsOf(doc string) field {
	long := conditions
	long.doc = doc
	return field{name: "conditions", shape: either{short: profileName, long: long}}
}

var profile = record{
	what:   "a profile",
	doc:    "Conditions by a name: of an access link, with out, in or both; or of the way between two places, with the fields themselves.",
	fields: append(append([]field{{name: "profile", shape: profileName}}, sides...), linkFields()...),
}

var fileName = text{
	what: "the name of a file", pattern: regexp.MustCompile(`^` + link.FilePattern + `$`),
	remedy: "the name of a file has a dot or slash in it: write it as ./name",
}

// named is fileName with what it is the name of.
func named(what, doc string, examples ...any) text {
	t := fileName
	t.what, t.doc, t.examples = "the name of "+what, doc, examples
	return t
}

var moment = quantity{
	what: "a time", examples: []any{"10s", "1m30s", "500ms"}, pattern: regexp.MustCompile(`^(0|` + link.MomentPattern + `)$`),
	explain: func(s string) error {
		_, err := link.ParseMoment(s)
		return err
	},
}

// timeOf is the field of a time.
func timeOf(name, doc string) field {
	q := moment
	q.doc = doc
	return field{name: name, shape: q}
}

// setOf is the field of a node set.
func setOf(name, doc string) field {
	t := nodes
	t.doc = doc
	return field{name: name, shape: t}
}

// pairFields say which pairs a link is about.
var pairFields = []field{
	setOf("from", "Vnodes at one end. With to: what goes from each of these to each of those, and back unless oneway."),
	setOf("to", "Vnodes at the other end."),
	setOf("between", "Vnodes of which every pair is meant, in both directions."),
	{name: "oneway", standard: false, shape: boolean{doc: "Whether only the direction from from to to is meant."}},
}

// matrixFields say what a matrix means.
var matrixFields = []field{
	{name: "nodes", shape: nodes},
	{name: "groups", shape: list{what: "a list of group names", of: groupName, doc: "Groups of vnodes that rows and columns stand for, in order. The diagonal is for pairs within a group."}},
	{name: "unit", shape: text{what: "a unit of time", words: []string{"s", "ms", "us"}, doc: "What the numbers are counted in."}},
	{name: "values", shape: text{what: "a kind of value", words: []string{"delay", "rtt"}, doc: "What the numbers are: delay, of one direction; or rtt, round trips, of which each direction gets half."}},
	{name: "missing", standard: "error", shape: text{what: "a policy", words: []string{"error", "none"}, doc: "What becomes of entries that are empty, - or, off the diagonal, 0: error, or none: such pairs get no delay."}},
}

var matrixField = field{name: "matrix", shape: union{
	what:  "the name of a file, or a list of rows",
	text:  named("a file of a matrix", "Text file of n rows of n numbers, with tabs, commas or spaces between them; row i, column j is for what goes from i to j.", "data/planetlab.txt"),
	other: list{what: "a list of rows", doc: "Rows of a matrix: what goes from vnode or group i to j is delayed by row i, column j.", of: list{what: "a row", doc: "A row: one entry for each vnode or group.", of: cell{}}},
}}

var coordinates = list{what: "a position", doc: "Latitude and longitude, in degrees; north and east are positive.", of: decimal{
	what: "an angle", min: -180, max: 180, doc: "Degrees.", examples: []any{48.85, 2.35},
}}

var linkEntry = record{
	what: "a link",
	doc:  "Conditions of pairs of vnodes that share a vnetwork. Of several that speak of a pair, the last decides.",
	fields: concat(pairFields, []field{sitesField, {name: "profile", shape: profileName}}, linkFields(), []field{matrixField}, matrixFields, []field{
		{name: "positions", shape: union{
			what:  "the name of a file, or a mapping of positions",
			text:  named("a file of positions", "Text file of lines nodes,latitude,longitude.", "data/cities.csv"),
			other: table{what: "a mapping of positions", key: nodes, of: coordinates, doc: "Positions of vnodes on Earth, by node set. What goes from one place to another is delayed by the great circle between them."},
		}},
		{name: "speed", standard: 0.667, shape: decimal{what: "a speed", min: 0.001, max: 1, doc: "Speed of the signal, in units of that of light in vacuum. Left out, it is 2/3, as in fibre.", examples: []any{0.667}}},
		{name: "stretch", standard: 1, shape: decimal{what: "a factor", min: 1, max: 100, doc: "How much longer the way is than the great circle. Long-haul fibre is about 1.5.", examples: []any{1.5}}},
	}),
}

var step = record{
	what: "a step of the schedule",
	doc:  "A change of conditions at a time. Fields that are given change; the others stay as they are.",
	fields: concat([]field{
		timeOf("at", "When, since the platform was up."),
		conditionsOf("Conditions to change, of the interfaces of nodes."),
	}, pairFields, []field{{name: "profile", shape: profileName}}, linkFields(), []field{
		{name: "reset", shape: boolean{doc: "Back to what the rest of the file says: of nodes, of the pairs, or of everything."}},
		matrixField,
		{name: "matrices", shape: list{what: "a list of files", of: named("a file of a matrix", "File of a matrix; a node set such as slice[01-20].txt stands for several.", "data/seattle/slice[01-20].txt"),
			doc: "Matrices that follow each other, one every so often. Pairs of which one says nothing keep the delay that they have."}},
		timeOf("every", "How long each of the matrices holds."),
	}, matrixFields, []field{
		{name: "series", shape: named("a file of changes", "Text file of lines date value: a time in seconds, and the value that field has from then on.", "data/rate.txt")},
		{name: "field", shape: text{what: "a field of link conditions", words: link.FieldNames(), doc: "What the values of series are of."}},
		{name: "side", standard: "both", shape: text{what: "a direction", words: []string{"out", "in", "both"}, doc: "Direction that series or reset is about, with nodes."}},
	}),
}

// linkPlatformFields are fields of a platform.
var linkPlatformFields = []field{
	{name: "profiles", shape: table{
		what: "a mapping of profiles", key: profileName, of: profile,
		doc: "Link conditions by name, beside those that come with Myriad.",
	}},
	{name: "links", shape: list{
		what: "a list of links", of: linkEntry,
		doc: "Conditions of pairs of vnodes, in order: of several entries that speak of a pair, the last decides.",
	}},
	{name: "schedule", shape: list{
		what: "a list of steps", of: step,
		doc: "Changes of conditions while the platform is up.",
	}},
	timeOf("repeat", "After how long the schedule begins again; left out, it runs once."),
	{name: "metric", standard: "hops", shape: text{
		what: "a metric", words: []string{"hops", "delay"},
		doc: "What makes a way short, under complete routing: few gateways, or little delay of the interfaces on it.",
	}},
}

// scheduleFile is a schedule in a file of its own.
var scheduleFile = record{
	what:   "a schedule",
	doc:    "A schedule for a platform that is up.",
	fields: []field{linkPlatformFields[2], linkPlatformFields[3], linkPlatformFields[0]},
}

func concat(parts ...[]field) (out []field) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// cellForm is what an entry of a matrix looks like, if it is text.
var cellForm = regexp.MustCompile(`^(none|-|0|` + link.DelayPattern + `)$`)
