package main

import (
	"os"
	"strings"
	"testing"

	"myriad/kernel"
)

// TestHolderLine: doctor says what holds delayed packets, why, and how to have
// something else.
func TestHolderLine(t *testing.T) {
	for _, test := range []struct {
		force string
		want  []string
	}{
		{kernel.HolderWheel, []string{"ok       holder of delayed packets", "wheel: "}},
		{"treadmill", []string{"lacking  holder of delayed packets", `MYRIAD_HOLDER="treadmill" is unknown`, "set it to fq or wheel"}},
	} {
		t.Setenv(kernel.HolderVariable, test.force)
		var out strings.Builder
		(&diagnosis{Holder: chooseHolder()}).write(&out)
		if os.Geteuid() == 0 && test.force == kernel.HolderWheel {
			test.want = append(test.want, "MYRIAD_HOLDER=wheel", "instead: ")
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s forced: no %q in\n%s", test.force, want, out.String())
			}
		}
	}
}
