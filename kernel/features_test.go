package kernel

import (
	"os"
	"testing"

	"myriad/kernel/kerneltest"
)

func TestFeatures(t *testing.T) {
	for _, f := range Features() {
		if f.Name == "" || f.Since == "" || f.For == "" {
			t.Errorf("%+v: a feature says what it is, since when, and what for", f)
		}
		if f.Presence != Present && f.Remedy == "" {
			t.Errorf("%s is %s (%s), and nothing says what to do", f.Name, f.Presence, f.Detail)
		}
		if f.Presence == Unknown && os.Geteuid() == 0 {
			t.Errorf("%s is unknown to root: %s", f.Name, f.Detail)
		}
	}
}

// TestFeaturesOfThisMachine: where the privileged tests run, what they need
// is there, and the probes say so.
func TestFeaturesOfThisMachine(t *testing.T) {
	kerneltest.RequireRoot(t)
	for _, f := range Features() {
		if f.Needed && f.Presence != Present {
			t.Errorf("%s: %s: %s", f.Name, f.Presence, f.Detail)
		}
	}
}
