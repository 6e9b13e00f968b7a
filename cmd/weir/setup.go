package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/atomicfile"
	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/trace"
	"github.com/weir-run/weir/workflow"
)

// A setup is where everything is and what it may use.
type setup struct {
	models  []string
	extra   string
	output  string
	vram    string
	ram     string
	link    string
	memory  string
	threads int
	strict  bool
	noise   string
	trace   string
	metrics string
}

func (s *setup) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.models, "root", nil, "folder with models, input and output, as ComfyUI's own (default: the working folder; may be given several times)")
	f.StringVar(&s.extra, "extra-model-paths", "", "an extra_model_paths.yaml (default: that of the first root, if there is one)")
	f.StringVarP(&s.output, "output", "o", "", "folder for pictures (default: output in the first root)")
	f.StringVar(&s.vram, "vram", "", "give the processor a memory of its own of that size, as a graphics card has, for example 2GiB")
	f.StringVar(&s.link, "link", "", "with --vram: fill that memory at most so fast, for example 25GB/s")
	f.StringVar(&s.ram, "ram", "", "let weights, pictures and, without --vram, the work on them take at most so much RAM (default: what is free, which is followed)")
	f.StringVar(&s.memory, "memory", "dynamic", "dynamic, or to compare with: classic (whole models are read into memory, and what is estimated to fit stays) or mmap (the system decides)")
	f.Var((*threads)(&s.threads), "threads", "number of cores to use (default: all)")
}

// outputs adds the flags of a run: its noise, and what it tells about itself.
func (s *setup) outputs(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.strict, "strict", false, "refuse a workflow of which one output cannot be made, instead of making the others")
	f.StringVar(&s.noise, "noise", "cpu", "what draws the noise of the sampler's steps as PyTorch does: cpu, cuda, or cuda:THREADS for a graphics card that runs fewer threads at once than the picture has latent values")
	f.StringVar(&s.trace, "trace", "", "write a timeline of operations, transfers and waits, for chrome://tracing or ui.perfetto.dev")
	f.StringVar(&s.metrics, "metrics", "", "write the counters of the memory at the end, as Prometheus reads them")
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
	roots.AbsolutePaths = true
	return roots, nil
}

// engine returns an engine; Close ends it.
func (s *setup) engine(o pipeline.Options) (*pipeline.Engine, error) {
	o, err := s.options(o)
	if err != nil {
		return nil, err
	}
	return pipeline.New(o), nil
}

// options adds to options of an engine what the flags say.
func (s *setup) options(o pipeline.Options) (_ pipeline.Options, err error) {
	o.Threads = s.threads
	if o.Link, err = parseRate("--link", s.link); err != nil {
		return o, err
	}
	for _, x := range []struct {
		flag, text string
		to         *int64
	}{{"--vram", s.vram, &o.VRAM}, {"--ram", s.ram, &o.RAM}} {
		if x.text == "" {
			continue
		}
		n, err := parseBytes(x.text)
		if err != nil {
			return o, fault.New(fault.Usage, "%s: %w", x.flag, err)
		}
		if n == 0 {
			return o, fault.New(fault.Usage, "%s: nothing can be done with %s", x.flag, x.text)
		}
		*x.to = n
	}
	if o.Link > 0 && o.VRAM == 0 {
		return o, fault.New(fault.Usage, "--link is the way to the memory of --vram: give both")
	}
	switch s.memory {
	case "", "dynamic":
	case "classic":
		o.Memory = pager.Classic
	case "mmap":
		o.Memory = pager.MMap
	default:
		return o, fault.New(fault.Usage, "--memory: expected dynamic, classic or mmap, found %q", s.memory)
	}
	return o, nil
}

// run runs the workflow that load returns and prints what it saves.
func (s *setup) run(cmd *cobra.Command, o pipeline.Options, load func(*workflow.Registry) (*workflow.Graph, error)) (err error) {
	roots, err := s.folders()
	if err != nil {
		return err
	}
	if o, err = s.options(o); err != nil {
		return err
	}
	noise, err := diffusion.ParseSource(s.noise)
	if err != nil {
		return fault.New(fault.Usage, "--noise: %w", err)
	}
	job, unmade, err := s.forecast(cmd, roots, o, load)
	if err != nil {
		return err
	}
	if s.trace != "" {
		f, err := atomicfile.Replacing(s.trace)
		if err != nil {
			return err
		}
		o.Trace = trace.New(f)
		defer func() { err = errors.Join(err, f.Finish(o.Trace.Close())) }()
	}
	engine := pipeline.New(o)
	defer func() { err = errors.Join(err, engine.Close()) }()
	if s.metrics != "" {
		f, err := atomicfile.Replacing(s.metrics) // now, when nothing is lost if it cannot be
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, writeMetrics(f, engine)) }()
	}
	p := newProgress(cmd.ErrOrStderr())
	p.residency = engine.Residency
	defer p.finish()
	result, err := workflow.NewExecutor(engine).Run(cmd.Context(), job.On(node.Registry(&node.Env{Folders: roots, Engine: engine, Noise: noise})), p)
	saved, unlisted := list(cmd.OutOrStdout(), result)
	err = errors.Join(err, unlisted, unmade)
	if err != nil && saved > 0 {
		err = partialError{err}
	}
	return err
}

// forecast loads a workflow, plans it and says what is going to run. It returns
// the job of the outputs that can be made, and why others cannot. Without any
// there is no job, and the error is why.
func (s *setup) forecast(cmd *cobra.Command, roots *folders.Roots, o pipeline.Options, load func(*workflow.Registry) (*workflow.Graph, error)) (job *workflow.Job, unmade, err error) {
	f := newForecast(o)
	defer func() { err = errors.Join(err, f.engine.Close()) }()
	if err := enough(f.engine); err != nil {
		return nil, nil, err
	}
	whole, err := check(&node.Env{Folders: roots, Engine: f.engine}, load)
	if err != nil {
		return nil, nil, err
	}
	warn(whole)
	if s.strict && len(whole.Problems) > 0 {
		return nil, nil, &workflow.Invalid{Problems: whole.Problems, Omitted: whole.MoreProblems}
	}
	job, failed := f.job(cmd.Context(), whole)
	failed = leastMemory{roots, whole.Graph, o}.remedy(cmd.Context(), failed)
	unmade = errors.Join(failed, skipped(whole))
	if job == nil || s.strict && failed != nil || fault.Of(failed) == fault.Cancelled {
		return nil, nil, unmade
	}
	if failed != nil {
		slog.Warn("this output cannot be made; the others are. --strict refuses", "error", message(failed))
	}
	line, err := f.announce(cmd.Context())
	fmt.Fprintln(cmd.ErrOrStderr(), line)
	return job, unmade, err
}

// list prints the files that a run has saved and returns how many there are.
func list(w io.Writer, r *workflow.Result) (n int, err error) {
	for _, id := range slices.Sorted(maps.Keys(r.Files)) {
		for _, f := range r.Files[id] {
			n++
			if _, e := fmt.Fprintln(w, f.Path); e != nil && err == nil {
				err = fault.Mark(fault.IO, fmt.Errorf("the pictures are saved, but their names could not be printed: %w", e))
			}
		}
	}
	return n, err
}

// maxWarnings is how many warnings of a workflow are told.
const maxWarnings = 20

// warn tells what is odd in a workflow.
func warn(job *workflow.Job) {
	for i, w := range job.Warnings {
		if i == maxWarnings {
			slog.Warn(fmt.Sprintf("and %d more warnings", len(job.Warnings)+job.MoreWarnings-i))
			break
		}
		slog.Warn(w.String())
	}
	if len(job.Skipped) > 0 {
		slog.Warn(fmt.Sprintf("%d of the workflow's outputs cannot be made; the others are. --strict refuses", len(job.Skipped)))
	}
}

// skipped returns the error of a job of which some outputs cannot run.
func skipped(job *workflow.Job) error {
	if len(job.Skipped) == 0 {
		return nil
	}
	return fmt.Errorf("%s skipped: %w", title(job.Skipped[0]), &workflow.Invalid{Problems: job.Problems, Omitted: job.MoreProblems})
}

// writeMetrics writes the counters of an engine to a file.
func writeMetrics(f *atomicfile.File, engine *pipeline.Engine) error {
	var text bytes.Buffer
	engine.Metrics().WritePrometheus(&text)
	_, err := f.Write(text.Bytes())
	return f.Finish(err)
}
