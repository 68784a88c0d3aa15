package fabric

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// TestUpdate changes the tables, again and again, and replaces the whole
// fabric, while vnodes that stay talk: every question is answered.
func TestUpdate(t *testing.T) {
	p := testProgram()
	l := newLab(t, p)
	stop, ended := l.talk([][2]string{{"1/1", "1/2"}, {"1/1", "1/10"}, {"1/3", "1/11"}, {"2/1", "2/60000"}})
	defer ended()
	small, first := l.fabric.objects.Nets.MaxEntries(), l.fabric
	for round := 1; round <= 40; round++ {
		p := testProgram()
		r := &p.Racks[round%2]
		for i := range uint32(round * 3) { // some near, some given, some far away
			v := program.Viface{Network: 1 + uint16(i%2), Host: 200 + i + uint32(i%3)*20000}
			if i%5 == 0 {
				v.MAC = program.MAC{0x0a, 1, 0, byte(round), byte(i >> 8), byte(i)}
			}
			r.Vifaces = append(r.Vifaces, v)
		}
		if round > 30 {
			p.Networks = append(p.Networks, program.Network{ID: 1000, Subnet: netip.MustParsePrefix("10.9.0.0/24")})
		}
		if l.ensure(p) == 0 {
			t.Errorf("round %d: nothing was written", round)
		}
		if writes, err := l.fabric.update(p, nil); writes != 0 || err != nil {
			t.Errorf("round %d: the same again wrote %d times (%v)", round, writes, err)
		}
		have, err := l.fabric.objects.read()
		l.must(err)
		if diff := differs(p, have); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if l.fabric == first || l.fabric.objects.Nets.MaxEntries() == small {
		t.Error("the fabric was never replaced")
	}
	count := stop()
	if got := mustCount(t, l.fabric)["unicast"]; got < 2*count {
		t.Errorf("unicast counts %d, want at least %d: also what came before", got, 2*count)
	}
	t.Logf("%d questions answered", count)
}

// talk has pairs of vnodes ask and answer until stop, which returns how often
// they did.
func (l *lab) talk(pairs [][2]string) (stop func() uint64, ended func()) {
	l.Helper()
	var done atomic.Bool
	var count atomic.Uint64
	var wg sync.WaitGroup
	for i, pair := range pairs {
		server := l.listen(pair[1], fmt.Sprintf("%s:%d", l.addr(pair[1]), 7000+i))
		client := l.listen(pair[0], fmt.Sprintf("%s:%d", l.addr(pair[0]), 8000+i))
		go echo(server)
		to := server.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
		wg.Go(func() {
			for n := 0; !done.Load(); n++ {
				if err := l.ask(client, to, fmt.Sprint(n)); err != nil {
					l.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	ended = func() { done.Store(true); wg.Wait() }
	return func() uint64 { ended(); return count.Load() }, ended
}

// TestAdopt: whoever comes next finds the fabric that is there, writes nothing
// where all is as it should be, and repairs what is not.
func TestAdopt(t *testing.T) {
	p := testProgram()
	l := newLab(t, p)
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Fatal(err)
	}
	before := mustCount(t, l.fabric)
	l.must(l.fabric.Close()) // as at the end of the process
	if err := l.ping("1/1", "10.1.0.2"); err != nil {
		t.Errorf("nobody holds the fabric: %v", err)
	}
	if writes := l.ensure(p); writes != 0 {
		t.Errorf("found again, it wrote %d times, want 0", writes)
	}
	after := mustCount(t, l.fabric)
	if after["unicast"] <= before["unicast"] {
		t.Errorf("unicast counted %d, then %d: the counts are others", before["unicast"], after["unicast"])
	}

	filter := &rtnl.Filter{Link: firstTrunk + 1, Hook: rtnl.Ingress}
	l.spine.do(l, func(b *rtnl.Batch) { b.DelFilter(filter) })
	if writes := l.ensure(p); writes != 1 {
		t.Errorf("a filter was gone: %d writes, want 1", writes)
	}
	l.spine.do(l, func(b *rtnl.Batch) { b.DelClsact(firstTrunk + 1) })
	if writes := l.ensure(p); writes != 2 {
		t.Errorf("a qdisc was gone: %d writes, want 2", writes)
	}
	filter.Prog, filter.Name = l.fabric.objects.Trunk.FD(), FilterName+"_00000000"
	filter.Link = firstTrunk
	l.spine.do(l, func(b *rtnl.Batch) { b.SetFilter(filter) })
	if writes := l.ensure(p); writes != 1 {
		t.Errorf("a trunk had another version: %d writes, want 1", writes)
	}
	if err := l.ping("1/10", "10.1.0.1"); err != nil {
		t.Error(err)
	}
}

// TestAdoptVersion: a fabric of another version is replaced everywhere.
func TestAdoptVersion(t *testing.T) {
	p := testProgram()
	l := newLab(t, p)
	l.spine.do(l, func(b *rtnl.Batch) {
		for _, link := range l.trunks() {
			b.SetFilter(&rtnl.Filter{Link: link, Hook: rtnl.Ingress, Prog: l.fabric.objects.Trunk.FD(), Name: FilterName + "_00000000"})
		}
	})
	f, without, err := Find(l.spine.conn, l.trunks())
	if f != nil || len(without) != 2 || err != nil {
		t.Fatalf("found %v, without %v, %v", f, without, err)
	}
	if writes := l.ensure(p); writes != 2 {
		t.Errorf("%d writes, want 2", writes)
	}
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Error(err)
	}
}

// TestVeth: racks with vnodes on veth pairs, macvlans, and both.
func TestVeth(t *testing.T) {
	p := testProgram()
	l := newSpine(t)
	for k := range p.Racks {
		l.addRack(uint32(k))
	}
	l.ensure(p)
	veths := map[uint32]*Veth{}
	ensure := func(rack uint32, ends map[int32]program.MAC) (writes int) {
		v, writes, err := EnsureVeth(l.racks[rack].conn, trunkIndex, ends)
		l.must(err)
		t.Cleanup(func() { v.Close() })
		veths[rack] = v
		return writes
	}
	all := map[uint32]map[int32]program.MAC{}
	for k, r := range p.Racks {
		rack := uint32(k)
		all[rack] = map[int32]program.MAC{}
		for i, v := range r.Vifaces {
			if i != 1 {
				all[rack][int32(100+i)] = v.Address()
			}
		}
		if ensure(rack, all[rack]) == 0 {
			t.Error("it wrote nothing")
		}
		for i, v := range r.Vifaces {
			if i == 1 { // one macvlan among them
				l.addViface(p, rack, v)
				continue
			}
			l.addVeth(p, rack, v, int32(100+i), veths[rack].Join)
		}
		if writes := ensure(rack, all[rack]); writes != 0 {
			t.Errorf("the same again wrote %d times, want 0", writes)
		}
	}
	names := []string{"1/1", "1/2", "1/3", "1/10", "1/11"}
	for _, from := range names {
		for _, to := range names {
			if err := l.ping(from, l.addr(to).String()); err != nil {
				t.Error(err)
			}
		}
	}
	l.checkTCP("1/1", "1/3")
	l.checkTCP("1/1", "1/10")
	l.checkTCP("2/5", "2/1")

	// A neighbour's address, or one of the network's that is free.
	w := l.wire(l.vnodes["1/1"], ethIndex)
	w.send(l, frame(program.MACOf(1, 10), program.MACOf(1, 2), typeIPv4))
	w.send(l, frame(program.MACOf(1, 10), program.MACOf(1, 99), typeIPv4))
	spoofed := func() uint64 { return vethCount(t, veths[0])["drop_spoofed_source"] }
	for begin := time.Now(); spoofed() < 2 && time.Since(begin) < 2*time.Second; {
		time.Sleep(time.Millisecond)
	}
	if got := spoofed(); got != 2 {
		t.Errorf("drop_spoofed_source counts %d, want 2", got)
	}

	// A vnode that is gone from the table can neither send nor receive, and
	// the others do not notice.
	delete(all[0], 100)
	if writes := ensure(0, all[0]); writes != 2 {
		t.Errorf("one end less: %d writes, want 2", writes)
	}
	if l.ping("1/10", "10.1.0.1", "-W", "0.1") == nil {
		t.Error("a vnode that is gone answers")
	}
	if err := l.ping("1/10", "10.1.0.3"); err != nil {
		t.Error(err)
	}
	// More ends than there is room for: another program in the same place.
	for i := range int32(1200) {
		all[0][1000+i] = program.MACOf(7, uint32(i))
	}
	ensure(0, all[0])
	if err := l.ping("1/10", "10.1.0.3"); err != nil {
		t.Error(err)
	}
	if got := spoofed(); got < 2 {
		t.Errorf("drop_spoofed_source counts %d after the change, want what it was", got)
	}
}

func vethCount(t *testing.T, v *Veth) map[string]uint64 {
	t.Helper()
	counters, err := v.Counters()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, c := range counters {
		out[c.Name] = c.Packets
	}
	return out
}
