package main

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"

	"myriad/rack"
)

// build is what this binary was made from.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"` // with changes that are not in the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild reads what the Go tool has noted in the binary.
func thisBuild() build {
	b := build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// versionOf is what this binary says of itself to others, which must be the
// same: another one only in tests.
var versionOf = sync.OnceValue(func() string {
	v := rack.Version()
	if b := thisBuild(); b.Revision != "" && !b.Modified {
		return v
	}
	// Its sources are not known by their revision: then two binaries are the same
	// only if the Go tool says so.
	if id := buildID(selfExe); id != "" {
		v += fmt.Sprintf(".%x", sha256.Sum256([]byte(id)))[:9]
	}
	return v
})

// buildID is what the Go tool wrote into a binary to tell builds apart; empty
// if it did not.
func buildID(file string) string {
	f, err := elf.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	note := f.Section(".note.go.buildid")
	if note == nil {
		return ""
	}
	text, err := note.Data()
	if err != nil {
		return ""
	}
	return string(text)
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Tell what this binary was built from",
		Example: "  myriad version\n  myriad version -o json | jq -r .revision",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if a.json() {
				return a.printJSON(b)
			}
			fmt.Fprintf(a.stdout, "myriad %s (%s, %s)\n", b.Version, b.Go, b.Platform)
			if b.Revision != "" {
				fmt.Fprintf(a.stdout, "revision %s of %s%s\n", b.Revision, b.Time, map[bool]string{true: ", modified"}[b.Modified])
			}
			return nil
		},
	}
}
