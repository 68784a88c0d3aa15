package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
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
