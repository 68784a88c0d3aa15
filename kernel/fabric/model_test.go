package fabric

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"myriad/kernel/netns"
	"myriad/program"
)

// rig runs the programs of a fabric with conditions on frames, one by one, in
// a namespace without links.
type rig struct {
	testing.TB
	f  *Fabric
	ns *space
}

func newRig(t testing.TB, p *program.Program, s *Shaping) *rig {
	t.Helper()
	l := newSpine(t)
	f, err := load(p, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r := &rig{t, f, l.spine}
	r.update(p, s)
	return r
}

func (r *rig) update(p *program.Program, s *Shaping) {
	r.Helper()
	if _, err := r.f.update(p, s); err != nil {
		r.Fatal(err)
	}
}

// change gives the fabric other conditions, and makes it forget all that was.
func (r *rig) change(links *program.Links) {
	r.Helper()
	r.update(testProgram(), &Shaping{Links: links})
	mem, err := r.f.shaping.maps.open()
	if err != nil {
		r.Fatal(err)
	}
	defer mem.close()
	clear(mem.states)
	var pair uint64
	var state clock
	for all := r.f.shaping.maps.PairStates.Iterate(); all.Next(&pair, &state); {
		if err := r.f.shaping.maps.PairStates.Delete(pair); err != nil {
			r.Fatal(err)
		}
	}
}

// newTestRig makes a rig for the test program, with room for any of these
// tests' conditions.
func newTestRig(t testing.TB, links *program.Links) *rig {
	t.Helper()
	room := onLeg("classes", program.Condition{Jitter: 1, Distribution: 1})
	room.Tables = []program.Distribution{{Values: make([]int32, program.DistributionSize)}}
	r := newRig(t, testProgram(), &Shaping{Links: room, Holder: Holder{FirstHold: labHold}})
	r.change(links)
	return r
}

// skb is struct __sk_buff as far as a test run takes it, for GSO too.
type skb struct {
	_              [9]uint32
	IngressIfindex uint32
	_              [31]uint32
	GSOSegs        uint32
	_              [2]uint32
	GSOSize        uint32
	_              [19]uint32
}

// run runs a program on a frame from a link.
func (r *rig) run(prog *ebpf.Program, frame []byte, link uint32, gso uint32) (verdict uint32, out []byte) {
	r.Helper()
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Repeat: 1, Context: skb{IngressIfindex: link, GSOSize: gso}}
	err := netns.Do(r.ns.ns, func() (err error) {
		verdict, err = prog.Run(&opts)
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return verdict, opts.DataOut
}

// fate is what became of a frame.
type fate struct {
	passed bool // to the receiver, or the holder
	held   bool
	stage  bool          // the last leg is yet to come
	wait   time.Duration // in the holder, give or take what a run takes
	due    uint64        // in ns, of which 1,024 are known apart
	out    []byte
}

// send sends a frame from a rack.
func (r *rig) send(frame []byte, rack uint32) fate { return r.sendGSO(frame, rack, 0) }

func (r *rig) sendGSO(frame []byte, rack, gso uint32) fate {
	r.Helper()
	before := mustCount(r, r.f)
	now := monotonic()
	verdict, out := r.run(r.f.objects.Trunk, frame, firstTrunk+rack, gso)
	after := mustCount(r, r.f)
	x := fate{passed: verdict == redirect, held: after["held"] != before["held"], out: out}
	if x.held {
		x.stage = out[0]&1 != 0
		x.due = headDue(out, now)
		x.wait = time.Duration(x.due - now)
	}
	return x
}

// headDue reads the due time of a frame in the holder.
func headDue(frame []byte, near uint64) uint64 {
	head := binary.LittleEndian.Uint32(frame)
	late := int32((uint32(near>>10)<<1)-(head&^1)) >> 1
	return (near>>10 - uint64(int64(late))) << 10
}

// The draws of bpf/random.h.
const (
	toLose = iota
	toChangeState
	toDuplicate
	toCorrupt
	toTurnBit
	toReorder
	toJitter
	purposes = 8
	golden   = 0x9e3779b97f4a7c15
)

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// draws are those for one who sends, gets, or is a pair.
type draws struct{ seed, who, frame uint64 }

func (d *draws) draw(purpose uint64) uint32 {
	g := uint64(golden)
	return uint32(mix(mix(d.seed^mix(d.who+g))+(d.frame*purposes+purpose)*g) >> 33)
}

func (d *draws) happens(purpose uint64, share program.Share) bool {
	return d.draw(purpose) < uint32(share)
}

func asSender(network uint16, host uint32) uint64 {
	return 1<<48 | uint64(network)<<24 | uint64(host)
}

func asReceiver(network uint16, host uint32) uint64 {
	return 3<<48 | uint64(network)<<24 | uint64(host)
}

func asPair(network uint16, from, to uint32) uint64 {
	return uint64(network)<<48 | uint64(from)<<24 | uint64(to)
}

func share(p float64) program.Share { return program.Share(p * float64(program.ShareOne)) }

// repeatOn runs a program on a frame many times, and returns what one takes.
// The frame must stay as it is.
func (r *rig) repeatOn(prog *ebpf.Program, frame []byte, link uint32, times uint32) (each time.Duration) {
	r.Helper()
	opts := ebpf.RunOptions{Data: frame, Repeat: times, Context: skb{IngressIfindex: link}}
	begin := time.Now()
	err := netns.Do(r.ns.ns, func() error {
		_, err := prog.Run(&opts)
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return time.Since(begin) / time.Duration(times)
}
