package fabric

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// Veth is what a rack has in its own namespace if vnodes of it are attached by
// veth pairs: a program that joins the pairs to the trunk. Keep it and use it
// like a Fabric.
type Veth struct {
	objects vethObjects
}

// vethBlock is the block of the rack's namespace that the rack's end of the
// trunk and the pairs' host ends share.
const vethBlock = 1

var vethName = fmt.Sprintf("myriad_veth_%.4x", sha256.Sum256(_VethBytes))

// EnsureVeth makes the rack that c belongs to pass frames between its end of
// the trunk and the host ends of pairs, each of which stands for one Ethernet
// address. Links join with Join; which of them have is for the caller to know.
// It returns the number of writes: none where all is as it should be.
func EnsureVeth(c *rtnl.Conn, trunk int32, ends map[int32]program.MAC) (*Veth, int, error) {
	old, err := findVeth(c, trunk)
	if err != nil {
		return nil, 0, err
	}
	if old != nil && len(ends)*2 <= int(old.objects.Senders.MaxEntries()) {
		writes, err := old.write(ends)
		if err != nil {
			return nil, writes, errors.Join(err, old.Close())
		}
		return old, writes, nil
	}
	v, err := loadVethFor(trunk, ends, old)
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	if err != nil {
		return nil, 0, err
	}
	writes, err := v.attach(c, trunk)
	if err != nil {
		return nil, writes, errors.Join(err, v.Close())
	}
	return v, writes, nil
}

// Join adds to a batch what joins a pair's host end to the rack's trunk.
func (v *Veth) Join(b *rtnl.Batch, link int32) { b.NewIngress(link, vethBlock) }

// Counters reads what became of the frames that went no further than here.
func (v *Veth) Counters() ([]program.Counter, error) { return counters(v.objects.Counts) }

// Close lets go of the program and its maps.
func (v *Veth) Close() error { return v.objects.Close() }

// findVeth gets back to the program that a rack runs; nil if there is none of
// this version.
func findVeth(c *rtnl.Conn, trunk int32) (*Veth, error) {
	var id uint32
	err := c.Read(&rtnl.Dump{FilterLink: trunk, FilterHook: rtnl.Ingress, Filters: func(f *rtnl.FilterInfo) {
		if f.Name == vethName {
			id = f.ProgID
		}
	}})
	if err != nil || id == 0 {
		return nil, err
	}
	v := &Veth{}
	o := &v.objects
	o.Veth, err = adopt(ebpf.ProgramID(id), map[string]**ebpf.Map{
		vethMapSenders: &o.Senders, vethMapReceivers: &o.Receivers, vethMapCounts: &o.Counts,
	})
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// loadVethFor loads the program with room for as many ends again.
func loadVethFor(trunk int32, ends map[int32]program.MAC, old *Veth) (*Veth, error) {
	spec, err := loadVeth()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables[vethVarTrunk].Set(uint32(trunk)); err != nil {
		return nil, err
	}
	room := uint32(max(len(ends)*4, 2*program.RackVnodes))
	spec.Maps[vethMapSenders].MaxEntries = room
	spec.Maps[vethMapReceivers].MaxEntries = room
	var opts ebpf.CollectionOptions
	if old != nil {
		opts.MapReplacements = map[string]*ebpf.Map{vethMapCounts: old.objects.Counts}
	}
	v := &Veth{}
	if err := spec.LoadAndAssign(&v.objects, &opts); err != nil {
		return nil, unsupported("load the program for veth pairs", err)
	}
	if _, err := v.write(ends); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// write makes the tables hold the ends. A new end is known as a receiver
// before it may send; an old one is forgotten the other way round.
func (v *Veth) write(ends map[int32]program.MAC) (int, error) {
	senders := make(map[uint32]uint64, len(ends))
	receivers := make(map[uint64]uint32, len(ends))
	for link, mac := range ends {
		senders[uint32(link)] = macWord(mac)
		receivers[macWord(mac)] = uint32(link)
	}
	haveReceivers, err := readHash[uint64, uint32](v.objects.Receivers)
	if err != nil {
		return 0, err
	}
	haveSenders, err := readHash[uint32, uint64](v.objects.Senders)
	if err != nil {
		return 0, err
	}
	writes := 0
	for _, step := range []func() (int, error){
		func() (int, error) { return enter(v.objects.Receivers, haveReceivers, receivers) },
		func() (int, error) { return enter(v.objects.Senders, haveSenders, senders) },
		func() (int, error) { return remove(v.objects.Senders, haveSenders, senders) },
		func() (int, error) { return remove(v.objects.Receivers, haveReceivers, receivers) },
	} {
		n, err := step()
		writes += n
		if err != nil {
			return writes, err
		}
	}
	return writes, nil
}

// attach makes the block, which the trunk is the first to have, and puts the
// program onto it.
func (v *Veth) attach(c *rtnl.Conn, trunk int32) (int, error) {
	var b rtnl.Batch
	v.Join(&b, trunk)
	b.SetFilter(&rtnl.Filter{Link: rtnl.BlockLink, Hook: vethBlock, Prog: v.objects.Veth.FD(), Name: vethName})
	return attach(c, &b)
}
