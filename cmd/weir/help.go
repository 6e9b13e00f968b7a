package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of commands that the help lists one after another.
const (
	making    = "making"
	looking   = "looking"
	measuring = "measuring"
)

var commandGroups = []*cobra.Group{
	{ID: making, Title: "Make pictures:"},
	{ID: looking, Title: "Look at files, workflows and the machine first:"},
	{ID: measuring, Title: "Measure:"},
}

// measuringFlags are the flags that serve measurements or describe a machine
// other than this. The help lists them after those of everyday use.
var measuringFlags = map[string]bool{
	"vram": true, "link": true, "disk": true, "compute": true, "memory": true, "trace": true, "metrics": true,
}

func init() {
	cobra.AddTemplateFunc("everyday", func(f *pflag.FlagSet) string { return usages(f, false) })
	cobra.AddTemplateFunc("measuring", func(f *pflag.FlagSet) string { return usages(f, true) })
}

// usages describes the flags of measurements or those of everyday use.
func usages(all *pflag.FlagSet, measure bool) string {
	var some pflag.FlagSet
	some.SortFlags = all.SortFlags
	all.VisitAll(func(f *pflag.Flag) {
		if measuringFlags[f.Name] == measure {
			some.AddFlag(f)
		}
	})
	return strings.TrimRight(some.FlagUsages(), " \n")
}

// usage is cobra's template of a command's usage with the flags in two groups.
const usage = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$commands := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $commands}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}

{{if .Groups}}Other commands:{{else}}Commands:{{end}}{{range $commands}}{{if and (eq .GroupID "") (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{with everyday .LocalFlags}}

Flags:
{{.}}{{end}}{{with measuring .LocalFlags}}

Flags to measure with, and to play another machine:
{{.}}{{end}}{{with everyday .InheritedFlags}}

Flags of all commands:
{{.}}{{end}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} [command] --help" tells more about a command.{{end}}
`
