package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"myriad/nodeset"
)

// Reason says why a pnode carries as many vnodes as it does.
type Reason struct {
	Pnode  string      `json:"pnode"`
	Vnodes int         `json:"vnodes"`
	Rules  []RuleCount `json:"rules"`
	// Limit is the limit of the topology that it has reached; empty if none.
	Limit string `json:"limit,omitempty"`
}

// RuleCount is how many of a pnode's vnodes are there by a rule.
type RuleCount struct {
	Rule   string `json:"rule"`
	Vnodes int    `json:"vnodes"`
}

// Reasons explains a plan, a row for each pnode, by number.
type Reasons []Reason

// Explain says why vnodes are where they are. It is known only to a plan that
// Make has made: one that was read back has none.
func (p *Plan) Explain() Reasons { return p.why }

// reasons counts why vnodes are where they are.
func (z *placer) reasons() Reasons {
	counts := make([][rules]int, len(z.pnodes))
	for i, p := range z.at {
		counts[p][z.why[i]]++
	}
	var out Reasons
	one := z.least(nil)
	one.vifaces, one.memory = 0, 0
	for k := range z.costs {
		one.vifaces, one.memory = max(one.vifaces, z.costs[k].vifaces), max(one.memory, z.costs[k].memory)
	}
	for p := range z.pnodes {
		if z.pnodes[p].Name == "" {
			continue
		}
		r := Reason{Pnode: z.pnodes[p].Name, Vnodes: z.load[p].vnodes}
		for k, n := range counts[p] {
			if n > 0 {
				r.Rules = append(r.Rules, RuleCount{ruleNames[k], n})
			}
		}
		if name := z.over(p, &one, z.most); name != "" {
			r.Limit = "at its " + z.limitText(p, name)
		}
		out = append(out, r)
	}
	return out
}

// says is what a reason says, but for the pnode.
func (r *Reason) says() string {
	var parts []string
	for _, k := range r.Rules {
		parts = append(parts, fmt.Sprintf("%d %s", k.Vnodes, k.Rule))
	}
	if len(r.Rules) == 1 {
		parts[0] = r.Rules[0].Rule
	}
	if r.Limit != "" {
		parts = append(parts, r.Limit)
	}
	text := count(r.Vnodes, "vnode")
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

// shownReasons is how many groups of pnodes String lists.
const shownReasons = 20

// String is the reasons for people: a line for each group of pnodes of which
// the same is said, those with most vnodes first.
func (rs Reasons) String() string {
	type group struct {
		says   string
		vnodes int
		names  []string
	}
	var groups []*group
	byText := map[string]*group{}
	for i := range rs {
		text := rs[i].says()
		g := byText[text]
		if g == nil {
			g = &group{says: text, vnodes: rs[i].Vnodes}
			byText[text] = g
			groups = append(groups, g)
		}
		g.names = append(g.names, rs[i].Pnode)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(b.vnodes, a.vnodes) })
	var b strings.Builder
	rest := 0
	for k, g := range groups {
		if k >= shownReasons && len(groups) > shownReasons+1 {
			rest += len(g.names)
			continue
		}
		each := ""
		if len(g.names) > 1 {
			each = "each "
		}
		fmt.Fprintf(&b, "  %s: %s%s\n", clip(nodeset.Of(g.names...).String()), each, g.says)
	}
	if rest > 0 {
		fmt.Fprintf(&b, "  and %s\n", count(rest, "other pnode"))
	}
	return b.String()
}
