package topo

import (
	"math"
	"regexp"

	"myriad/link"
)

// The grammar of what is on which pnode, and how pnodes are joined.

var siteName = text{
	what: "a site's name", longest: 63, pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`), remedy: "use letters, digits, _, . and -, beginning with a letter or digit",
	doc: "Name of a site, as agents are told theirs (myriad agent --site).", examples: []any{"paris"},
}

var overlayKind = text{
	what: "a kind of overlay", words: []string{"unicast", "multicast"},
	doc: "How frames get from pnode to pnode. unicast (the default): a tunnel to each other pnode, without learning or flooding. multicast: a multicast group for each vnetwork, as in 2014, for comparison; with fabric: bridge only.",
}

var overlay = record{
	what: "an overlay",
	doc:  "How frames get from pnode to pnode.",
	fields: []field{
		{name: "kind", standard: "unicast", shape: overlayKind},
		{name: "port", standard: 4789, shape: number{
			what: "a UDP port", min: 1, max: math.MaxUint16, examples: []any{4789},
			doc: "UDP port of the tunnels, which must be open between the pnodes.",
		}},
		{name: "encryption", standard: "none", shape: text{
			what: "a degree of encryption", words: encryptionNames,
			doc: "Which frames between pnodes are encrypted, by WireGuard: none, those between sites, or all.",
		}},
	},
}

var policyField = text{
	what: "a policy", words: policyNames,
	doc: "spread (the default): each pnode carries its share, by memory and CPUs. pack: as few pnodes as will do. links: shares, with vnodes that short delays join on one pnode.",
}

// setsOf is the field of a list of node sets.
func setsOf(name, doc string) field {
	return field{name: name, shape: list{what: "a list of node sets", doc: doc, of: nodes}}
}

var pin = record{
	what: "a place",
	doc:  "Where some vnodes go.",
	fields: []field{
		{name: "nodes", required: true, shape: nodes},
		{name: "pnodes", shape: text{
			what: "a node set", doc: "Names of pnodes, as a node set: the vnodes go to these.", examples: []any{"big[1-4]"},
		}},
		{name: "site", shape: siteName},
	},
}

var placeLimits = record{
	what: "limits of pnodes",
	doc:  "How much of the platform each pnode carries at most.",
	fields: []field{
		{name: "vnodes", shape: number{what: "a number of vnodes", min: 1, max: MaxVnodes, examples: []any{1000}, doc: "Vnodes of each pnode."}},
		{name: "vnodes-per-core", shape: number{what: "a number of vnodes", min: 1, max: MaxVnodes, examples: []any{100}, doc: "Vnodes for each CPU of a pnode."}},
		{name: "memory", shape: text{
			what: "an amount of memory", pattern: memoryForm, remedy: "write it as 50% or 16GB",
			doc: "What the vnodes of a pnode take of its memory, as estimated: a share of it, or bytes.", examples: []any{"50%", "16GB"},
		}},
		{name: "vifaces", shape: number{what: "a number of vifaces", min: 1, max: 1 << 28, examples: []any{2000}, doc: "Vifaces of the vnodes of each pnode."}},
	},
}

var memoryForm = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,3})?(%|[kMGT]i?B)$`)

var placement = record{
	what: "a placement",
	doc:  "On which pnodes the vnodes go.",
	fields: []field{
		{name: "policy", standard: "spread", shape: policyField},
		setsOf("together", "Node sets of vnodes: those of each are all on one pnode."),
		setsOf("apart", "Node sets of vnodes: no two of one are on the same pnode."),
		{name: "at", shape: list{what: "a list of places", of: pin, doc: "Vnodes that go to certain pnodes, or to those of a site."}},
		{name: "limits", shape: placeLimits},
		{name: "loss", standard: "fail", shape: text{
			what: "a policy", words: lossNames,
			doc: "What becomes of the platform when a pnode is lost. fail: that is an error until the pnode is back. continue: the others go on without. replace: its vnodes come up again on others.",
		}},
	},
}

// placePlatformFields are fields of a platform.
var placePlatformFields = []field{
	{name: "overlay", shape: either{short: overlayKind, long: overlay}},
	{name: "placement", shape: either{short: policyField, long: placement}},
}

var sitesField = field{name: "sites", shape: list{
	what: "a list of sites", of: siteName,
	doc: "Sites: every pair of vnodes whose pnodes are at different ones of them is meant, in both directions unless oneway. With one site: the pairs inside of it.",
}}

var aboutSites = append([]string{"sites", "oneway", "profile"}, link.FieldNames()...)
