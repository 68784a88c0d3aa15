// Package fabric is the forwarding plane: eBPF programs that do what bridges
// and ARP would do otherwise, and the tables they decide by.
//
// A platform on a pnode has one Fabric: the program trunk (bpf/trunk.c), at
// the ingress of every trunk's end in the spine, and its maps. Nothing is
// pinned: the filters on the trunks keep the program, the program its maps,
// and Find gets from the filters back to all of them after the process that
// made them has gone.
//
// A rack whose vnodes are attached by veth pairs has a Veth besides (bpf/veth.c).
package fabric

//go:generate go tool bpf2go -target bpfel -no-global-types -cflags "-mcpu=v3 -Wall -Wextra -Werror" trunk bpf/trunk.c
//go:generate go tool bpf2go -target bpfel -no-global-types -cflags "-mcpu=v3 -Wall -Wextra -Werror" veth bpf/veth.c

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// Fabric is the forwarding plane of one platform on one pnode. Keep it for as
// long as it is to be attached to new trunks, and close it then: those that
// have it keep it. It is for one goroutine at a time.
type Fabric struct {
	objects trunkObjects
}

// FilterName is how the filters of fabrics begin to be called; the rest names
// the version of the program.
const FilterName = "myriad_trunk"

// filterName names the version of the program in this binary. Maps of another
// version may have another form.
var filterName = fmt.Sprintf("%s_%.4x", FilterName, sha256.Sum256(_TrunkBytes))

// load puts a new fabric into the kernel, with the tables of a program and
// some room to grow. It goes on with the counts of old, if there is one.
func load(p *program.Program, old *Fabric) (*Fabric, error) {
	want, err := build(p, nil)
	if err != nil {
		return nil, err
	}
	spec, err := loadTrunk()
	if err != nil {
		return nil, err
	}
	want.extend(spec)
	var opts ebpf.CollectionOptions
	if old != nil {
		opts.MapReplacements = map[string]*ebpf.Map{trunkMapCounts: old.objects.Counts}
	}
	f := &Fabric{}
	if err := spec.LoadAndAssign(&f.objects, &opts); err != nil {
		return nil, unsupported("load the fabric's program", err)
	}
	if _, err := f.objects.write(want.empty(), want); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close lets go of the program and its maps.
func (f *Fabric) Close() error { return f.objects.Close() }

// Attach adds to a batch the two messages that give a trunk's end in the spine
// to the fabric: its clsact qdisc, and the filter. Where another fabric is on
// the link, it is replaced, and no frame passes in between.
func (f *Fabric) Attach(b *rtnl.Batch, link int32) {
	b.NewClsact(link)
	b.SetFilter(&rtnl.Filter{Link: link, Hook: rtnl.Ingress, Prog: f.objects.Trunk.FD(), Name: filterName})
}

// update makes the tables match a program while frames pass, and returns the
// number of entries written: none where nothing differs. If the maps have no
// room for it, they stay as they are, and next is a new fabric that goes on
// with the counts of this one, to be put in its place; else next is f.
func (f *Fabric) update(p *program.Program) (next *Fabric, writes int, err error) {
	have, err := f.objects.read()
	if err != nil {
		return f, 0, err
	}
	want, err := build(p, have)
	if errors.Is(err, errRoom) {
		next, err := load(p, f)
		if err != nil {
			return f, 0, err
		}
		return next, 0, nil
	}
	if err != nil {
		return f, 0, err
	}
	writes, err = f.objects.write(have, want)
	return f, writes, err
}

// unsupported says that this kernel is too old, or lacks something.
func unsupported(op string, err error) error {
	for _, scarce := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EPERM} {
		if errors.Is(err, scarce) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return &program.Problem{
		Kind: program.KindUnsupported, Rack: -1, Op: op, Cause: err.Error(),
		Remedy: "the eBPF fabric needs Linux 5.17 or later with BPF_SYSCALL, NET_CLS_BPF and NET_SCH_INGRESS; fabric: bridge does without",
	}
}
