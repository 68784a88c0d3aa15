package fabric

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"myriad/program"
)

// TestBuildStates goes through random programs, each built upon the tables of
// the one before: what the programs in the kernel would find must always be
// what the program says, whatever was there.
func TestBuildStates(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		have := mustBuild(t, randomProgram(rng), nil)
		reloads := 0
		for step := range 50 {
			p := randomProgram(rng)
			want, err := build(p, have)
			if errors.Is(err, errRoom) {
				reloads++
				want = mustBuild(t, p, nil)
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := differs(p, want); diff != "" {
				t.Fatalf("seed %d, step %d: %s", seed, step, diff)
			}
			if again, err := build(p, want); err != nil || !equal(again, want) {
				t.Fatalf("seed %d, step %d: built twice, the tables differ (%v)", seed, step, err)
			}
			have = want
		}
		if reloads == 50 {
			t.Errorf("seed %d: no program found room", seed)
		}
	}
}

// mustBuild makes new tables and gives them the room that maps have.
func mustBuild(t *testing.T, p *program.Program, have *tables) *tables {
	t.Helper()
	want, err := build(p, have)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := loadTrunk()
	if err != nil {
		t.Fatal(err)
	}
	want.extend(spec)
	return want
}

func equal(a, b *tables) bool {
	return slices.Equal(a.nets, b.nets) && slices.Equal(a.places, b.places) &&
		slices.Equal(a.members, b.members) && maps.Equal(a.others, b.others)
}

// randomProgram makes a program with some networks, dense and sparse hosts,
// given addresses and remote hosts.
func randomProgram(rng *rand.Rand) *program.Program {
	p := &program.Program{}
	for k := range uint32(3) {
		p.Racks = append(p.Racks, program.Rack{Index: k})
	}
	for id := uint16(1); id < 6; id++ {
		if rng.IntN(3) == 0 {
			continue
		}
		n := program.Network{ID: id, Subnet: netip.MustParsePrefix([]string{"10.0.0.0/16", "10.0.0.0/8", "10.0.0.0/28"}[id%3]), Broadcast: rng.IntN(2) == 0}
		p.Networks = append(p.Networks, n)
		size := 1 << (32 - n.Subnet.Bits())
		hosts := map[uint32]bool{}
		for range rng.IntN(100) {
			host := uint32(1 + rng.IntN(min(size-2, 1<<rng.IntN(25))))
			if hosts[host] {
				continue
			}
			hosts[host] = true
			v := program.Viface{Network: id, Host: host}
			if rng.IntN(10) == 0 {
				v.MAC = program.MAC{0x0a, byte(id), byte(host >> 24), byte(host >> 16), byte(host >> 8), byte(host)}
			}
			if rng.IntN(10) == 0 {
				p.Remote = append(p.Remote, program.PlaceRange{Network: id, Host: host, Count: 1, Pnode: 1 + rng.Uint32N(9)})
				if v.MAC != (program.MAC{}) {
					p.MACs = append(p.MACs, program.GivenMAC{Network: id, Host: host, MAC: v.MAC})
				}
				continue
			}
			r := &p.Racks[rng.IntN(3)]
			r.Vifaces = append(r.Vifaces, v)
		}
	}
	slices.SortFunc(p.Remote, func(a, b program.PlaceRange) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Host, b.Host))
	})
	slices.SortFunc(p.MACs, func(a, b program.GivenMAC) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Host, b.Host))
	})
	return p
}

// differs says where tables do not say what the program says.
func differs(p *program.Program, t *tables) string {
	type host struct {
		network uint16
		host    uint32
	}
	want := map[host]other{}
	for _, r := range p.Racks {
		for _, v := range r.Vifaces {
			want[host{v.Network, v.Host}] = other{MAC: macWord(v.Address()), Trunk: firstTrunk + r.Index}
		}
	}
	for _, r := range p.Remote {
		for h := r.Host; h < r.Host+r.Count; h++ {
			want[host{r.Network, h}] = other{MAC: macWord(macOf(p, r.Network, h)), Trunk: placeRemote | r.Pnode}
		}
	}
	for h, w := range want {
		got, ok := lookup(t, h.network, h.host)
		if !ok || got.MAC != w.MAC || got.Trunk != w.Trunk {
			return fmt.Sprintf("host %d of network %d is %+v, want %+v", h.host, h.network, got, w)
		}
		if given := t.others[w.MAC]; w.MAC != macWord(program.MACOf(h.network, h.host)) && given != got {
			return fmt.Sprintf("address %x is %+v, want %+v", w.MAC, given, got)
		}
	}
	inUse := 0
	for _, place := range t.places {
		if place != 0 {
			inUse++
		}
	}
	for key := range t.others {
		if key>>63 != 0 {
			inUse++
		}
	}
	given := 0
	for h, w := range want {
		if r := t.row(int(h.network)); h.host < r.span && w.MAC != macWord(program.MACOf(h.network, h.host)) {
			given++ // has a mark among the places, and an entry
		}
	}
	if inUse != len(want)+given {
		return fmt.Sprintf("%d hosts are in the tables, want %d", inUse-given, len(want))
	}
	return membersDiffer(p, t)
}

func membersDiffer(p *program.Program, t *tables) string {
	want := map[uint16][]uint64{}
	for _, r := range p.Racks {
		for _, v := range r.Vifaces {
			want[v.Network] = append(want[v.Network], memberWord(firstTrunk+r.Index, v.Address()))
		}
	}
	for _, r := range p.Remote {
		for h := r.Host; h < r.Host+r.Count; h++ {
			want[r.Network] = append(want[r.Network], memberWord(OverlayIndex, macOf(p, r.Network, h)))
		}
	}
	total := 0
	for _, n := range p.Networks {
		r := t.row(int(n.ID))
		var got []uint64
		for _, m := range t.members[r.member : r.member+r.members] {
			if m != 0 {
				got = append(got, m)
			}
		}
		if !n.Broadcast {
			want[n.ID] = nil
		}
		slices.Sort(got)
		slices.Sort(want[n.ID])
		if !slices.Equal(got, want[n.ID]) {
			return fmt.Sprintf("members of network %d are %x, want %x", n.ID, got, want[n.ID])
		}
		total += len(got)
	}
	for _, m := range t.members {
		if m != 0 {
			total--
		}
	}
	if total != 0 {
		return "there are members of no network"
	}
	return ""
}

// macOf is the address of a viface of another pnode.
func macOf(p *program.Program, network uint16, host uint32) program.MAC {
	for _, g := range p.MACs {
		if g.Network == network && g.Host == host {
			return g.MAC
		}
	}
	return program.MACOf(network, host)
}

// lookup is find_host of bpf/trunk.c.
func lookup(t *tables, network uint16, host uint32) (other, bool) {
	if r := t.row(int(network)); host < r.span {
		place := t.places[r.base+host]
		if place != placeOther {
			return other{MAC: macWord(program.MACOf(network, host)), Network: uint32(network), Host: host, Trunk: uint32(place)}, place != 0
		}
	}
	o, ok := t.others[byHost(network, host)]
	return o, ok
}

// TestBuildKeeps: what stays in a program stays where it is in the tables.
func TestBuildKeeps(t *testing.T) {
	p := crowd(3000)
	p.Networks[0].Broadcast = true
	have := mustBuild(t, p, nil)
	edited := crowd(3200)
	edited.Networks[0].Broadcast = true
	edited.Racks[0].Vifaces = edited.Racks[0].Vifaces[100:]
	want := mustBuild(t, edited, have)
	if have.row(1).base != want.row(1).base || have.row(1).member != want.row(1).member {
		t.Error("the network moved, although there was room")
	}
	changed := 0
	for i := range have.places {
		if have.places[i] != want.places[i] {
			changed++
		}
	}
	for i := range have.members {
		if have.members[i] != want.members[i] {
			changed++
		}
	}
	// A hundred are gone, whose places among the members a hundred of the two
	// hundred new ones have taken.
	if most := 100 + 200 + 200; changed > most {
		t.Errorf("%d words change, want at most %d", changed, most)
	}
}

// TestBuildRoom: a program that outgrows any one of the maps is told apart.
func TestBuildRoom(t *testing.T) {
	small := testProgram()
	have := mustBuild(t, small, nil)
	for name, grow := range map[string]func(*program.Program){
		"hosts": func(p *program.Program) {
			p.Remote = append(p.Remote, program.PlaceRange{Network: 1, Host: 1000, Count: 20000, Pnode: 1})
		},
		"networks": func(p *program.Program) {
			p.Networks = append(p.Networks, program.Network{ID: 500, Subnet: netip.MustParsePrefix("10.3.0.0/24")})
		},
		"members": func(p *program.Program) {
			for i := range uint32(400) {
				p.Racks[0].Vifaces = append(p.Racks[0].Vifaces, program.Viface{Network: 1, Host: 300 + i})
			}
		},
		"exceptions": func(p *program.Program) {
			for i := range uint32(40) {
				p.Racks[0].Vifaces = append(p.Racks[0].Vifaces, program.Viface{Network: 1, Host: 100 + i, MAC: program.MAC{0x0a, 1, 0, 0, 0, byte(i)}})
			}
		},
	} {
		p := testProgram()
		grow(p)
		if _, err := build(p, have); !errors.Is(err, errRoom) {
			t.Errorf("more %s than there is room for: %v, want %v", name, err, errRoom)
		}
		if diff := differs(p, mustBuild(t, p, nil)); diff != "" {
			t.Errorf("more %s, built anew: %s", name, diff)
		}
	}
}

// TestBuildSize: tables by number cost what their hosts are worth, and a fixed
// address far away costs one exception.
func TestBuildSize(t *testing.T) {
	p := crowd(1000)
	p.Racks[0].Vifaces = append(p.Racks[0].Vifaces[:999], program.Viface{Network: 1, Host: program.MaxHost - 1})
	got := mustBuild(t, p, nil)
	if len(got.places) > 4000 || len(got.others) != 1 {
		t.Errorf("1,000 vnodes take %d places and %d exceptions, want about 1,000 and 1", len(got.places), len(got.others))
	}
}

// TestBuildRefuses programs that would lead outside of the tables.
func TestBuildRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*program.Program){
		"network": func(p *program.Program) { p.Racks[0].Vifaces[0].Network = 999 },
		"host":    func(p *program.Program) { p.Racks[0].Vifaces[0].Host = 1 << 16 },
		"remote":  func(p *program.Program) { p.Remote[0].Count = 1 << 16 },
		"rack":    func(p *program.Program) { p.Racks[1].Index = 1 << 16 },
	} {
		p := testProgram()
		spoil(p)
		if _, err := build(p, nil); err == nil {
			t.Errorf("a program with a bad %s was taken", name)
		}
	}
}
