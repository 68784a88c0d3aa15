package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/nodeset"
)

// completeMax is how many names are offered one by one; of more, prefixes are.
const completeMax = 32

// completePatience is how long a shell is kept waiting for candidates.
const completePatience = 2 * time.Second

// completePlatforms offers the platforms that are up.
func (a *app) completePlatforms(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := a.completing(cmd)
	defer cancel()
	platforms, err := a.client().Platforms(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for _, p := range platforms {
		found = append(found, cobra.CompletionWithDesc(p.Name, plural(p.Vnodes, "vnode", "vnodes")+", "+p.State))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeNodes completes the first of a command's arguments as a node set,
// and leaves those after it to the shell if rest is set.
func (a *app) completeNodes(rest bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch {
		case len(args) > 0 && rest:
			return nil, cobra.ShellCompDirectiveDefault
		case len(args) > 0:
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := a.completing(cmd)
		defer cancel()
		names, groups, err := a.names(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeNodeset(word, names, groups)
	}
}

// completing prepares a call of the daemon during completion, where no
// PersistentPreRun has been.
func (a *app) completing(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	_ = a.absoluteDirs() // then there are no candidates
	return context.WithTimeout(cmd.Context(), completePatience)
}

// completeNodeset offers what could follow word, a node set being typed. What
// stands before the last operator is kept. Names are offered where they are
// few, and otherwise the next letter or digit of them, with their number.
func completeNodeset(word string, names *nodeset.Set, groups map[string]int) ([]cobra.Completion, cobra.ShellCompDirective) {
	typed, last := splitOperand(word)
	var found []cobra.Completion
	if group, ok := strings.CutPrefix(last, "@"); ok {
		for name, n := range groups {
			if strings.HasPrefix(name, group) {
				found = append(found, cobra.CompletionWithDesc(typed+"@"+name, plural(n, "vnode", "vnodes")))
			}
		}
		slices.Sort(found)
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	if strings.ContainsAny(last, "[]*?") {
		return nil, cobra.ShellCompDirectiveNoFileComp // a range or pattern is the user's own
	}
	matches := withPrefix(names, last)
	directive := cobra.ShellCompDirectiveNoFileComp
	for _, c := range branches(last, matches) {
		if c.count == 1 {
			found = append(found, typed+c.prefix)
			continue
		}
		directive |= cobra.ShellCompDirectiveNoSpace
		found = append(found, cobra.CompletionWithDesc(typed+c.prefix, fmt.Sprintf("%s … %s, %s vnodes", c.first, c.last, count(c.count))))
	}
	if whole := nodeset.Of(matches...).String(); len(matches) > completeMax && strings.HasPrefix(whole, last+"[") && len(whole) <= 60 {
		found = append(found, cobra.CompletionWithDesc(typed+whole, "all of them"))
	}
	return found, directive
}

// splitOperand cuts a node set behind its last operator outside brackets.
func splitOperand(word string) (before, operand string) {
	depth, cut := 0, 0
	for i, r := range word {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		case ',', '!', '&', '^', ' ':
			if depth == 0 {
				cut = i + 1
			}
		}
	}
	return word[:cut], word[cut:]
}

// withPrefix gives the names that begin with prefix, in the set's order.
func withPrefix(names *nodeset.Set, prefix string) []string {
	var found []string
	for name := range names.All() {
		if strings.HasPrefix(name, prefix) {
			found = append(found, name)
		}
	}
	return found
}

// branch is a candidate: a name, or the beginning of several.
type branch struct {
	prefix      string
	count       int
	first, last string
}

// branches splits names, which all begin with prefix, by what comes next:
// each by itself if they are few, else the longest common beginnings that
// differ in the letter or digit behind prefix.
func branches(prefix string, names []string) []branch {
	if len(names) <= completeMax {
		out := make([]branch, len(names))
		for i, name := range names {
			out[i] = branch{name, 1, name, name}
		}
		return out
	}
	if common := commonPrefix(names); len(common) > len(prefix) && !slices.Contains(names, common) {
		return branches(common, names)
	}
	groups := map[string][]string{}
	var order []string
	for _, name := range names {
		next := prefix
		if len(name) > len(prefix) {
			next = name[:len(prefix)+1]
		}
		if groups[next] == nil {
			order = append(order, next)
		}
		groups[next] = append(groups[next], name)
	}
	slices.Sort(order)
	var out []branch
	for _, next := range order {
		group := groups[next]
		b := branch{prefix: commonPrefix(group), count: len(group), first: group[0], last: group[len(group)-1]}
		if next == prefix || len(group) == 1 { // a whole name, which others may continue
			b = branch{group[0], 1, group[0], group[0]}
		}
		out = append(out, b)
	}
	return out
}

// commonPrefix is the longest beginning that names share.
func commonPrefix(names []string) string {
	p := names[0]
	for _, name := range names[1:] {
		for !strings.HasPrefix(name, p) {
			p = p[:len(p)-1]
		}
	}
	return p
}
