package topo

// checkComplete reports what stands in the way of complete routing: gateways
// that join nothing, vnetworks that nothing joins, and subnets that routes
// could not tell apart. Vnetworks without vifaces need no routes.
func (b *builder) checkComplete() {
	const without = ", or leave out routing: complete"
	var used []int
	for i, n := range b.networks {
		if n.vifaces > 0 {
			used = append(used, i)
		}
	}
	b.clashes(used, func(x, y *network) {
		b.report(y.cidrAt, "give one of them another subnet"+without,
			"%s (%s) and %s (%s) overlap, so complete routing cannot lead to both", x.Name, x.Subnet, y.Name, y.Subnet)
	})

	joined := newPartition(len(b.networks))
	certain := b.allKnown
	for _, t := range b.templates {
		certain = certain && t.sound
		if !t.Gateway || !t.sound {
			continue
		}
		if len(t.Vifaces) < 2 {
			b.report(t.at, "give it a viface in another vnetwork, or leave out gateway: true",
				"%s: a gateway in fewer than two vnetworks has nothing to join", clip(t.Nodes.String()))
		}
		for i := 1; i < len(t.Vifaces); i++ {
			joined.join(t.Vifaces[0].Network, t.Vifaces[i].Network)
		}
	}
	if !certain || b.topo.Parts {
		return
	}
	seen := map[int]bool{}
	for _, i := range used {
		if root := joined.root(i); !seen[root] {
			seen[root] = true
			if x, y := b.networks[used[0]], b.networks[i]; len(seen) > 1 {
				b.report(y.at, "add a vnode with gateway: true and vifaces: ["+x.Name+", "+y.Name+"]"+without,
					"no gateway vnodes join %s and %s, directly or by way of others", x.Name, y.Name)
			}
		}
	}
}

// partition is a disjoint-set forest: for each element, its parent.
type partition []int

func newPartition(n int) partition {
	p := make(partition, n)
	for i := range p {
		p[i] = i
	}
	return p
}

func (p partition) root(i int) int {
	for p[i] != i {
		p[i] = p[p[i]]
		i = p[i]
	}
	return i
}

func (p partition) join(i, j int) { p[p.root(i)] = p.root(j) }
