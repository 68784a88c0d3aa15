package main

import (
	"github.com/spf13/cobra"

	"myriad/topo"
)

func (a *app) schemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of topology files",
		Long: `Print the JSON Schema of topology files, with which an editor completes and
explains fields while you type. With the YAML language server (VS Code, Neovim,
Emacs, JetBrains), begin a file with

  # yaml-language-server: $schema=myriad.schema.json`,
		Example: "  myriad schema > myriad.schema.json",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(topo.Schema())
			return err
		},
	}
}
