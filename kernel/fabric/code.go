package fabric

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// Code is a program as the kernel has translated it: the same for programs that
// do the same, whatever their maps.
type Code struct {
	Tag          string   // the kernel's checksum of what was loaded
	Instructions []string // without the numbers of maps
}

// CodeOf reads the program of an ID, which filters tell (rtnl.FilterInfo).
func CodeOf(id uint32) (*Code, error) {
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return nil, fmt.Errorf("open program %d: %w", id, err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return nil, fmt.Errorf("read program %d: %w", id, err)
	}
	list, err := info.Instructions()
	if err != nil {
		return nil, fmt.Errorf("read the code of program %d: %w", id, err)
	}
	c := &Code{Tag: info.Tag, Instructions: make([]string, len(list))}
	for i, in := range list {
		if in.IsLoadFromMap() {
			in.Constant = 0
		}
		c.Instructions[i] = fmt.Sprint(in.OpCode, " ", in.Dst, in.Src, " ", in.Offset, in.Constant)
	}
	return c, nil
}
