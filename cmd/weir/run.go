package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/regular"
	"github.com/weir-run/weir/workflow"
)

// newRun returns the command that runs a workflow.
func newRun() *cobra.Command {
	var s setup
	var sets []string
	cmd := &cobra.Command{
		Use:   "run WORKFLOW",
		Short: "Run a ComfyUI workflow",
		Long: `Run a workflow that ComfyUI has saved or exported, or the one that a picture made by
ComfyUI or Weir carries. Models are found in the folder models as ComfyUI lays
it out, pictures go to the folder output.`,
		Example: "  weir run workflow.json\n  weir run picture.png --set KSampler.seed=7 --set Prompt.text=\"a green apple\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd, pipeline.Options{}, func(reg *workflow.Registry) (*workflow.Graph, error) {
				g, err := readWorkflow(cmd.Context(), args[0], reg)
				if err != nil {
					return nil, err
				}
				return g, applySets(g, reg, sets)
			})
		},
	}
	s.flags(cmd)
	s.outputs(cmd)
	cmd.Flags().StringArrayVar(&sets, "set", nil, "change an input: NODE.INPUT=VALUE, where NODE is an id, a title or a class")
	return cmd
}

// readWorkflow reads a JSON file, or the text of a picture.
func readWorkflow(ctx context.Context, path string, reg *workflow.Registry) (*workflow.Graph, error) {
	data, err := workflowText(ctx, path)
	if err != nil {
		return nil, err
	}
	g, err := workflow.Parse(data, reg)
	if err != nil {
		return nil, fault.Mark(fault.Workflow, fmt.Errorf("%s: %w", path, err))
	}
	return g, nil
}

// maxWorkflow bounds what is read of a workflow file.
const maxWorkflow = 64 << 20

// workflowText returns the workflow in a file of JSON, or the one that a picture
// carries, whatever the file's name.
func workflowText(ctx context.Context, path string) ([]byte, error) {
	format, err := media.Format(ctx, path)
	if err != nil {
		return nil, fault.Mark(fault.Workflow, err)
	}
	if format == "" {
		data, err := regular.Read(path, maxWorkflow)
		if name := formatOf(path); err != nil && name != "" {
			return nil, fault.New(fault.Workflow, "%s: not a workflow: this is %s", path, name)
		}
		return data, fault.Mark(fault.Workflow, err)
	}
	texts, err := media.ReadText(ctx, path)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, t := range texts {
		found[t.Key] = t.Value
	}
	for _, key := range []string{"prompt", "workflow"} {
		if found[key] != "" {
			return []byte(found[key]), nil
		}
	}
	return nil, fault.New(fault.Workflow, "%s: this is a %s without a workflow: programs that edit pictures often drop it", path, format)
}

// formatOf names the format of a file that is no workflow by its beginning, ""
// when nothing tells.
func formatOf(path string) string {
	f, _, err := regular.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, _ := io.ReadFull(f, head) // less of a short file
	return workflow.Format(head[:n])
}

// applySets makes the changes NODE.INPUT=VALUE.
func applySets(g *workflow.Graph, reg *workflow.Registry, sets []string) error {
	var errs []error
	for _, set := range sets {
		target, value, ok := strings.Cut(set, "=")
		if !ok {
			errs = append(errs, fault.New(fault.Usage, "--set %s: expected NODE.INPUT=VALUE, for example KSampler.seed=42", set))
			continue
		}
		if err := g.Set(reg, target, value); err != nil {
			errs = append(errs, fault.New(fault.Usage, "--set %s: %w", set, err))
		}
	}
	return errors.Join(errs...)
}

// check loads and checks a workflow.
func check(env *node.Env, load func(*workflow.Registry) (*workflow.Graph, error)) (*workflow.Job, error) {
	reg := node.Registry(env)
	g, err := load(reg)
	if err != nil {
		return nil, err
	}
	return workflow.Check(g, reg)
}
