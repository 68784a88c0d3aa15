package topo

import (
	"errors"
	"testing"
	"time"
)

// FuzzParse feeds the parser anything. It must not panic nor take long; what
// it refuses has sound errors, and what it accepts is valid by the schema.
func FuzzParse(f *testing.F) {
	for _, src := range files(f) {
		f.Add(src)
	}
	f.Add([]byte(million))
	s := compile(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		start := time.Now()
		files := func(path string) ([]byte, error) { return []byte("0 1\n1 0\n"), nil }
		topology, err := ParseWith("fuzz", src, files)
		if took := time.Since(start); took > slow {
			t.Errorf("took %v", took)
		}
		agree(t, s, "fuzz", src)
		if err == nil {
			if again, err := ParseWith("fuzz", src, files); err != nil || describe(again) != describe(topology) {
				t.Errorf("parsed twice, got\n%s\nand, with %v,\n%s", describe(topology), err, describe(again))
			}
			return
		}
		var all Errors
		if !errors.As(err, &all) || topology != nil {
			t.Fatalf("got %v with %v", topology, err)
		}
		for i, e := range all {
			if e.Line < 1 || e.Column < 1 || e.Msg == "" || i > 0 && e.File == all[i-1].File && e.Line < all[i-1].Line {
				t.Errorf("problem %d is %#v", i, e)
			}
		}
	})
}
