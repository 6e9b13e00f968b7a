package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/workflow"
)

// newPlan returns the command that shows what a workflow would run.
func newPlan() *cobra.Command {
	var s setup
	var sets []string
	var asJSON, ops bool
	cmd := &cobra.Command{
		Use:   "plan WORKFLOW",
		Short: "Show the programs that a workflow runs, without running them",
		Long: `Plan all networks of a workflow without running them and show each program:
how much memory its work takes, how large its weights are and, with --vram,
how much of them stays in that memory and how much is streamed in each run.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			programs, info, err := s.programs(cmd, args[0], sets)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(programs)
			}
			for i, p := range programs {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := p.write(cmd, info, ops); err != nil {
					return err
				}
			}
			return nil
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&sets, "set", nil, "change an input: NODE.INPUT=VALUE")
	f.BoolVar(&asJSON, "json", false, "print everything as JSON")
	f.BoolVar(&ops, "ops", false, "list every operation")
	return cmd
}

// A planned program is one that a workflow runs so many times.
type planned struct {
	Runs int
	*plan.Program
}

// programs goes through a workflow with an engine that runs nothing.
func (s *setup) programs(cmd *cobra.Command, path string, sets []string) (all []*planned, info device.Info, err error) {
	roots, err := s.folders()
	if err != nil {
		return nil, info, err
	}
	// What the workflow would save is of no use.
	if roots.Output, err = os.MkdirTemp("", "weir-plan-"); err != nil {
		return nil, info, err
	}
	roots.Temp = roots.Output
	defer func() { err = errors.Join(err, os.RemoveAll(roots.Output)) }()

	index := map[*plan.Program]*planned{}
	engine, err := s.engine(pipeline.Options{Planned: func(p *plan.Program) {
		if index[p] == nil {
			index[p] = &planned{0, p}
			all = append(all, index[p])
		}
		index[p].Runs++
	}})
	if err != nil {
		return nil, info, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	_, err = execute(cmd.Context(), &node.Env{Folders: roots, Engine: engine}, func(reg *workflow.Registry) (*workflow.Graph, error) {
		g, err := readWorkflow(path, reg)
		if err != nil {
			return nil, err
		}
		return g, applySets(g, reg, sets)
	}, nil)
	return all, engine.Device().Info(), err
}

// write prints a program and, on a discrete device, what of it would stay.
func (p *planned) write(cmd *cobra.Command, info device.Info, ops bool) error {
	out := cmd.OutOrStdout()
	if err := p.WriteTable(out, ops); err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "runs\t%d\n", p.Runs)
	if info.Kind == device.Discrete {
		stays := min(max(info.Total-p.Arena, 0), p.WeightBytes())
		fmt.Fprintf(t, "memory\t%.1f MiB\t%.1f MiB of the weights stay, %.1f MiB are streamed in each run\n",
			float64(info.Total)/(1<<20), float64(stays)/(1<<20), float64(p.WeightBytes()-stays)/(1<<20))
	}
	return t.Flush()
}
