package coord

import (
	"fmt"
	"testing"
)

func TestVNIBase(t *testing.T) {
	seen := map[uint8]bool{}
	for i := range 5000 {
		base := vniBase(fmt.Sprint(i))
		if base == 0 || base != vniBase(fmt.Sprint(i)) {
			t.Fatalf("coordinator %d has base %d", i, base)
		}
		seen[base] = true
	}
	if len(seen) != 255 {
		t.Errorf("5,000 coordinators have %d bases, want 255", len(seen))
	}
	if New(Config{VNIBase: 9, Identity: "x"}).VNIBase != 9 {
		t.Error("a base that was given is not taken")
	}
}
