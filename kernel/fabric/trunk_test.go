package fabric

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/program"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// context is struct __sk_buff as far as a test run takes it.
type context struct {
	_              [9]uint32
	IngressIfindex uint32
	_              [54]uint32
}

// Verdicts of a tc program.
const (
	shot     = 2
	redirect = 7
)

func mustLoad(t testing.TB, p *program.Program) *Fabric {
	t.Helper()
	kerneltest.RequireRoot(t)
	f, err := load(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mustCount(t testing.TB, f *Fabric) map[string]uint64 {
	t.Helper()
	counters, err := f.Counters()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, c := range counters {
		out[c.Name] = c.Packets
	}
	return out
}

// TestVerdicts runs the program on crafted frames: what it returns, what it
// makes of the frame, and that each is counted once and under its reason.
func TestVerdicts(t *testing.T) {
	f := mustLoad(t, testProgram())
	for _, trial := range trials() {
		t.Run(trial.name, func(t *testing.T) {
			before := mustCount(t, f)
			out := make([]byte, 256)
			opts := ebpf.RunOptions{
				Data: trial.frame, DataOut: out, Repeat: 1,
				Context: context{IngressIfindex: firstTrunk + trial.rack},
			}
			var verdict uint32
			// In a namespace of its own: copies of broadcast frames are sent
			// to links by number, whoever has them.
			ns, err := netns.Make(func() (err error) {
				verdict, err = f.objects.Trunk.Run(&opts)
				return err
			})
			unix.Close(ns)
			if err != nil {
				t.Fatal(err)
			}
			want := uint32(redirect)
			if len(trial.at) != 1 {
				want = shot
			}
			if verdict != want {
				t.Errorf("verdict %d, want %d", verdict, want)
			}
			frame := trial.frame
			if trial.reply != nil {
				frame = trial.reply
			}
			if got := opts.DataOut; trial.reason != "broadcast" && !bytes.Equal(got, frame) {
				t.Errorf("frame becomes\n%x, want\n%x", got, frame)
			}
			after := mustCount(t, f)
			for reason, n := range after {
				n -= before[reason]
				want := uint64(0)
				switch {
				case reason == trial.reason:
					want = 1
				case reason == "drop_broadcast_copy" && trial.reason == "broadcast":
					want = uint64(len(trial.at)) // there are no links
				}
				if n != want {
					t.Errorf("%s counts %d, want %d", reason, n, want)
				}
			}
		})
	}
}

// BenchmarkTrunk reports what the program costs for a frame. A test run costs
// some 16 ns by itself, with an empty program.
func BenchmarkTrunk(b *testing.B) {
	f := mustLoad(b, testProgram())
	for _, trial := range trials() {
		switch trial.name {
		case "unicast within a rack", "unicast across racks", "unicast to a given address",
			"unicast to a host far away", "spoofed: of another rack", "request for a free host":
		default:
			continue
		}
		b.Run(trial.name, func(b *testing.B) {
			_, err := f.objects.Trunk.Run(&ebpf.RunOptions{
				Data: trial.frame, Repeat: uint32(b.N),
				Context: context{IngressIfindex: firstTrunk + trial.rack},
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkLoad is what a platform of a thousand vnodes pays once.
func BenchmarkLoad(b *testing.B) {
	p := crowd(1000)
	for b.Loop() {
		f := mustLoad(b, p)
		f.Close()
	}
}

// BenchmarkUpdate is what 40,000 vnodes pay to find nothing changed.
func BenchmarkUpdate(b *testing.B) {
	p := crowd(40000)
	f := mustLoad(b, p)
	for b.Loop() {
		if writes, err := f.update(p, nil); writes != 0 || err != nil {
			b.Fatal(writes, err)
		}
	}
}

// crowd makes a program of n vnodes in one network.
func crowd(n uint32) *program.Program {
	p := &program.Program{Networks: []program.Network{{ID: 1, Name: "net", Subnet: netip.MustParsePrefix("10.0.0.0/8"), MTU: 1500}}}
	for i := range n {
		slot := i % program.RackVnodes
		if slot == 0 {
			p.Racks = append(p.Racks, program.Rack{Index: i / program.RackVnodes})
		}
		r := &p.Racks[len(p.Racks)-1]
		r.Vifaces = append(r.Vifaces, program.Viface{Slot: uint16(slot), Network: 1, Host: 1 + i})
	}
	return p
}
