package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// A request is what a picture is made from without a workflow file.
type request struct {
	checkpoint, vae, upscale string
	// model, texts and kind are a denoiser and text encoders that are files of their
	// own, in the place of a checkpoint, and the type of the latter.
	model string
	texts []string
	kind  string

	prompt, negative     string
	loras                []string
	width, height, batch int
	steps                int
	cfg                  float64
	sampler, scheduler   string
	seed                 uint64
	clipSkip             int
	prefix               string
}

// newGenerate returns the command that makes a picture from a prompt.
func newGenerate() *cobra.Command {
	var s setup
	var r request
	cmd := &cobra.Command{
		Use:   "generate --checkpoint FILE|--model FILE --prompt TEXT",
		Short: "Make a picture from a prompt",
		Long: `Make a picture from a prompt. The PNG carries the workflow that made it, so
"weir run" makes it again. A model that lies in no folder of models stands in
that workflow by its path: the picture is made again where the file is there.`,
		Example: "  weir generate --checkpoint emoji.safetensors --width 64 --height 64 --prompt \"red apple\"\n" +
			"  weir generate --model z_image_turbo_bf16.safetensors --text-encoder qwen_3_4b.safetensors --text-type lumina2 --vae ae.safetensors \\\n" +
			"    --cfg 1 --steps 9 --scheduler simple --width 1024 --height 1024 --prompt \"a red apple\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return err
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
	f.StringVarP(&r.model, "model", "m", "", "a denoiser that is a file of its own, in the place of a checkpoint: a name in models/diffusion_models, or a path")
	f.StringArrayVar(&r.texts, "text-encoder", nil, "a text encoder for --model: a name in models/text_encoders, or a path (two are given one after the other)")
	f.StringVar(&r.kind, "text-type", "", "what the text encoders are for: "+strings.Join(families.Types(0), ", "))
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

// check reports flags that are missing or do not belong together.
func (r *request) check() error {
	switch {
	case r.checkpoint == "" && r.model == "" || r.prompt == "":
		return fault.New(fault.Usage, "generate needs --checkpoint, or --model, and --prompt; see weir generate --help")
	case r.checkpoint != "" && (r.model != "" || len(r.texts) > 0 || r.kind != ""):
		return fault.New(fault.Usage, "--checkpoint has a denoiser and text encoders: give it without --model, --text-encoder and --text-type")
	case r.model != "" && (len(r.texts) == 0 || r.kind == "" || r.vae == ""):
		return fault.New(fault.Usage, "--model needs --text-encoder, --text-type and --vae")
	case r.model != "" && (len(r.texts) > 2 || !slices.Contains(families.Types(len(r.texts)), r.kind)):
		return fault.New(fault.Usage, "--text-type: %q has no %d text encoders; those that have are %s", r.kind, len(r.texts), strings.Join(families.Types(len(r.texts)), ", "))
	}
	return nil
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

	var model, clip, vae workflow.Reference
	if r.model == "" {
		checkpoint := add("CheckpointLoaderSimple", workflow.Arg{Name: "ckpt_name", Value: file("checkpoints", r.checkpoint)})
		model, clip, vae = link(checkpoint, 0), link(checkpoint, 1), link(checkpoint, 2)
	} else {
		model = link(add("UNETLoader", workflow.Arg{Name: "unet_name", Value: file("diffusion_models", r.model)}, workflow.Arg{Name: "weight_dtype", Value: "default"}), 0)
		texts := []workflow.Arg{{Name: "type", Value: r.kind}}
		for i, text := range r.texts {
			name := "clip_name"
			if len(r.texts) > 1 {
				name += strconv.Itoa(i + 1)
			}
			texts = append(texts, workflow.Arg{Name: name, Value: file("text_encoders", text)})
		}
		clip = link(add([]string{"CLIPLoader", "DualCLIPLoader"}[len(r.texts)-1], texts...), 0)
	}
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
