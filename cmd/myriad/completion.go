package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const completionLong = `Print a script that makes a shell complete commands, flags, platforms, and the
names and groups of vnodes that are up.

  bash   put into ~/.bashrc:  source <(myriad completion bash)
  zsh    put into ~/.zshrc:   source <(myriad completion zsh)
  fish   myriad completion fish > ~/.config/fish/completions/myriad.fish`

// bashScript asks bashCmd. The script that cobra has for bash needs another
// package, and knows neither quotes nor the commas and brackets of node sets.
//
//go:embed completion.bash
var bashScript string

func (a *app) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a completion script for a shell",
		Long:  completionLong,
		Example: `  source <(myriad completion bash)
  myriad completion bash | sudo tee /etc/bash_completion.d/myriad >/dev/null`,
		Args:              args(1, 1, "the shell (bash, zsh or fish)"),
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"bash", "zsh", "fish"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				_, err := fmt.Fprint(a.stdout, bashScript)
				return err
			case "zsh":
				return cmd.Root().GenZshCompletion(a.stdout)
			case "fish":
				return cmd.Root().GenFishCompletion(a.stdout, true)
			}
			return usageError(cmd, "no completion for shell %q", args[0])
		},
	}
}

// bashCmd answers the script for bash: the line up to the cursor, and the
// word that readline will replace, which may be but the end of the argument.
// Its first line of output is nospace, files, both or empty; each other one a
// candidate.
func (a *app) bashCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "__bash LINE WORD",
		Hidden: true,
		Args:   args(2, 2, "LINE or WORD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			words := ownWords(shellWords(args[0]))
			if len(words) == 0 {
				return nil
			}
			found, directive := a.candidates(cmd, words)
			_, err := fmt.Fprint(a.stdout, bashAnswer(found, directive, words[len(words)-1], args[1]))
			return err
		},
	}
}

// candidates completes the last of some arguments.
func (a *app) candidates(cmd *cobra.Command, args []string) ([]string, cobra.ShellCompDirective) {
	var out, errs bytes.Buffer
	root := (&app{stdin: a.stdin, stdout: &out, stderr: &errs, format: formatText}).rootCmd()
	root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, args...))
	root.SetOut(&out)
	root.SetErr(&errs)
	if err := root.ExecuteContext(cmd.Context()); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	last := len(lines) - 1
	directive, err := strconv.Atoi(strings.TrimPrefix(lines[last], ":"))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return lines[:last], cobra.ShellCompDirective(directive)
}

// bashAnswer writes the candidates for an argument of which word is the end
// that will be replaced. Descriptions are shown in lists only: a single
// candidate is inserted as it is.
func bashAnswer(found []string, directive cobra.ShellCompDirective, argument, word string) string {
	files := directive&(cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveError) == 0
	if directive&(cobra.ShellCompDirectiveFilterFileExt|cobra.ShellCompDirectiveFilterDirs) != 0 {
		found, files = nil, true // the endings of files are not candidates
	}
	var matching []string
	width := 0
	for _, c := range found {
		if name, _, _ := strings.Cut(c, "\t"); strings.HasPrefix(name, argument) {
			matching = append(matching, c)
			width = max(width, len(name))
		}
	}
	options := []string{}
	if files {
		options = append(options, "files")
	}
	if directive&cobra.ShellCompDirectiveNoSpace != 0 {
		options = append(options, "nospace")
	}
	kept := 0 // of the argument, what stands before word
	if strings.HasSuffix(argument, word) {
		kept = len(argument) - len(word)
	}
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(options, " "))
	for _, c := range matching {
		name, description, described := strings.Cut(c, "\t")
		b.WriteString(name[kept:])
		if described && len(matching) > 1 {
			fmt.Fprintf(&b, "%*s  (%s)", width-len(name), "", description)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// ownWords leaves out what stands before the command on its line: other
// commands of a pipeline, variables, sudo.
func ownWords(words []string) []string {
	for i := len(words) - 2; i >= 0; i-- {
		if path.Base(words[i]) == "myriad" {
			return words[i+1:]
		}
	}
	return nil
}

// shellWords splits a line as a shell does, as far as quotes and backslashes
// go. A quote that is open at the end is no fault: the cursor is there. The
// last word may be empty.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	begun, escaped := false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			begun, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			begun, quote = true, r
		case r == ' ' || r == '\t':
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	return append(words, word.String())
}
