package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

func TestShellWords(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"myriad ", []string{"myriad", ""}},
		{"myriad ps  peer1", []string{"myriad", "ps", "peer1"}},
		{"myriad exec 'peer[1-5]!pe", []string{"myriad", "exec", "peer[1-5]!pe"}},
		{`myriad exec "a b"c\ d `, []string{"myriad", "exec", "a bc d", ""}},
		{`myriad exec '' p`, []string{"myriad", "exec", "", "p"}},
		{`myriad exec 'a\' "\"`, []string{"myriad", "exec", `a\`, `"`}},
	} {
		if got := shellWords(c.line); !slices.Equal(got, c.want) {
			t.Errorf("%s\ngot  %q\nwant %q", c.line, got, c.want)
		}
	}
}

func TestOwnWords(t *testing.T) {
	for line, want := range map[string][]string{
		"myriad ps p":                        {"ps", "p"},
		"A=b sudo /usr/bin/myriad ps ":       {"ps", ""},
		"cat x | myriad exec peer1 --stdin ": {"exec", "peer1", "--stdin", ""},
		"other ps p":                         nil,
		"myriad":                             nil,
	} {
		if got := ownWords(shellWords(line)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestBashAnswer(t *testing.T) {
	const none = cobra.ShellCompDirectiveNoFileComp
	for _, c := range []struct {
		name           string
		found          []string
		directive      cobra.ShellCompDirective
		argument, word string
		want           string
	}{
		{"one is inserted bare", []string{"gw,@peers\t40,000 vnodes"}, none, "gw,@p", "gw,@p", "\ngw,@peers\n"},
		{"readline breaks words at @", []string{"gw,@peers\t40,000 vnodes"}, none, "gw,@p", "@p", "\n@peers\n"},
		{"several are described", []string{"peer1", "peer10\t11 vnodes", "peer2"}, none | cobra.ShellCompDirectiveNoSpace, "peer1", "peer1",
			"nospace\npeer1\npeer10  (11 vnodes)\n"},
		{"files", []string{"yaml", "json"}, cobra.ShellCompDirectiveFilterFileExt, "", "", "files\n"},
		{"whatever the shell does", nil, cobra.ShellCompDirectiveDefault, "x", "x", "files\n"},
	} {
		if got := bashAnswer(c.found, c.directive, c.argument, c.word); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
