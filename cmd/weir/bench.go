package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/fault"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
)

// newBench returns the commands that measure.
func newBench() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure how fast models run here", Args: onlyCommands, RunE: help, SuggestionsMinimumDistance: 2}
	cmd.AddCommand(newSynth(), newStep())
	cmd.AddCommand(newMemory()...)
	return cmd
}

// newSynth returns the command that writes checkpoints to measure with.
func newSynth() *cobra.Command {
	var out, dt string
	var seed uint64
	var force, sparse bool
	names := []string{"sd15", "sdxl", "openclip"}
	for _, s := range synth.Sets {
		names = append(names, s.Name)
	}
	cmd := &cobra.Command{
		Use:   "synth " + strings.Join(names, "|"),
		Short: "Write models of full size with random weights",
		Long: `Write models of full size with random weights: sd15, sdxl and openclip are one
file, the others a folder whose models have the names of the published files.
With --sparse the large matrices of a folder are zeros that take no place on the disk.`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if i := slices.IndexFunc(synth.Sets, func(s synth.Set) bool { return s.Name == args[0] }); i >= 0 {
				if cmd.Flags().Changed("dtype") {
					return fault.New(fault.Usage, "--dtype: the files of %s have formats of their own", args[0])
				}
				return writeSet(cmd, synth.Sets[i], cmp.Or(out, args[0]+"-synth"), seed, sparse, force)
			}
			if sparse {
				return fault.New(fault.Usage, "--sparse is for models that are a folder: %s", strings.Join(names[3:], ", "))
			}
			tensors := map[string]func() []synth.Tensor{"sd15": synth.SD15, "sdxl": synth.SDXL, "openclip": synth.OpenCLIP}[args[0]]()
			d, err := dtype.Parse(strings.ToUpper(dt))
			if err != nil {
				return fault.New(fault.Usage, "--dtype: %w", err)
			}
			if out == "" {
				out = args[0] + "-synth.safetensors"
			}
			if _, err := os.Stat(out); err == nil && !force {
				return fault.New(fault.Usage, "%s exists: name another file with --out, or overwrite it with --force", out)
			} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			var elements int64
			for _, t := range tensors {
				elements += t.Elements()
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "writing %s: %d tensors, %s\n", out, len(tensors), size(elements*int64(d.Size())))
			start := time.Now()
			if err := synth.Write(cmd.Context(), out, tensors, d, seed); err != nil {
				return err
			}
			info, err := os.Stat(out)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d tensors, %s in %.1f s\n", out, len(tensors), size(info.Size()), time.Since(start).Seconds())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "the file or folder to write (default: NAME-synth.safetensors, NAME-synth)")
	f.StringVar(&dt, "dtype", "F16", "number format of the weights: F32, F16, BF16")
	f.Uint64Var(&seed, "seed", 1, "seed of the random weights")
	f.BoolVar(&force, "force", false, "overwrite the files")
	f.BoolVar(&sparse, "sparse", false, "large matrices are zeros that take no place on the disk")
	return cmd
}

// writeSet writes the files of a model below a folder.
func writeSet(cmd *cobra.Command, set synth.Set, out string, seed uint64, sparse, force bool) error {
	folder := filepath.Join(out, "models")
	for _, f := range set.Files {
		path := filepath.Join(folder, filepath.FromSlash(f.Path))
		if _, err := os.Stat(path); err == nil && !force {
			return fault.New(fault.Usage, "%s exists: name another folder with --out, or overwrite it with --force", path)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range set.Files {
		start := time.Now()
		path, tensors, err := f.Write(cmd.Context(), folder, seed, sparse)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d tensors, %s in %.1f s\n", path, tensors, size(info.Size()), time.Since(start).Seconds())
	}
	return nil
}

// A stepBench times steps of a denoiser.
type stepBench struct {
	setup
	checkpoint    string
	width, height int
	steps         int
	against       string
}

// newStep returns the command that times a step.
func newStep() *cobra.Command {
	var b stepBench
	cmd := &cobra.Command{
		Use:   "step --checkpoint FILE",
		Short: "Time a step of a denoiser with classifier-free guidance",
		Long: `Time a step of a denoiser with classifier-free guidance. With --against, another
program is run before and after and the ratio of the times is printed; it must
print a line "seconds_per_step X". bench/diffusers_step.py is such a program.`,
		Example: "  weir bench synth sd15\n  weir bench step --checkpoint sd15-synth.safetensors --against \"python bench/diffusers_step.py\"",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	b.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&b.checkpoint, "checkpoint", "c", "", "path of a checkpoint")
	f.IntVar(&b.width, "width", 512, "width in pixels")
	f.IntVar(&b.height, "height", 512, "height in pixels")
	f.IntVar(&b.steps, "steps", 3, "number of steps to time, after one to warm up")
	f.StringVar(&b.against, "against", "", "a command to compare with")
	return cmd
}

// The sides of pictures that steps are timed for, in pixels.
const minSide, maxSide = 64, 16384

func (b *stepBench) run(cmd *cobra.Command) (err error) {
	switch {
	case b.checkpoint == "":
		return fault.New(fault.Usage, "bench step needs --checkpoint FILE; weir bench synth sd15 writes one")
	case b.steps < 1:
		return fault.New(fault.Usage, "--steps must be at least 1")
	case min(b.width, b.height) < minSide || max(b.width, b.height) > maxSide:
		return fault.New(fault.Usage, "--width and --height must be from %d to %d, found %d and %d", minSide, maxSide, b.width, b.height)
	}
	var others []float64
	if b.against != "" {
		if err := b.other(cmd, &others); err != nil {
			return err
		}
	}
	engine, err := b.engine(pipeline.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	times, err := b.times(cmd.Context(), engine)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	s := engine.Stats().Top()
	fmt.Fprintf(out, "seconds_per_step %.3f\n", median(times))
	fmt.Fprintf(out, "peak memory %s, of it activations %s; weights brought in %s\n", size(s.Peak), size(s.Activations), size(s.Moved))
	if b.against == "" {
		return nil
	}
	if err := b.other(cmd, &others); err != nil {
		return err
	}
	fmt.Fprintf(out, "other_seconds_per_step %.3f\nratio %.2f\n", median(others), median(times)/median(others))
	return nil
}

// times returns the seconds of each step after the first.
func (b *stepBench) times(ctx context.Context, engine *pipeline.Engine) ([]float64, error) {
	c, err := engine.Checkpoint(ctx, b.checkpoint)
	if err != nil {
		return nil, err
	}
	if err := c.Whole(); err != nil {
		return nil, err
	}
	text, err := c.CLIP.Encode(ctx, "a photograph", nil)
	if err != nil {
		return nil, err
	}
	shape := c.Model.Format().Of(1, 1, b.height, b.width)
	cond := &model.Cond{Embed: text.Embed, Tokens: text.Tokens, Width: text.Width, Pooled: text.Pooled}
	x := latent.Tensor{Shape: shape, Data: diffusion.Randn(1, shape.Elems())}
	var times []float64
	for i := range b.steps + 1 {
		start := time.Now()
		if _, err := c.Model.Predict(ctx, x, 500, []*model.Cond{cond, cond}); err != nil {
			return nil, err
		}
		if i > 0 {
			times = append(times, time.Since(start).Seconds())
		}
	}
	return times, nil
}

// other runs the other program and adds the seconds that it prints.
func (b *stepBench) other(cmd *cobra.Command, seconds *[]float64) error {
	c := exec.CommandContext(cmd.Context(), "sh", "-c", b.against)
	c.Stderr = cmd.ErrOrStderr()
	text, err := c.Output()
	if err != nil {
		return fmt.Errorf("--against %q: %w", b.against, err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "seconds_per_step "); ok {
			v, err := strconv.ParseFloat(rest, 64)
			if err != nil || !(v > 0) {
				return fmt.Errorf("--against %q printed %q, expected a time in seconds", b.against, line)
			}
			*seconds = append(*seconds, v)
			return nil
		}
	}
	return fmt.Errorf("--against %q printed no line \"seconds_per_step X\"", b.against)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
