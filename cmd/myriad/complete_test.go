package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"myriad/nodeset"
)

// population is a platform of 40,000 peers and a few others.
func population() *nodeset.Set {
	names := []string{"gw1", "gw2", "tracker"}
	for i := 1; i <= 40000; i++ {
		names = append(names, fmt.Sprintf("peer%d", i))
	}
	return nodeset.Of(names...)
}

func TestCompleteNodeset(t *testing.T) {
	names := population()
	groups := map[string]int{"clients": 40000, "gateways": 2}
	for _, c := range []struct {
		word, want string
		noSpace    bool
	}{
		{"", "gw peer tracker", true},
		{"g", "gw1 gw2", false},
		{"tr", "tracker", false},
		{"zz", "", false},
		{"peer1234", "peer1234 peer12340 peer12341 peer12342 peer12343 peer12344 peer12345 peer12346 peer12347 peer12348 peer12349", false},
		{"peer12", "peer12 peer120 peer121 peer122 peer123 peer124 peer125 peer126 peer127 peer128 peer129", true},
		{"pe", "peer1 peer2 peer3 peer4 peer5 peer6 peer7 peer8 peer9", true},
		{"peer", "peer1 peer2 peer3 peer4 peer5 peer6 peer7 peer8 peer9 peer[1-40000]", true},
		{"gw1,tr", "gw1,tracker", false},
		{"peer[1-40]!g", "peer[1-40]!gw1 peer[1-40]!gw2", false},
		{"peer[1-", "", false},
		{"@", "@clients @gateways", false},
		{"peer1&@c", "peer1&@clients", false},
	} {
		found, directive := completeNodeset(c.word, names, groups)
		var got []string
		for _, f := range found {
			name, _, _ := strings.Cut(f, "\t")
			got = append(got, name)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%q completes to %q, want %q", c.word, s, c.want)
		}
		if noSpace := directive&cobra.ShellCompDirectiveNoSpace != 0; noSpace != c.noSpace {
			t.Errorf("%q: no space is %v, want %v", c.word, noSpace, c.noSpace)
		}
		if directive&cobra.ShellCompDirectiveNoFileComp == 0 {
			t.Errorf("%q completes to files too", c.word)
		}
	}
}
