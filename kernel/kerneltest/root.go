// Package kerneltest is what tests of the kernel tree share: the one gate for
// tests that need privileges, a check that a test binary leaves nothing
// behind, and the suite that the real kernel and kernel/mem both pass.
package kerneltest

import (
	"os"
	"testing"
)

// MustRun is the environment variable under which a skip is a failure: where
// it is "1", every test of the tree must be able to run.
const MustRun = "MYRIAD_MUST_RUN"

// RequireRoot skips the test when it does not run as root, and fails it
// instead where MustRun is set.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		Skip(tb, "needs root: network namespaces and eBPF")
	}
}

// Skip skips the test for a reason, and fails it instead where MustRun is
// set, so that no skip goes unseen.
func Skip(tb testing.TB, reason string) {
	tb.Helper()
	if os.Getenv(MustRun) == "1" {
		tb.Fatalf("%s=1 and this test cannot run: %s", MustRun, reason)
	}
	tb.Skip(reason)
}
