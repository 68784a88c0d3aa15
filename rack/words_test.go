package rack

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for text, want := range map[string]string{
		"myriad: one\nmyriad: two\n": "myriad: two",
		"rack 0: note\nruntime/cgo: pthread_create failed: no\nSIGABRT: abort\n\ngs 0x0\n": "runtime/cgo: pthread_create failed: no",
		"": "it said nothing in " + path,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastWords(path); got != want {
			t.Errorf("last words of %q: %q, want %q", text, got, want)
		}
	}
}
