package plan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myriad/link"
	"myriad/nodeset"
	"myriad/topo"
)

// placements draws rules for the vnodes of flat(n), and pnodes.
func drawPlacement(t *rapid.T, n int) topo.Placement {
	p := topo.Placement{Policy: rapid.SampledFrom([]topo.Policy{topo.PolicySpread, topo.PolicyPack, topo.PolicyLinks}).Draw(t, "policy")}
	set := func(most int) *nodeset.Set {
		rows := rapid.SliceOfNDistinct(rapid.IntRange(1, n), min(2, n), min(most, n), rapid.ID).Draw(t, "set")
		names := make([]string, len(rows))
		for i, r := range rows {
			names[i] = fmt.Sprintf("peer%d", r)
		}
		return nodeset.Of(names...)
	}
	for range rapid.IntRange(0, 2).Draw(t, "together") {
		p.Together = append(p.Together, set(6))
	}
	for range rapid.IntRange(0, 2).Draw(t, "apart") {
		p.Apart = append(p.Apart, set(3))
	}
	for range rapid.IntRange(0, 2).Draw(t, "at") {
		pin := topo.Pin{Nodes: set(8), Site: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "site")}
		if rapid.Bool().Draw(t, "by name") {
			pin.Pnodes, pin.Site = nodeset.Of(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"p1", "p2", "p3", "p10"}), 1, 3, rapid.ID).Draw(t, "pnodes")...), ""
		}
		p.At = append(p.At, pin)
	}
	if rapid.IntRange(0, 2).Draw(t, "limits") == 0 {
		p.Limits = topo.Limits{Vnodes: rapid.IntRange(n/4+1, n+1).Draw(t, "most"), Vifaces: rapid.SampledFrom([]int{0, n/3 + 1}).Draw(t, "vifaces")}
	}
	return p
}

func drawPnodes(t *rapid.T) []Pnode {
	pnodes := pnodeLists().Draw(t, "pnodes")
	for i := range pnodes {
		pnodes[i].Site = rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "at")
	}
	return pnodes
}

// broken says which rule of a placement a plan breaks; "" if none.
func broken(p *Plan, rules *topo.Placement) string {
	of := func(name string) (int, Pnode) {
		at, ok := p.Find(name)
		if !ok {
			panic(name)
		}
		return at.Pnode, p.pnodes[at.Pnode]
	}
	for _, s := range rules.Together {
		first, _ := of(s.Min())
		for name := range s.All() {
			if n, _ := of(name); n != first {
				return fmt.Sprintf("%s are not together", s)
			}
		}
	}
	for _, s := range rules.Apart {
		seen := map[int]bool{}
		for name := range s.All() {
			n, _ := of(name)
			if seen[n] {
				return fmt.Sprintf("%s are not apart", s)
			}
			seen[n] = true
		}
	}
	for _, pin := range rules.At {
		for name := range pin.Nodes.All() {
			if _, at := of(name); pin.Pnodes != nil && !pin.Pnodes.Contains(at.Name) || pin.Pnodes == nil && at.Site != pin.Site {
				return fmt.Sprintf("%s is on %s, not at %s%s", name, at.Name, pin.Pnodes, pin.Site)
			}
		}
	}
	for i := range p.pnodes {
		n := p.VnodesOn(i)
		if most := rules.Limits.Vnodes; most > 0 && n > most {
			return fmt.Sprintf("%d vnodes on %s, at most %d can be", n, p.pnodes[i].Name, most)
		}
		if most := rules.Limits.Vifaces; most > 0 && n > most { // each has one
			return fmt.Sprintf("%d vifaces on %s, at most %d can be", n, p.pnodes[i].Name, most)
		}
	}
	return ""
}

// mustPlace plans, and checks that what comes of it is sound, keeps to the
// rules and has the same bytes however often and in whatever order of pnodes
// it is made. It is nil where there is no such plan.
func mustPlace(t *rapid.T, to *topo.Topology, pnodes []Pnode, previous *Plan) *Plan {
	t.Helper()
	p, err := Make(to, pnodes, Options{Previous: previous})
	turned := slices.Clone(pnodes)
	slices.Reverse(turned)
	again, errAgain := Make(to, turned, Options{Previous: previous})
	if err != nil {
		if errAgain == nil || err.Error() != errAgain.Error() || !strings.Contains(err.Error(), "place ") {
			t.Fatalf("refused: %v\nand then: %v", err, errAgain)
		}
		return nil
	}
	mustBeSound(t, p)
	if errAgain != nil || !bytes.Equal(p.Encode(), again.Encode()) || p.Explain().String() != again.Explain().String() {
		t.Fatalf("planned again, it is another (%v)", errAgain)
	}
	if text := broken(p, &to.Placement); text != "" {
		t.Fatal(text)
	}
	sum := 0
	for _, r := range p.Explain() {
		for _, k := range r.Rules {
			sum += k.Vnodes
		}
	}
	if sum != p.Len() {
		t.Fatalf("%d of %d vnodes are explained", sum, p.Len())
	}
	return p
}

// Every vnode is placed once and by the rules; vnodes stay where they are when
// pnodes join or leave, and go back nowhere.
func TestPlacement(t *testing.T) {
	refused, placed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(t, "vnodes")
		to := flat(n)
		to.Placement = drawPlacement(t, n)
		pnodes := drawPnodes(t)
		p := mustPlace(t, to, pnodes, nil)
		if p == nil {
			refused++
			return
		}
		placed++
		if q := mustPlace(t, to, pnodes, p); q == nil || moves(p, q) != 0 {
			t.Fatal("with nothing changed, vnodes move")
		}
		more := append(slices.Clone(pnodes), Pnode{Name: "new", Address: addressOf("new"), Site: "a"})
		if q := mustPlace(t, to, more, p); q == nil || moves(p, q) != 0 {
			t.Fatal("a pnode joins, and vnodes move")
		}
		gone := rapid.IntRange(0, len(pnodes)-1).Draw(t, "gone")
		less := slices.Delete(slices.Clone(pnodes), gone, gone+1)
		if len(less) == 0 {
			return
		}
		// Without limits there is room for everybody, and nobody else moves.
		number, _ := p.PnodeNumber(pnodes[gone].Name)
		if q := mustPlace(t, to, less, p); q != nil && to.Placement.Limits == (topo.Limits{}) && moves(p, q) != p.VnodesOn(number) {
			t.Fatalf("%d vnodes move, of a pnode that had %d", moves(p, q), p.VnodesOn(number))
		}
	})
	if placed < 20 || refused == 0 {
		t.Errorf("%d plans and %d refusals say little", placed, refused)
	}
}

// moves counts the vnodes that are elsewhere: on another pnode, or in another
// slot.
func moves(p, q *Plan) (n int) {
	for i, name := range p.Names() {
		a, b := p.placement(i), Placement{}
		b, _ = q.Find(name)
		if p.pnodes[a.Pnode].Name != q.pnodes[b.Pnode].Name || a.Rack != b.Rack || a.Slot != b.Slot {
			n++
		}
	}
	return n
}

// What must make room does, and no more than that.
func TestMakesRoom(t *testing.T) {
	to := flat(20)
	to.Placement.Limits.Vnodes = 10
	pnodes := named("p1", "p2", "p3")
	p, err := Make(to, pnodes[:2], Options{})
	if err != nil {
		t.Fatal(err)
	}
	to.Placement.At = []topo.Pin{{Nodes: mustParse("peer[18-20]"), Pnodes: nodeset.Of("p1")}}
	q, err := Make(to, pnodes, Options{Previous: p})
	if err != nil {
		t.Fatal(err)
	}
	if text := broken(q, &to.Placement); text != "" || moves(p, q) != 6 {
		t.Errorf("%d vnodes move, want 3 and 3 that made room: %s\n%s", moves(p, q), text, where(q))
	}
	to.Placement.At = nil
	to.Placement.Together = []*nodeset.Set{mustParse("peer[9-12]")}
	if q, err = Make(to, pnodes, Options{Previous: p}); err != nil {
		t.Fatal(err)
	}
	// Where most are there is no room, so all go where there is.
	if text := broken(q, &to.Placement); text != "" || moves(p, q) != 4 {
		t.Errorf("%d vnodes move, want 4: %s\n%s", moves(p, q), text, where(q))
	}
}

// Pack uses few pnodes, and what it fills them with is what they can carry.
func TestPack(t *testing.T) {
	to := flat(1000)
	to.Placement.Policy = topo.PolicyPack
	pnodes := named("p1", "p2", "p3", "p4")
	used := func(p *Plan, err error) (n int) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.pnodes {
			if p.VnodesOn(i) > 0 {
				n++
			}
		}
		return n
	}
	if n := used(Make(to, pnodes, Options{})); n != 1 {
		t.Errorf("nothing is known of the pnodes, and %d carry vnodes", n)
	}
	for i := range pnodes {
		pnodes[i].Memory = 300 << 20 // for about 500
	}
	p, err := Make(to, pnodes, Options{})
	if n := used(p, err); n < 2 || n > 3 || p.Forecast().Breaks() != nil {
		t.Errorf("%d pnodes carry vnodes\n%s%s", n, where(p), p.Forecast())
	}
	to = flat(10_000) // does not fit: shared, and the forecast says so
	to.Placement.Policy = topo.PolicyPack
	if p, err = Make(to, pnodes, Options{}); used(p, err) != 4 || p.Forecast().Breaks() == nil {
		t.Errorf("too much for all\n%s%s", where(p), p.Forecast())
	}
}

// circles is vnodes of which every k-th are near each other: 1 ms, and 50 ms
// to all others.
func circles(n, k int) *topo.Topology {
	to := flat(n)
	all := to.Vnodes[0].Nodes
	to.Links = []topo.LinkRule{{From: all, To: all, Conditions: &link.Conditions{Delay: 50 * time.Millisecond}}}
	for c := range k {
		var names []string
		for i := c; i < n; i += k {
			names = append(names, fmt.Sprintf("peer%d", i+1))
		}
		set := nodeset.Of(names...)
		to.Links = append(to.Links, topo.LinkRule{From: set, To: set, Conditions: &link.Conditions{Delay: time.Millisecond}})
	}
	return to
}

// cut is how many of the pairs with a delay below limit are on two pnodes, in
// percent.
func cut(t *testing.T, to *topo.Topology, pnodes []Pnode, policy topo.Policy, limit time.Duration) (percent float64) {
	t.Helper()
	to.Placement.Policy = policy
	p, err := Make(to, pnodes, Options{})
	if err != nil {
		t.Fatal(err)
	}
	near, apart := 0, 0
	for i := range p.Len() {
		for j := range p.Len() {
			p.eachShared(i, j, func(network int, x, y uint32) {
				n := p.networks[network].ID
				if i == j || p.links.PairCondition(p.links.Word(n, p.host[x], p.host[y])).Delay >= limit {
					return
				}
				near++
				if p.pnode[i] != p.pnode[j] {
					apart++
				}
			})
		}
	}
	return 100 * float64(apart) / float64(near)
}

// Policy links keeps near vnodes on one pnode, where spread does not.
func TestLinksPolicy(t *testing.T) {
	pnodes := named("p1", "p2", "p3", "p4")
	wan := exampleTopology(t, "wan.yaml")
	planetlab := exampleTopology(t, "planetlab.yaml")
	for _, test := range []struct {
		name         string
		to           *topo.Topology
		limit        time.Duration
		links, least float64 // percent of near pairs that are on two pnodes: at most with links, at least with spread
	}{
		{"4 clusters on 4 pnodes", circles(200, 4), 2 * time.Millisecond, 0, 70},
		{"9 clusters on 4 pnodes", circles(180, 9), 2 * time.Millisecond, 20, 70},
		{"3 sites and homes", wan, 2 * time.Millisecond, 35, 0},
		{"PlanetLab", planetlab, 20 * time.Millisecond, 45, 60},
	} {
		links, spread := cut(t, test.to, pnodes, topo.PolicyLinks, test.limit), cut(t, test.to, pnodes, topo.PolicySpread, test.limit)
		t.Logf("%s: of pairs nearer than %s, %.0f %% are on two pnodes, with spread %.0f %%", test.name, test.limit, links, spread)
		if links > test.links || spread < test.least {
			t.Errorf("%s: of near pairs %.1f %% are on two pnodes, want at most %.0f; with spread %.1f, want at least %.0f", test.name, links, test.links, spread, test.least)
		}
	}
}

// What is new goes where those are that it is near to.
func TestLinksPolicyGrows(t *testing.T) {
	pnodes := named("p1", "p2", "p3", "p4")
	small, large := circles(160, 4), circles(200, 4)
	small.Placement.Policy, large.Placement.Policy = topo.PolicyLinks, topo.PolicyLinks
	p, err := Make(small, pnodes, Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := Make(large, pnodes, Options{Previous: p})
	if err != nil {
		t.Fatal(err)
	}
	home := map[int]int{}
	for i := range 200 {
		at, _ := q.Find(fmt.Sprintf("peer%d", i+1))
		if i < 4 {
			home[i] = at.Pnode
		}
		if at.Pnode != home[i%4] {
			t.Fatalf("peer%d is on pnode %d, its cluster on %d", i+1, at.Pnode, home[i%4])
		}
	}
}

func TestExplainIsShort(t *testing.T) {
	pnodes := farm(4000)
	for i := range pnodes {
		pnodes[i].CPUs = 1 + i%100
	}
	p, err := Make(flat(100_000), pnodes, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if text := p.Explain().String(); strings.Count(text, "\n") > shownReasons+1 || !strings.Contains(text, "other pnodes") {
		t.Errorf("4,000 pnodes are explained by\n%s", text)
	}
	if text := p.Forecast().String(); strings.Count(text, "\n") > 20 {
		t.Errorf("4,000 pnodes are forecast by\n%s", text)
	}
}

// BenchmarkPolicies plans a million vnodes under each policy, and with rules.
func BenchmarkPolicies(b *testing.B) {
	n, pnodes := *benchVnodes, farm(*benchPnodes)
	for i := range pnodes {
		pnodes[i].Site = fmt.Sprintf("s%d", i%10)
	}
	matrix := func(k int) *topo.Topology {
		to := flat(n)
		m := &topo.Matrix{Delay: make([]time.Duration, k*k)}
		for i := range k {
			m.Sets = append(m.Sets, mustParse(fmt.Sprintf("peer[%d-%d]", i*n/k+1, (i+1)*n/k)))
			for j := range k {
				m.Delay[i*k+j] = time.Duration((i*7919+j*7919)%k+1) * time.Millisecond / 10
			}
		}
		to.Links = []topo.LinkRule{{Matrix: m}}
		to.Placement.Policy = topo.PolicyLinks
		return to
	}
	pods := func(size int) *topo.Topology {
		to := flat(n)
		for i := 1; i+size <= n && len(to.Placement.Together) < 20_000; i += size {
			to.Placement.Together = append(to.Placement.Together, mustParse(fmt.Sprintf("peer[%d-%d]", i, i+size-1)))
		}
		return to
	}
	at := flat(n)
	for i := range 10 {
		at.Placement.At = append(at.Placement.At, topo.Pin{Nodes: mustParse(fmt.Sprintf("peer[%d-%d]", i*n/10+1, (i+1)*n/10)), Site: fmt.Sprintf("s%d", i)})
	}
	pack := flat(n)
	pack.Placement.Policy = topo.PolicyPack
	apart := flat(n)
	apart.Placement.Apart = []*nodeset.Set{mustParse(fmt.Sprintf("peer[1-%d]", min(n, len(pnodes))))}
	for _, c := range []struct {
		name string
		to   *topo.Topology
	}{{"pack", pack}, {"links-100", matrix(100)}, {"links-4000", matrix(min(4000, n))}, {"together-5", pods(5)}, {"at", at}, {"apart", apart}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Make(c.to, pnodes, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
