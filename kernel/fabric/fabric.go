// Package fabric is the forwarding plane: eBPF programs that do what bridges
// and ARP would do otherwise, and the tables they decide by.
//
// A platform on a pnode has one Fabric: the program trunk (bpf/trunk.c), at
// the ingress of every trunk's end in the spine, and its maps. Where a platform
// has several pnodes, it also stands at the ingress of the overlay's device,
// and sends there what is for the others (bpf/overlay.h). Nothing is
// pinned: the filters on the trunks keep the program, the program its maps,
// and Find gets from the filters back to all of them after the process that
// made them has gone.
//
// Where links have conditions, another build of the same program takes its
// place (bpf/shaped.c), which computes when each frame is due, and gives it to
// a holder until then; where frames come out of that stands the program
// release. When the conditions are gone, so is all of it.
//
// A rack whose vnodes are attached by veth pairs has a Veth besides (bpf/veth.c).
package fabric

//go:generate go tool bpf2go -target bpfel -no-global-types -cflags "-mcpu=v3 -Wall -Wextra -Werror" trunk bpf/trunk.c
//go:generate go tool bpf2go -target bpfel -no-global-types -cflags "-mcpu=v3 -Wall -Wextra -Werror" shaped bpf/shaped.c
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
	shaping *shaping // nil: links have no conditions
	grace   func() error
}

// Grace has the fabric wait for programs that run by calling wait, where one
// change of conditions follows upon another; if that fails, it waits as the
// kernel provides, for some tens of milliseconds.
func (f *Fabric) Grace(wait func() error) { f.grace = wait }

// FilterName is how the filters of fabrics begin to be called; the rest names
// the version of the program.
const FilterName = "myriad_trunk"

// Names of the versions of the programs in this binary. Maps of another
// version may have another form.
var (
	filterName  = fmt.Sprintf("%s_%.4x", FilterName, sha256.Sum256(_TrunkBytes))
	shapedName  = fmt.Sprintf("%s_shaped_%.4x", FilterName, sha256.Sum256(_ShapedBytes))
	releaseName = fmt.Sprintf("myriad_release_%.4x", sha256.Sum256(_ShapedBytes))
)

// Close lets go of the programs and their maps.
func (f *Fabric) Close() error {
	err := f.objects.Close()
	if f.shaping != nil {
		err = errors.Join(err, f.shaping.release.Close(), f.shaping.maps.close())
	}
	return err
}

// Attach adds to a batch the two messages that give a trunk's end in the spine
// to the fabric: its clsact qdisc, and the filter. Where another fabric is on
// the link, it is replaced, and no frame passes in between.
func (f *Fabric) Attach(b *rtnl.Batch, link int32) {
	add(b, link, f.objects.Trunk, f.name())
}

// name is how filters that run the program trunk are called.
func (f *Fabric) name() string {
	if f.shaping != nil {
		return shapedName
	}
	return filterName
}

func add(b *rtnl.Batch, link int32, prog *ebpf.Program, name string) {
	b.NewClsact(link)
	b.SetFilter(&rtnl.Filter{Link: link, Hook: rtnl.Ingress, Prog: prog.FD(), Name: name})
}

// update makes the tables match a program, and conditions those of s, while
// frames pass, and returns the number of entries written: none where nothing
// differs. It fails with errRoom or ErrRoom, and leaves them as they are, if
// the maps have no room.
func (f *Fabric) update(p *program.Program, s *Shaping) (writes int, err error) {
	have, err := f.objects.read()
	if err != nil {
		return 0, err
	}
	want, err := build(p, have)
	if err != nil {
		return 0, err
	}
	if f.shaping != nil {
		want.carry(have)
		c, err := f.prepare(have, want, s.Links)
		if err != nil {
			return 0, err
		}
		if writes, err = c.Commit(); err != nil {
			return writes, err
		}
	}
	n, err := f.objects.write(have, want)
	return writes + n, err
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
