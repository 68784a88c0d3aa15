package kernel

import (
	"testing"

	"myriad/program"
)

// TestPorts: as many racks as a bridge of the spine has ports, and no more.
func TestPorts(t *testing.T) {
	p := &program.Program{Fabric: program.FabricBridge}
	for k := range uint32(program.BridgePorts) {
		p.Racks = append(p.Racks, program.Rack{Index: k, Vifaces: []program.Viface{{Network: 1}}})
	}
	if err := checkPorts(p); err != nil {
		t.Errorf("%d racks: %v", len(p.Racks), err)
	}
	p.Racks = append(p.Racks, program.Rack{Index: program.BridgePorts, Vifaces: []program.Viface{{Network: 1}}})
	if err := checkPorts(p); err == nil {
		t.Errorf("%d racks were accepted", len(p.Racks))
	}
}
