package fabric

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// TestAtomic changes conditions again and again: every frame meets all of one
// state, and nothing of the other.
func TestAtomic(t *testing.T) {
	const total = 20 * time.Second
	word := func(d time.Duration) program.PairWord { return program.PairWord(d / program.DelayUnit) }
	states := []*program.Links{
		onLeg("out", program.Condition{Delay: total}),
		onLeg("in", program.Condition{Delay: total}),
		onLeg("pair", program.Condition{Delay: total}),
		onLeg("classes", program.Condition{Delay: total}),
		{
			Conditions: []program.Condition{{Delay: total / 4}, {Delay: total / 2}},
			Vifaces:    []program.LinkRange{{Network: 1, Host: 1, Count: 100, Class: 1, Out: 1, In: 2}},
			Classes:    1, Matrix: []program.PairWord{word(total / 4)},
		},
		{
			Conditions: []program.Condition{{Delay: total / 2}, {Delay: total / 4}},
			Vifaces:    []program.LinkRange{{Network: 1, Host: 1, Count: 100, Class: 1, Out: 1, In: 2}},
			Classes:    1, Matrix: []program.PairWord{word(total)},
			Pairs: []program.Pair{{Network: 1, From: 1, To: 10, Word: word(total / 4)}},
		},
	}
	r := newRig(t, testProgram(), &Shaping{Links: states[5]})
	var done atomic.Bool
	var wg sync.WaitGroup
	changes := 0
	wg.Go(func() {
		for !done.Load() {
			c, err := r.f.Prepare(states[changes%len(states)])
			if err == nil {
				_, err = c.Commit()
			}
			if err != nil {
				t.Error(err)
				return
			}
			changes++
		}
	})
	frames := 0
	for begin := time.Now(); time.Since(begin) < 500*time.Millisecond; frames++ {
		verdict, out := r.run(r.f.objects.Trunk, toTen, firstTrunk, 0)
		now := monotonic()
		wait := time.Duration(headDue(out, now) - now)
		if verdict != redirect || wait < total-soon || wait > total+2*time.Microsecond {
			t.Errorf("after %d changes, a frame is held for %v, want %v", changes, wait, total)
			break
		}
	}
	done.Store(true)
	wg.Wait()
	t.Logf("%d changes, %d frames", changes, frames)
}

// xlated is a program as the kernel has it.
func xlated(t *testing.T, prog *ebpf.Program) (tag, code string) {
	t.Helper()
	c, err := CodeOf(uint32(programID(t, prog)))
	if err != nil {
		t.Fatal(err)
	}
	return c.Tag, strings.Join(c.Instructions, "\n")
}

// TestUnshape: when conditions go, what is left is the program as it was, and
// as it would be if there had been none.
func TestUnshape(t *testing.T) { holders(t, testUnshape) }

func testUnshape(t *testing.T, fq bool) {
	p := testProgram()
	l := newLab(t, p)
	tag, code := xlated(t, l.fabric.objects.Trunk)
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Error(err)
	}
	counted := mustCount(t, l.fabric)["unicast"]
	l.withHolder(fq)
	links := everyone(program.Condition{Delay: time.Millisecond}, program.Condition{})
	if l.shape(p, links) == 0 || l.fabric.shaping == nil {
		t.Error("there are no conditions")
	}
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Error(err)
	}
	shapedTag, _ := xlated(t, l.fabric.objects.Trunk)
	if writes := l.shape(p, links); writes != 0 {
		t.Errorf("the same again wrote %d times", writes)
	}
	if l.ensure(p) == 0 || l.fabric.shaping != nil {
		t.Error("there are conditions")
	}
	if writes := l.ensure(p); writes != 0 {
		t.Errorf("the same again wrote %d times", writes)
	}
	again, codeAgain := xlated(t, l.fabric.objects.Trunk)
	if again != tag || codeAgain != code || again == shapedTag {
		t.Errorf("the program was %s, became %s, and is %s", tag, shapedTag, again)
	}
	have, err := l.fabric.objects.read()
	l.must(err)
	have.labels(func(network uint16, host, index uint32) {
		t.Errorf("host %d of network %d has link index %d", host, network, index)
	})
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Error(err)
	}
	if got := mustCount(t, l.fabric); got["unicast"] < counted+2 || got["held"] < 2 {
		t.Errorf("counters: %v", got)
	}
	if _, err := l.fabric.Prepare(links); !errors.Is(err, ErrPlain) {
		t.Errorf("conditions for a plain fabric: %v, want %v", err, ErrPlain)
	}
}

// TestShapedUpdate changes hosts and conditions, and outgrows every map, while
// vnodes talk: every question is answered.
func TestShapedUpdate(t *testing.T) { holders(t, testShapedUpdate) }

func testShapedUpdate(t *testing.T, fq bool) {
	p := testProgram()
	l := newLab(t, p)
	l.withHolder(fq)
	stop, ended := l.talk([][2]string{{"1/1", "1/2"}, {"1/1", "1/10"}, {"1/3", "1/11"}, {"2/1", "2/60000"}})
	defer ended()
	kinds := map[bool]int{}
	for round := 1; round <= 10; round++ {
		p := testProgram()
		for i := range uint32(round * 4) {
			r := &p.Racks[(i+uint32(round))%2]
			v := program.Viface{Network: 1 + uint16(i%2), Host: 200 + i + uint32(i%3)*20000}
			if i%5 == 0 {
				v.MAC = program.MAC{0x0a, 1, 0, byte(round), byte(i >> 8), byte(i)}
			}
			r.Vifaces = append(r.Vifaces, v)
		}
		links := randomLinks(rand.New(rand.NewPCG(uint64(round), 7)), round)
		if round%5 == 0 {
			if l.ensure(p) == 0 {
				t.Errorf("round %d: nothing was written", round)
			}
			continue
		}
		before := l.fabric.objects.Trunk
		id := programID(t, before)
		if l.shape(p, links) == 0 {
			t.Errorf("round %d: nothing was written", round)
		}
		kinds[programID(t, l.fabric.objects.Trunk) == id]++
		if writes := l.shape(p, links); writes != 0 {
			t.Errorf("round %d: the same again wrote %d times", round, writes)
		}
		if entries := l.change(links); entries != 0 {
			t.Errorf("round %d: the same again has %d entries", round, entries)
		}
		have, err := l.fabric.objects.read()
		l.must(err)
		if diff := differs(p, have); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
		if diff := l.fabric.linksDiffer(t, links, have); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
	}
	if kinds[true] == 0 || kinds[false] == 0 {
		t.Errorf("changed in place: %v", kinds)
	}
	count := stop()
	t.Logf("%d questions answered, changed in place: %v", count, kinds)
}

func programID(t *testing.T, prog *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := prog.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return id
}

// TestShapedAdopt: whoever comes next finds the fabric, its conditions and
// what its links remember, and repairs what is missing.
func TestShapedAdopt(t *testing.T) { holders(t, testShapedAdopt) }

func testShapedAdopt(t *testing.T, fq bool) {
	p := testProgram()
	links := everyone(program.Condition{Loss: share(0.5)}, program.Condition{Delay: time.Millisecond})
	l := newShapedLab(t, fq, p, links)
	l.must(l.fabric.Close()) // as at the end of the process
	if writes := l.shape(p, links); writes != 0 {
		t.Errorf("found again, it wrote %d times, want 0", writes)
	}
	posts := []int32{firstTrunk + 1, labCut + 1}
	if !fq {
		posts = append(posts, labHold)
	}
	for _, link := range posts {
		l.spine.do(l, func(b *rtnl.Batch) { b.DelFilter(&rtnl.Filter{Link: link, Hook: rtnl.Ingress}) })
		if writes := l.shape(p, links); writes != 1 {
			t.Errorf("the filter of link %d was gone: %d writes, want 1", link, writes)
		}
	}
	for _, link := range l.holder.exits(l.trunks()) {
		l.spine.do(l, func(b *rtnl.Batch) { b.DelFilter(&rtnl.Filter{Link: link, Hook: rtnl.Ingress}) })
	}
	if l.shape(p, links) == 0 {
		t.Error("no filter was left at the holder, and nothing was written")
	}
	// The base of the holder is no reason for another program.
	id := programID(t, l.fabric.objects.Trunk)
	l.holder.Base = 50 * time.Microsecond
	if writes := l.shape(p, links); writes != 1 || programID(t, l.fabric.objects.Trunk) != id {
		t.Errorf("another base: %d writes, want 1", writes)
	}
}

// TestGrowth: what links remember outlives maps that are too small.
func TestGrowth(t *testing.T) { holders(t, testGrowth) }

func testGrowth(t *testing.T, fq bool) {
	p := testProgram()
	links := onLeg("out", program.Condition{Loss: share(0.5)})
	l := newShapedLab(t, fq, p, links)
	send := l.wire(l.racks[0], trunkIndex)
	l.wire(l.racks[1], trunkIndex)
	const frames = 40
	for range frames {
		send.send(l, toTen)
	}
	for begin := time.Now(); l.frames() < frames && time.Since(begin) < 2*time.Second; {
		time.Sleep(time.Millisecond)
	}
	id := programID(t, l.fabric.objects.Trunk)
	for i := range uint32(2000) {
		p.Racks[0].Vifaces = append(p.Racks[0].Vifaces, program.Viface{Network: 1, Host: 100 + i})
	}
	links.Vifaces = append(links.Vifaces, program.LinkRange{Network: 1, Host: 100, Count: 2000, Out: 1})
	if _, err := l.fabric.Prepare(links); err != nil {
		t.Errorf("conditions of hosts that are not there: %v", err)
	}
	l.shape(p, links)
	if programID(t, l.fabric.objects.Trunk) == id {
		t.Error("the maps have room for all")
	}
	if got := l.frames(); got != frames {
		t.Errorf("the link remembers %d frames, want %d", got, frames)
	}
	many := &program.Links{Seed: seed, Classes: 40, Matrix: make([]program.PairWord, 1600)}
	many.Matrix[7] = 99
	if _, err := l.fabric.Prepare(many); !errors.Is(err, ErrRoom) {
		t.Errorf("a matrix that is too big: %v, want %v", err, ErrRoom)
	}
	l.shape(p, many)
	if entries := l.change(links); entries == 0 {
		t.Error("a change wrote nothing")
	}
	stale, err := l.fabric.Prepare(many)
	l.must(err)
	if _, err := l.fabric.Prepare(links); err != nil {
		t.Error(err)
	}
	if _, err := stale.Commit(); err == nil {
		t.Error("a change that was overwritten came into force")
	}
}

// frames is how many frames lan host 1 has sent on its leg.
func (l *lab) frames() uint64 {
	l.Helper()
	mem, err := l.fabric.shaping.maps.open()
	l.must(err)
	defer mem.close()
	have, err := l.fabric.objects.read()
	l.must(err)
	index, _ := have.label(1, 1)
	return mem.states[index][0].Frame
}

// city makes a program of n vnodes, and conditions for all of them.
func city(n, classes uint32) (*program.Program, *program.Links) {
	p := crowd(n)
	l := &program.Links{Classes: classes, Matrix: make([]program.PairWord, classes*classes)}
	for i := range l.Matrix {
		l.Matrix[i] = program.PairWord(i*7919%100000 + 1)
	}
	for i := range n {
		l.Conditions = append(l.Conditions, program.Condition{Delay: time.Duration(i), Rate: 1e9})
		l.Vifaces = append(l.Vifaces, program.LinkRange{Network: 1, Host: 1 + i, Count: 1, Class: 1 + i%classes, Out: i + 1})
	}
	return p, l
}

// BenchmarkChange is a change of the conditions of all vifaces.
func BenchmarkChange(b *testing.B) {
	for _, size := range []struct{ vnodes, classes uint32 }{{1000, 1}, {40000, 490}, {40000, 2700}} {
		b.Run(fmt.Sprintf("vnodes=%d/classes=%d", size.vnodes, size.classes), func(b *testing.B) {
			p, links := city(size.vnodes, size.classes)
			r := newRig(b, p, &Shaping{Links: links})
			for b.Loop() {
				for i := range links.Conditions {
					links.Conditions[i].Delay++
				}
				for i := range links.Matrix {
					links.Matrix[i]++
				}
				c, err := r.f.Prepare(links)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Commit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
