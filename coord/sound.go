package coord

import (
	"fmt"
	"unicode"

	"myriad/bus"
	"myriad/program"
)

// What agents say of themselves is checked here, once: names of theirs come to
// subjects, records, files of hosts and terminals.

const mostWord = 255 // bytes of a name

// unsound says what is wrong with what an agent says of itself, nil if nothing
// is.
func unsound(h *bus.Hello) *program.Problem {
	cause := ""
	bad := func(format string, args ...any) {
		if cause == "" {
			cause = fmt.Sprintf(format, args...)
		}
	}
	if !program.ValidPnodeName(h.Pnode) {
		bad("%.64q is no name of a pnode", h.Pnode)
	}
	if h.Site != "" && !program.ValidPnodeName(h.Site) {
		bad("%.64q is no name of a site", h.Site)
	}
	for _, word := range []string{h.Session, h.Version, h.Machine, h.Coordinator, h.Boot, h.Kernel} {
		if !printable(word) {
			bad("%.64q is no text", word)
		}
	}
	if h.CPUs < 0 {
		bad("it has %d CPUs", h.CPUs)
	}
	if h.Address.IsValid() && !h.Address.Is4() {
		bad("%s is no IPv4 address", h.Address)
	}
	for i := range h.Platforms {
		if err := unsoundReport(&h.Platforms[i], h.Pnode); err != nil {
			bad("%s", err.Cause)
		}
	}
	if cause == "" {
		return nil
	}
	return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: fmt.Sprintf("take in pnode %.64q", h.Pnode), Cause: cause,
		Remedy: "is it an agent of this version? myriad bootstrap installs one"}
}

// unsoundReport says what is wrong with a pnode's report, nil if nothing is.
func unsoundReport(r *program.Report, pnode string) *program.Problem {
	if r.Pnode == pnode && program.ValidPlatformName(r.Platform) {
		return nil
	}
	return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "hear pnode " + pnode,
		Cause: fmt.Sprintf("it reports of platform %.64q at pnode %.64q", r.Platform, r.Pnode)}
}

func printable(s string) bool {
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return false
		}
	}
	return len(s) <= mostWord
}
