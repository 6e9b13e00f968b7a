package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// A request is what a picture is made from without a workflow file.
type request struct {
	checkpoint, vae, upscale string
	prompt, negative         string
	loras                    []string
	width, height, batch     int
	steps                    int
	cfg                      float64
	sampler, scheduler       string
	seed                     uint64
	clipSkip                 int
	prefix                   string
}

// newGenerate returns the command that makes a picture from a prompt.
func newGenerate() *cobra.Command {
	var s setup
	var r request
	cmd := &cobra.Command{
		Use:   "generate --checkpoint FILE --prompt TEXT",
		Short: "Make a picture from a prompt",
		Long: `Make a picture from a prompt. The PNG carries the workflow that made it, so
"weir run" makes it again. A model that lies in no folder of models stands in
that workflow by its path: the picture is made again where the file is there.`,
		Example: "  weir generate --checkpoint emoji.safetensors --width 64 --height 64 --prompt \"red apple\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.checkpoint == "" || r.prompt == "" {
				return fault.New(fault.Usage, "generate needs --checkpoint and --prompt; see weir generate --help")
			}
			if r.clipSkip < 0 {
				return fault.New(fault.Usage, "--clip-skip: expected 1 for all layers or more, found %d", r.clipSkip)
			}
			if !cmd.Flags().Changed("seed") {
				r.seed = rand.Uint64()
				fmt.Fprintln(cmd.ErrOrStderr(), "seed", r.seed)
			}
			return s.generate(cmd, &r)
		},
	}
	s.flags(cmd)
	s.outputs(cmd)
	f := cmd.Flags()
	f.StringVarP(&r.checkpoint, "checkpoint", "c", "", "a checkpoint: its name in models/checkpoints, or a path")
	f.StringVarP(&r.prompt, "prompt", "p", "", "what the picture is to show; (word:1.2) weighs a word")
	f.StringVarP(&r.negative, "negative", "n", "", "what it is not to show")
	f.StringVar(&r.vae, "vae", "", "an autoencoder other than the checkpoint's: a name in models/vae, or a path")
	f.StringArrayVar(&r.loras, "lora", nil, "a LoRA: NAME or NAME:STRENGTH, in models/loras or a path (may be given several times)")
	f.StringVar(&r.upscale, "upscale", "", "an upscaler: a name in models/upscale_models, or a path")
	f.IntVar(&r.width, "width", 512, "width in pixels")
	f.IntVar(&r.height, "height", 512, "height in pixels")
	f.IntVar(&r.batch, "batch", 1, "number of pictures")
	f.IntVar(&r.steps, "steps", 20, "number of steps")
	f.Float64Var(&r.cfg, "cfg", 7, "how closely the picture follows the prompt")
	f.StringVar(&r.sampler, "sampler", "euler", strings.Join(diffusion.Samplers(), ", "))
	f.StringVar(&r.scheduler, "scheduler", "normal", strings.Join(diffusion.Schedulers(), ", "))
	f.Uint64Var(&r.seed, "seed", 0, "the same seed gives the same picture (default: a random one)")
	f.IntVar(&r.clipSkip, "clip-skip", 0, "leave out so many of the last layers of the text encoder, counted from 1 for none, as other programs do")
	f.StringVar(&r.prefix, "name", "weir", "what the files' names begin with")
	return cmd
}

func (s *setup) generate(cmd *cobra.Command, r *request) error {
	roots, err := s.folders()
	if err != nil {
		return err
	}
	var errs []error
	g := r.graph(func(category, name string) string {
		name, err := modelName(roots, category, name)
		errs = append(errs, err)
		return name
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return byFlags(s.run(cmd, pipeline.Options{}, func(*workflow.Registry) (*workflow.Graph, error) { return g, nil }))
}

// modelName returns the name in workflows of a model that the user names, by
// its name in a folder of models or by a path. What begins with / or ./ or ../
// is a path.
func modelName(roots *folders.Roots, category, name string) (string, error) {
	path := filepath.FromSlash(name)
	first, _, _ := strings.Cut(path, string(filepath.Separator))
	if filepath.IsAbs(path) || first == "." || first == ".." {
		return roots.Name(category, path)
	}
	found, notFound := roots.Find(category, name)
	there, err := os.Stat(path)
	switch {
	case err != nil:
		return name, nil // the check of the workflow says where it was searched
	case notFound != nil:
		return roots.Name(category, path)
	case there.Mode().IsRegular() && !same(found, there):
		return "", fault.New(fault.Usage, "%q is both the model %s and the file %s: write the path of the one that is meant, beginning with / or ./", name, found, path)
	}
	return name, nil
}

func same(path string, info os.FileInfo) bool {
	there, err := os.Stat(path)
	return err == nil && os.SameFile(there, info)
}

// graph returns the workflow of a request. file turns the name of a model file
// into the one its node is given.
func (r *request) graph(file func(category, name string) string) *workflow.Graph {
	var g workflow.Graph
	add := func(class string, args ...workflow.Arg) string {
		id := strconv.Itoa(len(g.Nodes) + 1)
		g.Nodes = append(g.Nodes, &workflow.Node{ID: id, Class: class, Args: args})
		return id
	}
	link := func(id string, output int) workflow.Reference { return workflow.Reference{Node: id, Output: output} }
	number := func(v any) json.Number { return json.Number(fmt.Sprint(v)) }

	checkpoint := add("CheckpointLoaderSimple", workflow.Arg{Name: "ckpt_name", Value: file("checkpoints", r.checkpoint)})
	model, clip, vae := link(checkpoint, 0), link(checkpoint, 1), link(checkpoint, 2)
	for _, lora := range r.loras {
		name, strength := splitStrength(lora)
		id := add("LoraLoader", workflow.Arg{Name: "model", Value: model}, workflow.Arg{Name: "clip", Value: clip},
			workflow.Arg{Name: "lora_name", Value: file("loras", name)},
			workflow.Arg{Name: "strength_model", Value: number(strength)}, workflow.Arg{Name: "strength_clip", Value: number(strength)})
		model, clip = link(id, 0), link(id, 1)
	}
	if r.clipSkip > 1 {
		clip = link(add("CLIPSetLastLayer", workflow.Arg{Name: "clip", Value: clip}, workflow.Arg{Name: "stop_at_clip_layer", Value: number(-r.clipSkip)}), 0)
	}
	if r.vae != "" {
		vae = link(add("VAELoader", workflow.Arg{Name: "vae_name", Value: file("vae", r.vae)}), 0)
	}
	text := func(s string) workflow.Reference {
		return link(add("CLIPTextEncode", workflow.Arg{Name: "text", Value: s}, workflow.Arg{Name: "clip", Value: clip}), 0)
	}
	positive, negative := text(r.prompt), text(r.negative)
	latent := link(add("EmptyLatentImage", workflow.Arg{Name: "width", Value: number(r.width)},
		workflow.Arg{Name: "height", Value: number(r.height)}, workflow.Arg{Name: "batch_size", Value: number(r.batch)}), 0)
	samples := link(add("KSampler", workflow.Arg{Name: "seed", Value: number(r.seed)}, workflow.Arg{Name: "steps", Value: number(r.steps)},
		workflow.Arg{Name: "cfg", Value: number(r.cfg)}, workflow.Arg{Name: "sampler_name", Value: r.sampler},
		workflow.Arg{Name: "scheduler", Value: r.scheduler}, workflow.Arg{Name: "denoise", Value: number(1.0)},
		workflow.Arg{Name: "model", Value: model}, workflow.Arg{Name: "positive", Value: positive},
		workflow.Arg{Name: "negative", Value: negative}, workflow.Arg{Name: "latent_image", Value: latent}), 0)
	image := link(add("VAEDecode", workflow.Arg{Name: "samples", Value: samples}, workflow.Arg{Name: "vae", Value: vae}), 0)
	if r.upscale != "" {
		upscaler := link(add("UpscaleModelLoader", workflow.Arg{Name: "model_name", Value: file("upscale_models", r.upscale)}), 0)
		image = link(add("ImageUpscaleWithModel", workflow.Arg{Name: "upscale_model", Value: upscaler}, workflow.Arg{Name: "image", Value: image}), 0)
	}
	add("SaveImage", workflow.Arg{Name: "filename_prefix", Value: workflow.FillDates(r.prefix, time.Now())}, workflow.Arg{Name: "images", Value: image})
	return &g
}

// splitStrength cuts NAME:STRENGTH. A colon that no number follows belongs to
// the name.
func splitStrength(lora string) (name string, strength float64) {
	if i := strings.LastIndexByte(lora, ':'); i > 0 {
		if v, err := strconv.ParseFloat(lora[i+1:], 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return lora[:i], v
		}
	}
	return lora, 1
}
