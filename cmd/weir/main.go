// Command weir runs image models that are larger than the memory there is:
// ComfyUI's workflows and checkpoints, without Python.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/fault"
)

func main() {
	// The second interrupt ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := newRoot().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "weir:", message(err))
		os.Exit(exitStatus(err))
	case interrupted:
		fmt.Fprintln(os.Stderr, "weir: interrupted when everything was done already")
	}
}

func newRoot() *cobra.Command {
	var verbose bool
	root := &cobra.Command{
		Use:                        "weir",
		Short:                      "Run big image models on small machines",
		Version:                    version(),
		Args:                       onlyCommands,
		RunE:                       help,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			slog.SetDefault(slog.New(newLogger(cmd.ErrOrStderr(), level)))
		},
	}
	root.PersistentFlags().BoolVar(&verbose, "verbose", false, "tell what is opened, planned and run, and where the program failed")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.New(fault.Usage, "%w; see %s --help", err, cmd.CommandPath())
	})
	root.SetUsageTemplate(usage)
	root.AddGroup(commandGroups...)
	for group, commands := range map[string][]*cobra.Command{
		making: {newRun(), newGenerate()}, looking: {newInspect(), newPlan(), newDoctor()}, measuring: {newBench()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = onlyTopics
		case "completion":
			c.Args, c.RunE = onlyCommands, help
		}
	}
	markUsage(root)
	return root
}

// onlyCommands and help are for commands that only hold others: alone they
// print their help, and a word that is none of their commands is an error.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("%s has no command %q", cmd.CommandPath(), args[0])
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		err = fmt.Errorf("%w, did you mean %s?", err, strings.Join(like, " or "))
	}
	return err
}

// onlyTopics is for the command that helps with others.
func onlyTopics(cmd *cobra.Command, args []string) error {
	target, rest, err := cmd.Root().Find(args)
	if err != nil {
		return err
	}
	return onlyCommands(target, rest)
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// markUsage makes usage errors of what cobra says about arguments.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fault.New(fault.Usage, "%w; see %s --help", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		markUsage(c)
	}
}

// version returns the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && info.Main.Version == "(devel)" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}
