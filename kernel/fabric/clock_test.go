package fabric

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestClocks: the programs know no clock that can be set, or that leaps: they
// share CLOCK_MONOTONIC with the holders.
func TestClocks(t *testing.T) {
	others := map[asm.BuiltinFunc]bool{asm.FnKtimeGetBootNs: true, asm.FnKtimeGetCoarseNs: true, asm.FnKtimeGetTaiNs: true, asm.FnJiffies64: true}
	reads := 0
	for _, load := range []func() (*ebpf.CollectionSpec, error){loadTrunk, loadShaped, loadVeth} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for name, prog := range spec.Programs {
			for _, in := range prog.Instructions {
				if !in.IsBuiltinCall() {
					continue
				}
				fn := asm.BuiltinFunc(in.Constant)
				if others[fn] {
					t.Errorf("%s calls %v", name, fn)
				}
				if fn == asm.FnKtimeGetNs {
					reads++
				}
			}
		}
	}
	if reads == 0 {
		t.Error("no program reads any clock")
	}
}
