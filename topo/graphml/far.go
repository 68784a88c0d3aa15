package graphml

import (
	"cmp"
	"container/heap"
	"time"
)

// mostGateways is how many gateways a packet passes with the usual TTL of 64:
// the last of them must not find it used up.
const mostGateways = 63

// fewRouters is how many routers ways are computed between here; plans compute
// those of any number.
const fewRouters = 3000

// farPairs counts the routers whose hosts are further apart than packets get,
// by the fastest way.
func (n *network) farPairs() (pairs int) {
	if len(n.routers) <= mostGateways || len(n.routers) > fewRouters {
		return 0
	}
	for from := range n.routers {
		for _, gateways := range n.gatewaysFrom(from) {
			if gateways > mostGateways {
				pairs++
			}
		}
	}
	return pairs
}

// gatewaysFrom counts the gateways on the fastest ways from a router's hosts
// to those of all others, of equally fast ways the one with the fewest. Those
// that cannot be reached count 0.
func (n *network) gatewaysFrom(from int) []int {
	at := make([]int, len(n.routers))
	delay := make([]time.Duration, len(n.routers))
	at[from] = 1
	todo := &frontier{{router: from, gateways: 1}}
	for todo.Len() > 0 {
		x := heap.Pop(todo).(reached)
		if x.delay != delay[x.router] || x.gateways != at[x.router] {
			continue // there was a faster way
		}
		for _, l := range n.routers[x.router].links {
			wire := &n.links[l]
			y := reached{wire.a + wire.b - x.router, x.delay + wire.delay, x.gateways + 1}
			if old := (reached{y.router, delay[y.router], at[y.router]}); at[y.router] == 0 || y.compare(old) < 0 {
				at[y.router], delay[y.router] = y.gateways, y.delay
				heap.Push(todo, y)
			}
		}
	}
	return at
}

// reached is a router, and the way to it.
type reached struct {
	router   int
	delay    time.Duration
	gateways int
}

func (x reached) compare(y reached) int {
	return cmp.Or(cmp.Compare(x.delay, y.delay), cmp.Compare(x.gateways, y.gateways))
}

// frontier is a heap of ways, the fastest first.
type frontier []reached

func (f frontier) Len() int           { return len(f) }
func (f frontier) Less(i, j int) bool { return f[i].compare(f[j]) < 0 }
func (f frontier) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }

// Push and Pop make frontier a heap.Interface.
func (f *frontier) Push(x any) { *f = append(*f, x.(reached)) }

// Pop takes the last.
func (f *frontier) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}
