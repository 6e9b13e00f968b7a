package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/weights"
)

// shapes are those of the tensors of a small model, by name.
type shapes map[string][]int

// A zoo writes small models under the names that templates expect. Their shapes
// are those of the goldens.
type zoo struct {
	root string
	// families has the denoisers and text encoders of whole small pipelines.
	families map[string]shapes
	tekken   []byte // the vocabulary of Mistral's small encoder
}

// newZoo reads what small models look like.
func newZoo(ctx context.Context, root string) (*zoo, error) {
	f, err := weights.Open(ctx, filepath.Join(golden.Dir(), "pictures.safetensors"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z := &zoo{root: root}
	if err := json.Unmarshal([]byte(f.Metadata()["shapes"]), &z.families); err != nil {
		return nil, err
	}
	ref, ok := f.Lookup("tekken_model")
	if !ok {
		return nil, fmt.Errorf("%s has no tekken_model", f.Path())
	}
	values, err := ref.ReadF32(ctx)
	for _, v := range values {
		z.tekken = append(z.tekken, byte(v))
	}
	return z, err
}

// A recipe makes the small model of a file that a template names.
type recipe struct {
	class string // of the loader
	file  *regexp.Regexp
	make  func(z *zoo, ctx context.Context, path, file string) error
}

// recipes are tried in their order.
var recipes = []recipe{
	{"UNETLoader", regexp.MustCompile(`(?i)z[-_]?image`), denoiser("z_image", nil)},
	{"UNETLoader", regexp.MustCompile(`(?i)flux[-_.]?2.*klein`), denoiser("klein", nil)},
	{"UNETLoader", regexp.MustCompile(`(?i)flux[-_.]?2`), denoiser("flux2", nil)},
	{"UNETLoader", regexp.MustCompile(`(?i)flux[-_.]?1.*fill`), denoiser("flux1", wider(384))},
	{"UNETLoader", regexp.MustCompile(`(?i)flux1-(canny|depth)`), denoiser("flux1", wider(128))},
	{"UNETLoader", regexp.MustCompile(`(?i)flux1.*schnell`), denoiser("flux1", unguided)},
	{"UNETLoader", regexp.MustCompile(`(?i)flux[-_.]?1`), denoiser("flux1", nil)},
	{"CLIPLoader", regexp.MustCompile(`(?i)mistral`), (*zoo).mistral},
	{"CLIPLoader", regexp.MustCompile(`(?i)qwen_3`), encoder("z_image qwen3_4b")},
	{"CLIPLoader", regexp.MustCompile(`(?i)t5`), encoder("flux1 t5xxl")},
	{"DualCLIPLoader", regexp.MustCompile(`(?i)t5`), encoder("flux1 t5xxl")},
	{"DualCLIPLoader", regexp.MustCompile(`(?i)clip_l`), encoder("flux1 clip_l")},
	{"VAELoader", regexp.MustCompile(`(?i)flux2|small_decoder`), copied("vae_flux2")},
	{"VAELoader", regexp.MustCompile(`(?i)^ae\.`), copied("vae_flux1")},
	{"VAELoader", regexp.MustCompile(`(?i)vae-ft|sdxl`), copied("vae")},
	{"CheckpointLoaderSimple", regexp.MustCompile(`(?i)sd_xl_refiner`), (*zoo).refiner},
	{"CheckpointLoaderSimple", regexp.MustCompile(`(?i)sd_xl`), (*zoo).sdxl},
	{"CheckpointLoaderSimple", regexp.MustCompile(`(?i)flux1.*schnell`), fluxCheckpoint(unguided)},
	{"CheckpointLoaderSimple", regexp.MustCompile(`(?i)flux1`), fluxCheckpoint(nil)},
	{"CLIPVisionLoader", regexp.MustCompile(`(?i)sigclip`), copied("siglip")},
	{"CLIPVisionLoader", regexp.MustCompile(`(?i)clip_vision`), copied("clip_vision")},
	{"StyleModelLoader", regexp.MustCompile(`(?i)redux`), (*zoo).redux},
	{"UpscaleModelLoader", regexp.MustCompile(`(?i)x4`), copied("realesrgan_x4")},
}

// folders of the loaders' files below models.
var modelFolders = map[string]string{
	"UNETLoader": "diffusion_models", "CLIPLoader": "text_encoders", "DualCLIPLoader": "text_encoders", "VAELoader": "vae",
	"CheckpointLoaderSimple": "checkpoints", "UpscaleModelLoader": "upscale_models", "CLIPVisionLoader": "clip_vision", "StyleModelLoader": "style_models", "LoraLoaderModelOnly": "loras", "LoraLoader": "loras",
}

// model writes the small model that a loader names, once. An unknown name is an
// error.
func (z *zoo) model(ctx context.Context, class, file string) error {
	path := filepath.Join(z.root, "models", modelFolders[class], file)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	for _, r := range recipes {
		if r.class == class && r.file.MatchString(file) {
			return r.make(z, ctx, path, file)
		}
	}
	return fmt.Errorf("a small model of the kind of %s", file)
}

// lora writes an adapter for the first matrix of a family's denoiser.
func (z *zoo) lora(ctx context.Context, family, file string) error {
	path := filepath.Join(z.root, "models", "loras", file)
	name := map[string]string{"Z-Image": "layers.0.attention.out", "FLUX.1": "double_blocks.0.img_attn.proj", "FLUX.2": "double_blocks.0.img_attn.proj"}[family]
	source := map[string]string{"Z-Image": "z_image", "FLUX.1": "flux1", "FLUX.2": "klein"}[family]
	shape := z.families[source]["model.diffusion_model."+name+".weight"]
	if len(shape) != 2 {
		return fmt.Errorf("a small LoRA of %s", family)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return write(ctx, path, shapes{"diffusion_model." + name + ".lora_A.weight": {2, shape[1]}, "diffusion_model." + name + ".lora_B.weight": {shape[0], 2}}, "")
}

// write writes a model whose weights are made of their names.
func write(ctx context.Context, path string, s shapes, prefix string, more ...weights.Tensor) error {
	tensors := more
	for _, name := range slices.Sorted(maps.Keys(s)) {
		values := golden.Hashed(prefix+name, s[name]...)
		raw := make([]byte, 2*len(values))
		dtype.FromF32(raw, values, dtype.F16)
		tensors = append(tensors, weights.Tensor{Name: name, DType: dtype.F16, Shape: s[name], Write: weights.Bytes(raw)})
	}
	return weights.Write(ctx, path, nil, tensors)
}

// denoiser makes a denoiser whose shapes are changed.
func denoiser(family string, change func(shapes)) func(*zoo, context.Context, string, string) error {
	return func(z *zoo, ctx context.Context, path, _ string) error {
		s := maps.Clone(z.families[family])
		if change != nil {
			change(s)
		}
		return write(ctx, path, s, "")
	}
}

// wider lets a denoiser of FLUX.1 take so many columns of latents and masks.
func wider(columns int) func(shapes) {
	return func(s shapes) {
		const name = "model.diffusion_model.img_in.weight"
		s[name] = []int{s[name][0], columns}
	}
}

// unguided takes the distilled guidance away.
func unguided(s shapes) {
	maps.DeleteFunc(s, func(name string, _ []int) bool { return strings.Contains(name, "guidance_in.") })
}

func encoder(name string) func(*zoo, context.Context, string, string) error {
	return func(z *zoo, ctx context.Context, path, _ string) error {
		return write(ctx, path, z.families[name], name[strings.Index(name, " ")+1:]+".transformer.")
	}
}

// mistral has its vocabulary in the file.
func (z *zoo) mistral(ctx context.Context, path, _ string) error {
	return write(ctx, path, z.families["flux2 mistral3_24b"], "mistral3_24b.transformer.",
		weights.Tensor{Name: "tekken_model", DType: dtype.U8, Shape: []int{len(z.tekken)}, Write: weights.Bytes(z.tekken)})
}

// redux makes text of what the small SigLIP sees.
func (z *zoo) redux(ctx context.Context, path, _ string) error {
	width, seen := z.families["flux1"]["model.diffusion_model.txt_in.weight"][1], 64
	return write(ctx, path, shapes{"redux_up.weight": {3 * width, seen}, "redux_up.bias": {3 * width}, "redux_down.weight": {width, 3 * width}, "redux_down.bias": {width}}, "")
}

// copied copies a golden.
func copied(name string) func(*zoo, context.Context, string, string) error {
	return func(_ *zoo, _ context.Context, path, _ string) error {
		raw, err := os.ReadFile(filepath.Join(golden.Dir(), name+".safetensors"))
		if err != nil {
			return err
		}
		return os.WriteFile(path, raw, 0o644)
	}
}

// goldenShapes returns the shapes of a golden's tensors under a prefix.
func goldenShapes(ctx context.Context, name, prefix string) (shapes, error) {
	f, err := weights.Open(ctx, filepath.Join(golden.Dir(), name+".safetensors"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := shapes{}
	for _, n := range f.Names() {
		if ref, ok := f.Lookup(n); ok && strings.HasPrefix(n, prefix) {
			s[n] = ref.Shape
		}
	}
	return s, nil
}

// sdxl is a checkpoint of both text encoders, the denoiser and the autoencoder.
func (z *zoo) sdxl(ctx context.Context, path, _ string) error {
	s, err := z.stable(ctx, "conditioner.embedders.1.", 128, 6)
	if err != nil {
		return err
	}
	for name, shape := range z.families["flux1 clip_l"] {
		s["conditioner.embedders.0.transformer."+name] = shape
	}
	return write(ctx, path, s, "")
}

// refiner has the larger text encoder alone.
func (z *zoo) refiner(ctx context.Context, path, _ string) error {
	s, err := z.stable(ctx, "conditioner.embedders.0.", 64, 5)
	if err != nil {
		return err
	}
	return write(ctx, path, s, "")
}

// stable returns a checkpoint with OpenCLIP's text encoder, for texts of so many
// features and so many sizes.
func (z *zoo) stable(ctx context.Context, openCLIP string, features, sizes int) (shapes, error) {
	s, err := goldenShapes(ctx, "unet_sdxl_heads", "model.diffusion_model.")
	if err != nil {
		return nil, err
	}
	for name, shape := range s {
		switch {
		case strings.HasSuffix(name, "attn2.to_k.weight"), strings.HasSuffix(name, "attn2.to_v.weight"):
			s[name] = []int{shape[0], features}
		case strings.HasSuffix(name, "label_emb.0.0.weight"):
			s[name] = []int{shape[0], 64 + sizes*256}
		}
	}
	const other = "conditioner.embedders.1."
	text, err := goldenShapes(ctx, "open_clip", other)
	if err != nil {
		return nil, err
	}
	for name, shape := range text {
		if strings.HasSuffix(name, "token_embedding.weight") {
			shape = []int{49408, shape[1]}
		}
		s[openCLIP+strings.TrimPrefix(name, other)] = shape
	}
	vae, err := goldenShapes(ctx, "vae", "first_stage_model.")
	maps.Copy(s, vae)
	return s, err
}

// fluxCheckpoint makes a checkpoint of FLUX.1 with its text encoders and its
// autoencoder.
func fluxCheckpoint(change func(shapes)) func(*zoo, context.Context, string, string) error {
	return func(z *zoo, ctx context.Context, path, _ string) error {
		s := maps.Clone(z.families["flux1"])
		if change != nil {
			change(s)
		}
		for _, text := range []string{"clip_l", "t5xxl"} {
			for name, shape := range z.families["flux1 "+text] {
				s["text_encoders."+text+".transformer."+name] = shape
			}
		}
		vae, err := goldenShapes(ctx, "vae_flux1", "first_stage_model.")
		for name, shape := range vae {
			s["vae."+strings.TrimPrefix(name, "first_stage_model.")] = shape
		}
		if err != nil {
			return err
		}
		return write(ctx, path, s, "")
	}
}
