package main

import (
	"strings"

	"github.com/spf13/cobra"

	"myriad/link"
)

// completeTo completes --to as a node set.
func (a *app) completeTo(cmd *cobra.Command) {
	err := cmd.RegisterFlagCompletionFunc("to", func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeNodes(false)(cmd, nil, word)
	})
	if err != nil {
		panic(err) // no such flag: a mistake in this program
	}
}

// completeSettings completes a node set, and then settings: field names, and
// the values that a field has.
func (a *app) completeSettings(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeNodes(false)(cmd, args, word)
	}
	name, value, valued := strings.Cut(word, "=")
	if valued {
		return completeValue(name, value)
	}
	given := map[string]bool{}
	for _, arg := range args[1:] {
		field, _, _ := strings.Cut(arg, "=")
		given[field] = true
	}
	var found []cobra.Completion
	if len(args) == 1 {
		found = append(found, cobra.CompletionWithDesc("profile=", "all fields, of a well-known link"))
	}
	for _, f := range link.Fields() {
		if !given[f.Name] {
			found = append(found, cobra.CompletionWithDesc(f.Name+"=", f.What+", such as "+f.Examples[0]))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeValue offers values of a field.
func completeValue(field, value string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	add := func(value, description string) {
		found = append(found, cobra.CompletionWithDesc(field+"="+value, description))
	}
	if field == "profile" {
		for _, p := range link.Profiles() {
			add(p.Name, p.Title)
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	for _, f := range link.Fields() {
		switch {
		case f.Name != field:
		case strings.ContainsAny(value, "./"):
			return nil, cobra.ShellCompDirectiveDefault
		default:
			for _, example := range f.Examples {
				if !strings.ContainsAny(example, "./") || f.Name != "trace" && f.Name != "distribution" {
					add(example, "")
				}
			}
			if f.Switch {
				add("false", "")
			}
			if f.Name == "distribution" {
				for _, name := range []string{"uniform", "pareto", "paretonormal"} {
					add(name, "")
				}
			}
			add("none", "clears it")
			if f.Name == "trace" || f.Name == "distribution" {
				return found, cobra.ShellCompDirectiveDefault
			}
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
