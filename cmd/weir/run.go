package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// newRun returns the command that runs a workflow.
func newRun() *cobra.Command {
	var s setup
	var sets []string
	cmd := &cobra.Command{
		Use:   "run WORKFLOW",
		Short: "Run a ComfyUI workflow",
		Long: `Run a workflow that ComfyUI has saved or exported, or the one that a PNG made by
ComfyUI or Weir carries. Models are found in the folder models as ComfyUI lays
it out, pictures go to the folder output.`,
		Example: "  weir run workflow.json\n  weir run picture.png --set KSampler.seed=7 --set Prompt.text=\"a green apple\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd, pipeline.Options{}, func(reg *workflow.Registry) (*workflow.Graph, error) {
				g, err := readWorkflow(args[0], reg)
				if err != nil {
					return nil, err
				}
				return g, applySets(g, reg, sets)
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().StringArrayVar(&sets, "set", nil, "change an input: NODE.INPUT=VALUE, where NODE is an id, a title or a class")
	return cmd
}

// readWorkflow reads a JSON file, or the text of a PNG.
func readWorkflow(path string, reg *workflow.Registry) (*workflow.Graph, error) {
	data, err := workflowText(path)
	if err != nil {
		return nil, err
	}
	g, err := workflow.Parse(data, reg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// maxWorkflow bounds what is read of a workflow file.
const maxWorkflow = 64 << 20

func workflowText(path string) ([]byte, error) {
	if !strings.EqualFold(filepath.Ext(path), ".png") {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.Size() > maxWorkflow {
			return nil, fmt.Errorf("%s: %d bytes are too many for a workflow", path, info.Size())
		}
		return os.ReadFile(path)
	}
	texts, err := media.ReadText(path)
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
	return nil, fmt.Errorf("%s: the picture carries no workflow (no text \"prompt\"): programs that edit pictures often drop it", path)
}

// applySets makes the changes NODE.INPUT=VALUE.
func applySets(g *workflow.Graph, reg *workflow.Registry, sets []string) error {
	var errs []error
	for _, set := range sets {
		target, value, ok := strings.Cut(set, "=")
		if !ok {
			errs = append(errs, fmt.Errorf("--set %s: expected NODE.INPUT=VALUE, for example KSampler.seed=42", set))
			continue
		}
		if err := g.Set(reg, target, value); err != nil {
			errs = append(errs, fmt.Errorf("--set %s: %w", set, err))
		}
	}
	return errors.Join(errs...)
}

// A setup is where everything is and what it may use.
type setup struct {
	models  []string
	extra   string
	output  string
	vram    string
	threads int
	// named are folders of files that were given by their paths, with the
	// category of what lies in them.
	named map[string]string
}

func (s *setup) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.models, "root", nil, "folder with models, input and output, as ComfyUI's own (default: the working folder; may be given several times)")
	f.StringVar(&s.extra, "extra-model-paths", "", "an extra_model_paths.yaml (default: that of the first root, if there is one)")
	f.StringVarP(&s.output, "output", "o", "", "folder for pictures (default: output in the first root)")
	f.StringVar(&s.vram, "vram", "", "let models and their work take at most so much memory, for example 2GiB")
	f.IntVar(&s.threads, "threads", 0, "number of cores to use (default: all)")
}

// folders returns where models and pictures are.
func (s *setup) folders() (*folders.Roots, error) {
	roots := folders.New(s.models...)
	extra, wanted := s.extra, s.extra != ""
	if !wanted {
		extra = "extra_model_paths.yaml"
		if len(s.models) > 0 {
			extra = filepath.Join(s.models[0], extra)
		}
	}
	if err := roots.LoadExtra(extra); err != nil && (wanted || !errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	if s.output != "" {
		roots.Output = s.output
	}
	for folder, category := range s.named {
		roots.Add(category, folder)
	}
	return roots, nil
}

// engine returns an engine; Close ends it.
func (s *setup) engine(o pipeline.Options) (*pipeline.Engine, error) {
	o.Threads = s.threads
	if s.vram != "" {
		n, err := parseBytes(s.vram)
		if err != nil {
			return nil, fmt.Errorf("--vram: %w", err)
		}
		o.VRAM = n
	}
	return pipeline.New(o), nil
}

// run runs the workflow that load returns and prints what it saves.
func (s *setup) run(cmd *cobra.Command, o pipeline.Options, load func(*workflow.Registry) (*workflow.Graph, error)) (err error) {
	roots, err := s.folders()
	if err != nil {
		return err
	}
	engine, err := s.engine(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	p := newProgress(cmd.ErrOrStderr())
	defer p.finish()
	result, err := execute(cmd.Context(), &node.Env{Folders: roots, Engine: engine}, load, p)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(result.Files)) {
		for _, f := range result.Files[id] {
			fmt.Fprintln(cmd.OutOrStdout(), f.Path)
		}
	}
	return nil
}

// execute checks and runs a workflow.
func execute(ctx context.Context, env *node.Env, load func(*workflow.Registry) (*workflow.Graph, error), o workflow.Observer) (*workflow.Result, error) {
	reg := node.Registry(env)
	g, err := load(reg)
	if err != nil {
		return nil, err
	}
	job, err := workflow.Check(g, reg)
	if err != nil {
		return nil, err
	}
	return workflow.NewExecutor().Run(ctx, job, o)
}
