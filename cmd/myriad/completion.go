package main

import (
	"github.com/spf13/cobra"
)

const completionLong = `Print a script that makes a shell complete commands, flags, platforms, and the
names and groups of vnodes that are up.

  bash   put into ~/.bashrc:  source <(myriad completion bash)
  zsh    put into ~/.zshrc:   source <(myriad completion zsh)
  fish   myriad completion fish > ~/.config/fish/completions/myriad.fish`

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
				return cmd.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.stdout)
			case "fish":
				return cmd.Root().GenFishCompletion(a.stdout, true)
			}
			return usageError(cmd, "no completion for shell %q", args[0])
		},
	}
}
