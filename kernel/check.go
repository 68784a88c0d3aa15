package kernel

import (
	"fmt"

	"myriad/program"
)

// check refuses programs that cannot be meant, and those that this kernel
// cannot carry.
func check(want *program.Program) error {
	if err := want.Validate(); err != nil {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "apply program", Cause: err.Error()}
	}
	for i := range want.Racks {
		for _, v := range want.Racks[i].Vnodes {
			if v.Weight != program.WeightNetns {
				return &program.Problem{Kind: program.KindUnsupported, Rack: int32(want.Racks[i].Index), Vnode: v.Name,
					Op: "make vnode", Cause: fmt.Sprintf("weight %s is not available yet", v.Weight)}
			}
		}
	}
	if want.Fabric == program.FabricBridge {
		if err := checkPorts(want); err != nil {
			return err
		}
	}
	return checkLinks(want)
}

// checkPorts refuses what Linux bridges have no ports for: in a rack one for
// each viface and one for the trunk, in the spine one for each rack.
func checkPorts(want *program.Program) error {
	spine := map[uint16]int{}
	if want.Overlay != nil { // one goes to other pnodes
		for _, n := range want.Networks {
			spine[n.ID] = 1
		}
	}
	for i := range want.Racks {
		ports := map[uint16]int{}
		for _, f := range want.Racks[i].Vifaces {
			ports[f.Network]++
		}
		for id, n := range ports {
			spine[id]++
			if n+1 > program.BridgePorts || spine[id] > program.BridgePorts {
				return &program.Problem{Kind: program.KindExhausted, Rack: int32(want.Racks[i].Index), Op: fmt.Sprintf("make bridge of network %d", id),
					Cause: fmt.Sprintf("a Linux bridge has at most %d ports", program.BridgePorts), Remedy: "use fabric: ebpf"}
			}
		}
	}
	return nil
}
