package topo

import (
	"math"
	"regexp"
	"strings"
)

// The grammar of the file, from the top down. Descriptions, examples and
// patterns are what an editor shows; rules are what the parser asks.

// nameLetters is the remedy for a name that is none.
const nameLetters = "use a-z, 0-9 and -, beginning with a letter"

var platform = record{
	what: "a platform",
	doc:  "A platform: everything that one topology file describes.",
	fields: concat([]field{
		{name: "platform", required: true, shape: text{
			what: "a platform's name", longest: 63, pattern: regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`),
			remedy:   "use a-z, 0-9 and -, beginning with a letter or digit",
			doc:      "Name of the platform. Platforms of different names live side by side on one machine.",
			examples: []any{"quickstart"},
		}},
		{name: "seed", standard: 1, shape: number{
			what: "a seed", max: math.MaxUint64, examples: []any{42},
			doc: "Where chance is needed, it is drawn from this number: the same seed gives the same platform.",
		}},
		{name: "fabric", standard: "ebpf", shape: text{
			what: "a fabric", words: []string{"ebpf", "bridge"},
			doc: "What forwards the vnodes' packets: eBPF programs, or plain Linux bridges for comparison.",
		}},
		{name: "attach", shape: attach},
		{name: "vnetworks", shape: table{
			what: "a mapping of vnetworks", key: networkName,
			doc: "Virtual IP networks by name. Each is a subnet, or a mapping where more is to be said.",
			of:  either{short: cidr, long: vnetwork},
		}},
		{name: "vnodes", required: true, shape: list{
			what: "a list of vnodes", of: vnodes,
			doc: "Virtual nodes. Each entry describes all vnodes of a node set; no vnode is in two entries.",
		}},
		{name: "groups", shape: table{
			what: "a mapping of groups", key: groupName, of: nodes,
			doc: "Groups by name, each a node set of vnodes and of other groups. @name stands for a group in every node set but that of a vnodes entry.",
		}},
		{name: "routing", standard: "none", shape: text{
			what: "a way of routing", words: []string{"none", "complete", "parts"},
			doc: "complete gives every vnode routes to every vnetwork through gateway vnodes. parts does so where gateways join them, and allows that they do not. none leaves it to routes.",
		}},
		{name: "routes", shape: list{
			what: "a list of routes", of: route,
			doc: "Explicit routes. They take precedence over those of complete routing to the same destination.",
		}},
	}, placePlatformFields, linkPlatformFields),
}

var vnetwork = record{
	what: "a vnetwork",
	doc:  "A virtual IP network.",
	fields: []field{
		{name: "cidr", required: true, shape: cidr},
		{name: "mtu", standard: 1500, shape: number{
			what: "a number of bytes", min: 68, max: 9000, examples: []any{9000},
			doc: "Greatest size of an IP packet, in bytes.",
		}},
		{name: "broadcast", standard: "auto", shape: text{
			what: "a broadcast mode", words: []string{"auto", "on", "off"},
			doc: "Whether broadcast and multicast frames are delivered, one copy per viface. auto: in vnetworks of at most 256 vifaces. ARP works in any case.",
		}},
		conditionsOf("Conditions of the interfaces in the vnetwork. What a vnodes entry or the interface itself says is added to it."),
	},
}

var vnodes = record{
	what: "a vnodes entry",
	doc:  "Every vnode of a node set.",
	fields: []field{
		{name: "nodes", required: true, shape: text{
			what:     "a node set",
			doc:      "Names of the vnodes, as a ClusterShell node set. A name is a host name: at most 64 characters of a-z, 0-9 and -, beginning with a letter.",
			examples: []any{"peer[1-998]", "gw[1-2]", "rack[1-4]n[01-16]"},
		}},
		{name: "vifaces", required: true, shape: list{
			what: "a list of vifaces", of: either{short: networkOf, long: viface},
			doc: "Network interfaces that every one of the vnodes has, in order: names of vnetworks, or mappings where more is to be said. [] for none.",
		}},
		{name: "groups", shape: list{
			what: "a list of group names", of: groupName,
			doc: "Groups that the vnodes are members of.",
		}},
		{name: "gateway", standard: false, shape: boolean{
			doc: "Whether the vnodes forward packets between their vifaces.",
		}},
		{name: "weight", standard: "netns", shape: text{
			what: "a weight", words: []string{"netns"}, later: []string{"container", "light"},
			doc: "What the vnodes are made of. netns: a network stack of their own on the machine's file system.",
		}},
		{name: "attach", shape: attach},
		conditionsOf("Conditions of all interfaces of the vnodes, added to those of the vnetworks."),
	},
}

var viface = record{
	what: "a viface",
	doc:  "A network interface of a vnode.",
	fields: []field{
		{name: "vnetwork", required: true, shape: networkOf},
		{name: "address", shape: text{
			what: "an IPv4 address", remedy: "write it as 10.1.0.10",
			pattern: regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3}){3}$`), explain: noIPv6, doc: "Fixed address, in an entry of one vnode only.", examples: []any{"10.1.0.10"},
		}},
		{name: "mac", shape: text{
			what: "an Ethernet address", remedy: "write it as 06:00:00:00:00:0a",
			pattern:  regexp.MustCompile(`^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`),
			doc:      "Fixed Ethernet address, in an entry of one vnode only. Those that begin with 02 belong to the platform.",
			examples: []any{"06:00:00:00:00:0a"},
		}},
		{name: "name", shape: text{
			what: "an interface name", longest: 15, pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`), reserved: []string{"lo", "all", "default"},
			remedy: "use letters, digits, _, . and -, beginning with a letter or digit",
			doc:    "Name of the interface inside the vnode. Left out, it is eth0, eth1, … by the viface's place in the list.", examples: []any{"uplink"},
		}},
		conditionsOf("Conditions of this interface, added to those of its vnetwork and its vnodes entry."),
	},
}

var route = record{
	what: "a route",
	doc:  "A route that every vnode of a node set has.",
	fields: []field{
		{name: "nodes", required: true, shape: nodes},
		{name: "to", required: true, shape: text{
			what:     "a destination",
			doc:      "Where the route leads: a vnetwork's name, a subnet, an address, or default.",
			examples: []any{"10.9.0.0/16", "wan", "default"},
		}},
		{name: "via", required: true, shape: text{
			what:     "a next hop",
			doc:      "The next hop: a gateway vnode that shares a vnetwork with each of the nodes, or an address in such a vnetwork.",
			examples: []any{"gw1", "10.1.0.1"},
		}},
	},
}

var nodes = text{
	what:     "a node set",
	doc:      "A node set over the vnodes: names, ranges, @groups, wildcards, and the operators , ! & ^.",
	examples: []any{"peer[1-10]", "@left,gw1", "@left!peer[1-5]"},
}

var cidr = text{
	what: "an IPv4 subnet", remedy: "write it as 10.1.0.0/16",
	pattern: regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$`), explain: noIPv6,
	doc: "Subnet of the vnetwork, from /8 to /30. Vnetworks that no vnode can reach both of may have the same one.", examples: []any{"10.1.0.0/16"},
}

var networkName = text{
	what: "a vnetwork's name", doc: "Name of a vnetwork.", longest: 63, pattern: regexp.MustCompile(`^[a-z][a-z0-9-]*$`), reserved: []string{"default"}, remedy: nameLetters,
}

var networkOf = text{
	what: "the name of a vnetwork", doc: "Name of the vnetwork that the interface is in.", examples: []any{"lan"},
}

var groupName = text{
	what: "a group's name", doc: "Name of a group, which node sets and commands know as @name.", longest: 63, pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`),
	remedy: "use letters, digits, _, . and -, beginning with a letter or digit", examples: []any{"left"},
}

var attach = text{
	what: "a way of attaching", words: []string{"macvlan", "veth"},
	doc: "How vifaces are joined to the fabric. macvlan (the default): nothing on the host side per vnode. veth: a device on the host side for each viface, to capture from.",
}

// noIPv6 explains what a text that is no IPv4 address or subnet seems to be.
func noIPv6(s string) (msg, remedy string) {
	if strings.Count(s, ":") >= 2 {
		return "IPv6 vnetworks are not supported yet", "give an IPv4 subnet or address"
	}
	return "", ""
}
