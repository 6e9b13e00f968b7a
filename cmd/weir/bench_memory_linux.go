package main

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/fault"

	"github.com/weir-run/weir/internal/membench"
)

// newMemory returns the commands that measure how memory is managed: the
// benchmark and, hidden, the processes that it starts.
func newMemory() []*cobra.Command {
	var b membench.Bench
	var only []string
	bench := &cobra.Command{
		Use:   "memory",
		Short: "Measure how memory is managed: dynamic beside classic and mmap",
		Long: `Measure how memory is managed, side by side in one run: in small memories and
with slow disks, which control groups play (as root), and on a device of the
processor's behind a link of limited speed. Models with random weights are
written to --dir, 4 GB in all. Rows: ` + strings.Join(membench.Rows(), ", ") + `.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range only {
				if !slices.Contains(membench.Rows(), name) {
					return fault.New(fault.Usage, "--only: there is no row %q: expected %s", name, strings.Join(membench.Rows(), ", "))
				}
			}
			if b.Rounds < 1 {
				return fault.New(fault.Usage, "--rounds must be at least 1")
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			b.Self, b.Hog = []string{self, "bench", "memory-child"}, []string{self, "bench", "memory-hog"}
			b.Out, b.Log = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return b.Run(cmd.Context(), only)
		},
	}
	f := bench.Flags()
	f.StringVar(&b.Dir, "dir", ".", "folder for the models")
	f.StringVar(&b.Charts, "charts", "weir-bench-charts", "folder for charts as SVG")
	f.IntVar(&b.Rounds, "rounds", 3, "how often each way is measured, in turns")
	f.StringSliceVar(&only, "only", nil, "rows to measure (default: all)")

	child := &cobra.Command{
		Use: "memory-child", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return membench.Child(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	hog := &cobra.Command{
		Use: "memory-hog BYTES TIMES CAGE", Hidden: true, Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			bytes, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return err
			}
			times, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			return membench.Hog(cmd.Context(), cmd.OutOrStdout(), bytes, times, args[2])
		},
	}
	return []*cobra.Command{bench, child, hog}
}
