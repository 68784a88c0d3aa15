package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// rootLong is the first thing that a newcomer reads: the life of a platform,
// in order.
const rootLong = `Myriad runs real programs on tens of thousands of virtual nodes (vnodes), each
with its own network stack, from one topology file. From nothing to nothing:

  myriad doctor                          what can this machine carry?
  myriad validate platform.yaml          is the file right?
  myriad plan platform.yaml              does it fit, how long will it take?
  sudo myriad up platform.yaml           make it so
  sudo myriad status                     what is there?
  sudo myriad check                      do the vnodes reach each other?
  sudo myriad exec 'peer[1-9]' -- uname  run a command on some, or on all ('*')
  sudo myriad shell peer1                look around in one
  sudo myriad link set peer1 delay=20ms  change a condition of its link
  sudo myriad fidelity                   are the links as they were asked to be?
  sudo myriad up platform.yaml           after an edit: makes the difference only
  sudo myriad down                       remove it
  sudo myriad verify-clean               prove that nothing is left

What has no sudo here needs no privileges. Every command takes -o json.`

// usageTemplate is what every command's --help ends with.
const usageTemplate = `Usage:
  {{.UseLine}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name 14}}{{.Short}}{{end}}{{end}}{{end}}{{if not .AllChildCommandsHaveGroup}}

{{if .Groups}}And:{{else}}Commands:{{end}}{{range $cmds}}{{if and (eq .GroupID "") .IsAvailableCommand}}
  {{rpad .Name 14}}{{.Short}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" tells more, with examples.{{end}}
`

// helpTemplate is the whole of --help.
const helpTemplate = `{{with or .Long .Short}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

// explain gives root, and with it every command, its ways of helping.
func explain(root *cobra.Command) {
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError(cmd.Root(), "no command %q", strings.Join(args, " "))
			}
			return help(asked)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			if asked, _, err := cmd.Root().Find(args); err == nil {
				for _, sub := range asked.Commands() {
					if sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), word) {
						names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	})
}

// help explains a command as its --help does.
func help(cmd *cobra.Command) error {
	cmd.InitDefaultHelpFlag()
	return cmd.Help()
}
