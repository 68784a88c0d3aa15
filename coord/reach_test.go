package coord

import (
	"fmt"
	"strings"
	"testing"

	"myriad/plan"
	"myriad/topo"
)

func planFrom(t *testing.T, text string) *plan.Plan {
	t.Helper()
	top, err := topo.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Make(top, []plan.Pnode{{Name: "here"}}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReach(t *testing.T) {
	for name, tt := range map[string]struct {
		topology string
		reach    string // from>to=address, or from>to=- where there is no way
	}{
		"one network": {`
vnetworks: {lan: 10.1.0.0/16}
vnodes: [{nodes: "a,b", vifaces: [lan]}, {nodes: c, vifaces: []}]`,
			"a>b=10.1.0.2 b>a=10.1.0.1 a>c=- c>a=-"},
		"equal subnets": {`
vnetworks: {l: 10.1.0.0/16, r: 10.1.0.0/16}
vnodes: [{nodes: "a[1-2]", vifaces: [l]}, {nodes: "b[1-2]", vifaces: [r]}]`,
			"a1>a2=10.1.0.2 b1>b2=10.1.0.2 a1>b1=- a1>b2=- b2>a1=-"},
		"gateways": {`
routing: complete
vnetworks: {l: 10.1.0.0/16, m: 10.2.0.0/16, r: 10.3.0.0/16}
vnodes:
  - {nodes: a, vifaces: [l]}
  - {nodes: b, vifaces: [r]}
  - {nodes: g1, vifaces: [l, m], gateway: true}
  - {nodes: g2, vifaces: [m, r], gateway: true}`,
			"a>b=10.3.0.1 b>a=10.1.0.1 a>g2=10.2.0.2 b>g1=10.1.0.2 g1>g2=10.2.0.2"},
		"no routes": {`
vnetworks: {l: 10.1.0.0/16, r: 10.3.0.0/16}
vnodes:
  - {nodes: a, vifaces: [l]}
  - {nodes: b, vifaces: [r]}
  - {nodes: g, vifaces: [l, r], gateway: true}`,
			"a>b=- a>g=10.1.0.2 b>g=10.3.0.2"},
		"a way there and none back": {`
vnetworks: {l: 10.1.0.0/16, r: 10.3.0.0/16}
vnodes:
  - {nodes: a, vifaces: [l]}
  - {nodes: b, vifaces: [r]}
  - {nodes: c, vifaces: [r]}
  - {nodes: g, vifaces: [l, r], gateway: true}
routes:
  - {nodes: a, to: r, via: g}
  - {nodes: c, to: l, via: g}`,
			"a>b=- b>a=- a>c=10.3.0.2 c>a=10.1.0.1"},
		"the next hop does not forward": {`
vnetworks: {l: 10.1.0.0/16, r: 10.3.0.0/16}
vnodes:
  - {nodes: a, vifaces: [l]}
  - {nodes: b, vifaces: [r]}
  - {nodes: g, vifaces: [l, r]}
routes:
  - {nodes: a, to: r, via: 10.1.0.2}
  - {nodes: b, to: l, via: 10.3.0.2}`,
			"a>b=- b>a="},
		"round in circles": {`
vnetworks: {l: 10.1.0.0/16, r: 10.3.0.0/16}
vnodes:
  - {nodes: a, vifaces: [l]}
  - {nodes: "g[1-2]", vifaces: [l], gateway: true}
  - {nodes: b, vifaces: [r]}
routes:
  - {nodes: "a,g2", to: 10.3.0.0/16, via: 10.1.0.2}
  - {nodes: g1, to: 10.3.0.0/16, via: 10.1.0.3}`,
			"a>b=-"},
	} {
		t.Run(name, func(t *testing.T) {
			p := planFrom(t, "platform: x"+tt.topology)
			r := newReach(p)
			for _, want := range strings.Fields(tt.reach) {
				pair, addr, _ := strings.Cut(want, "=")
				from, to, _ := strings.Cut(pair, ">")
				a, _ := p.Find(from)
				b, _ := p.Find(to)
				got := "-"
				if found := r.address(a.Vnode, b.Vnode); found.IsValid() {
					got = found.String()
				}
				if got != addr && addr != "" {
					t.Errorf("%s: %s, want %s", pair, got, addr)
				}
			}
		})
	}
}

func TestChoosePairs(t *testing.T) {
	p := planFrom(t, "platform: x\nvnetworks: {l: 10.1.0.0/16, r: 10.1.0.0/16}\nvnodes: [{nodes: 'a[1-60]', vifaces: [l]}, {nodes: 'b[1-30]', vifaces: [r]}]")
	if got := len(choosePairs(p, 0, 1)); got != 60*59+30*29 {
		t.Errorf("all pairs: %d", got)
	}
	big := planFrom(t, "platform: x\nvnetworks: {l: 10.1.0.0/16}\nvnodes: [{nodes: 'a[1-1000]', vifaces: [l]}]")
	some := choosePairs(big, 0, 1)
	if len(some) != randomPairs {
		t.Errorf("random pairs: %d", len(some))
	}
	if fmt.Sprint(some) != fmt.Sprint(choosePairs(big, 0, 1)) {
		t.Error("the same seed chose other pairs")
	}
	if fmt.Sprint(some) == fmt.Sprint(choosePairs(big, 0, 2)) {
		t.Error("another seed chose the same pairs")
	}
	for _, q := range some {
		if q.from == q.to {
			t.Errorf("vnode %d pings itself", q.from)
		}
	}
	from := map[int]bool{}
	for _, q := range choosePairs(big, 1000, 1) {
		from[q.from] = true
	}
	if len(from) != 1000 {
		t.Errorf("of 1,000 vnodes, %d are in one of 1,000 pairs", len(from))
	}
	if got := len(choosePairs(big, 20, 1)); got != 20 {
		t.Errorf("20 pairs asked, %d chosen", got)
	}
	lonely := planFrom(t, "platform: x\nvnodes: [{nodes: 'a[1-200]', vifaces: []}]")
	if got := len(choosePairs(lonely, 0, 1)); got != 0 {
		t.Errorf("%d pairs of vnodes without a way", got)
	}
}

func BenchmarkChoosePairs(b *testing.B) {
	top, err := topo.Parse("x", []byte("platform: x\nrouting: complete\nvnetworks: {l: 10.1.0.0/16, r: 10.2.0.0/16}\nvnodes: [{nodes: 'a[1-40000]', vifaces: [l]}, {nodes: 'b[1-1000]', vifaces: [r]}, {nodes: g, vifaces: [l, r], gateway: true}]"))
	if err != nil {
		b.Fatal(err)
	}
	p, err := plan.Make(top, []plan.Pnode{{Name: "here"}}, plan.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		choosePairs(p, 0, 1)
	}
}
