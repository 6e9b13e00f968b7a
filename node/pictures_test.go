package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
	"github.com/weir-run/weir/workflow"
)

// A tinyFamily is a pipeline of tiny models whose pictures the golden has.
type tinyFamily struct {
	name, vae string
	// loaders are the nodes "m", the model, and "c", the text encoders; sampling
	// ends in the node "s", whose prompts are "p" and "n". WIDTH and HEIGHT stand for
	// the size of the picture.
	loaders, sampling string
}

// flux2Sampling samples FLUX.2 as its templates do.
const flux2Sampling = `
	"l": {"class_type": "EmptyFlux2LatentImage", "inputs": {"width": WIDTH, "height": HEIGHT, "batch_size": 1}},
	"r": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
	"k": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
	"f": {"class_type": "Flux2Scheduler", "inputs": {"steps": 4, "width": WIDTH, "height": HEIGHT}},
	"s": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["r", 0], "guider": ["g", 0], "sampler": ["k", 0], "sigmas": ["f", 0], "latent_image": ["l", 0]}},`

var tinyFamilies = []tinyFamily{
	{"z_image", "vae_flux1", `
	"u": {"class_type": "UNETLoader", "inputs": {"unet_name": "z_image.safetensors", "weight_dtype": "default"}},
	"m": {"class_type": "ModelSamplingAuraFlow", "inputs": {"model": ["u", 0], "shift": 3.0}},
	"c": {"class_type": "CLIPLoader", "inputs": {"clip_name": "z_image qwen3_4b.safetensors", "type": "lumina2", "device": "default"}},`, `
	"l": {"class_type": "EmptySD3LatentImage", "inputs": {"width": WIDTH, "height": HEIGHT, "batch_size": 1}},
	"s": {"class_type": "KSampler", "inputs": {"model": ["m", 0], "positive": ["p", 0], "negative": ["n", 0], "latent_image": ["l", 0],
		"seed": 7, "steps": 4, "cfg": 2.5, "sampler_name": "euler", "scheduler": "simple", "denoise": 1}},`},
	{"klein", "vae_flux2", `
	"m": {"class_type": "UNETLoader", "inputs": {"unet_name": "klein.safetensors", "weight_dtype": "default"}},
	"c": {"class_type": "CLIPLoader", "inputs": {"clip_name": "klein qwen3_4b.safetensors", "type": "flux2", "device": "default"}},`, flux2Sampling + `
	"g": {"class_type": "CFGGuider", "inputs": {"model": ["m", 0], "positive": ["p", 0], "negative": ["n", 0], "cfg": 2.5}},`},
	{"flux2", "vae_flux2", `
	"m": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux2.safetensors", "weight_dtype": "default"}},
	"c": {"class_type": "CLIPLoader", "inputs": {"clip_name": "flux2 mistral3_24b.safetensors", "type": "flux2", "device": "default"}},`, flux2Sampling + `
	"g": {"class_type": "BasicGuider", "inputs": {"model": ["m", 0], "conditioning": ["p", 0]}},`},
	{"flux1", "vae_flux1", `
	"m": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1.safetensors", "weight_dtype": "default"}},
	"c": {"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "flux1 clip_l.safetensors", "clip_name2": "flux1 t5xxl.safetensors", "type": "flux", "device": "default"}},`, `
	"l": {"class_type": "EmptySD3LatentImage", "inputs": {"width": WIDTH, "height": HEIGHT, "batch_size": 1}},
	"g": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["p", 0], "guidance": 2.0}},
	"s": {"class_type": "KSampler", "inputs": {"model": ["m", 0], "positive": ["g", 0], "negative": ["n", 0], "latent_image": ["l", 0],
		"seed": 7, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1}},`},
	{"chroma", "vae_flux1", `
	"m": {"class_type": "UNETLoader", "inputs": {"unet_name": "chroma.safetensors", "weight_dtype": "default"}},
	"c": {"class_type": "CLIPLoader", "inputs": {"clip_name": "chroma t5xxl.safetensors", "type": "chroma", "device": "default"}},`, `
	"l": {"class_type": "EmptySD3LatentImage", "inputs": {"width": WIDTH, "height": HEIGHT, "batch_size": 1}},
	"s": {"class_type": "KSampler", "inputs": {"model": ["m", 0], "positive": ["p", 0], "negative": ["n", 0], "latent_image": ["l", 0],
		"seed": 7, "steps": 4, "cfg": 2.5, "sampler_name": "euler", "scheduler": "simple", "denoise": 1}},`},
}

// workflow returns the workflow of a picture, which ends in the nodes TakeLatent
// and TakeImage.
func (f tinyFamily) workflow(positive, negative string, width, height int) string {
	text := `{` + f.loaders + `
	"p": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["c", 0], "text": POSITIVE}},
	"n": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["c", 0], "text": NEGATIVE}},` + f.sampling + `
	"v": {"class_type": "VAELoader", "inputs": {"vae_name": "VAE.safetensors"}},
	"d": {"class_type": "VAEDecode", "inputs": {"samples": ["s", 0], "vae": ["v", 0]}},
	"tl": {"class_type": "TakeLatent", "inputs": {"l": ["s", 0]}}, "ti": {"class_type": "TakeImage", "inputs": {"i": ["d", 0]}}}`
	return strings.NewReplacer("POSITIVE", fmt.Sprintf("%q", positive), "NEGATIVE", fmt.Sprintf("%q", negative), "VAE.safetensors", f.vae+".safetensors",
		"WIDTH", fmt.Sprint(width), "HEIGHT", fmt.Sprint(height)).Replace(text)
}

// hashedFile writes tensors whose weights are computed from their names after a
// prefix.
func hashedFile(t *testing.T, path, prefix string, shapes map[string][]int, more ...weights.Tensor) {
	t.Helper()
	tensors := more
	for name, shape := range shapes {
		values := golden.Hashed(prefix+name, shape...)
		raw := make([]byte, 2*len(values))
		dtype.FromF32(raw, values, dtype.F16)
		tensors = append(tensors, weights.Tensor{Name: name, DType: dtype.F16, Shape: shape, Write: weights.Bytes(raw)})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
		t.Fatal(err)
	}
}

// files writes the models of the golden to a folder.
func familyFiles(t *testing.T, g golden.File, folder string) {
	t.Helper()
	var shapes map[string]map[string][]int
	if err := json.Unmarshal([]byte(g.Metadata()["shapes"]), &shapes); err != nil {
		t.Fatal(err)
	}
	for name, tensors := range shapes {
		_, encoder, text := strings.Cut(name, " ")
		switch {
		case !text:
			hashedFile(t, filepath.Join(folder, "diffusion_models", name+".safetensors"), "", tensors)
		case encoder == "mistral3_24b":
			raw := make([]byte, 0, 1<<15)
			for _, v := range g.I32("tekken_model") {
				raw = append(raw, byte(v))
			}
			hashedFile(t, filepath.Join(folder, "text_encoders", name+".safetensors"), encoder+".transformer.", tensors,
				weights.Tensor{Name: "tekken_model", DType: dtype.U8, Shape: []int{len(raw)}, Write: weights.Bytes(raw)})
		default:
			hashedFile(t, filepath.Join(folder, "text_encoders", name+".safetensors"), encoder+".transformer.", tensors)
		}
	}
	for _, vae := range []string{"vae_flux1", "vae_flux2"} {
		raw, err := os.ReadFile(filepath.Join(golden.Dir(), vae+".safetensors"))
		if err == nil {
			err = os.MkdirAll(filepath.Join(folder, "vae"), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "vae", vae+".safetensors"), raw, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestPicturesEqualComfyUI compares pictures of tiny pipelines of whole families,
// from the prompt to the pixels, with ComfyUI's.
func TestPicturesEqualComfyUI(t *testing.T) {
	g := golden.Open(t, "pictures")
	folder := t.TempDir()
	familyFiles(t, g, filepath.Join(folder, "models"))
	for _, f := range tinyFamilies {
		t.Run(f.name, func(t *testing.T) {
			b := newBench(t, pipeline.Options{})
			b.addRoot(folder)
			var latents *Latent
			var picture *media.Image
			b.reg.Register(workflow.Schema{Class: "TakeLatent", Inputs: []workflow.Input{workflow.Link("l", workflow.TypeLatent)}, Output: true, Run: take(&latents)})
			b.reg.Register(workflow.Schema{Class: "TakeImage", Inputs: []workflow.Input{workflow.Link("i", workflow.TypeImage)}, Output: true, Run: take(&picture)})
			for _, size := range [][2]int{{96, 64}, {48, 80}} {
				text := f.workflow(g.Metadata()["positive"], g.Metadata()["negative"], size[0], size[1])
				if _, _, err := b.try(b.parse(text)); err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("%s.%dx%d", f.name, size[0], size[1])
				golden.Check(t, name+" latents", latents.Data, g.F32(name+".samples"), 1e-3)
				samePicture(t, name, picture, g.Shape(name), g.F32(name))
			}
		})
	}
}

// TestWholeCheckpoint has the parts of Z-Image in one file, under the prefixes that
// ComfyUI saves checkpoints with: the picture is the same.
func TestWholeCheckpoint(t *testing.T) {
	g := golden.Open(t, "pictures")
	folder := t.TempDir()
	familyFiles(t, g, filepath.Join(folder, "models"))
	var tensors []weights.Tensor
	for file, prefix := range map[string]string{
		"diffusion_models/z_image": "", "text_encoders/z_image qwen3_4b": "text_encoders.qwen3_4b.transformer.", "vae/vae_flux1": "vae.",
	} {
		set, err := weights.OpenSet(t.Context(), filepath.Join(folder, "models", filepath.FromSlash(file)+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		for _, name := range set.Names() {
			ref, _ := set.Lookup(name)
			raw := make([]byte, ref.Length)
			if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, weights.Tensor{Name: prefix + strings.TrimPrefix(name, "first_stage_model."), DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
		}
	}
	path := filepath.Join(folder, "models", "checkpoints", "whole.safetensors")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	whole := tinyFamilies[0]
	whole.loaders = `
	"all": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "whole.safetensors"}},`
	text := whole.workflow(g.Metadata()["positive"], g.Metadata()["negative"], 96, 64)
	text = strings.NewReplacer(`["m", 0]`, `["all", 0]`, `["c", 0]`, `["all", 1]`, `["v", 0]`, `["all", 2]`, "EmptySD3LatentImage", "EmptyLatentImage").Replace(text)
	b := newBench(t, pipeline.Options{})
	b.addRoot(folder)
	var latents *Latent
	var picture *media.Image
	b.reg.Register(workflow.Schema{Class: "TakeLatent", Inputs: []workflow.Input{workflow.Link("l", workflow.TypeLatent)}, Output: true, Run: take(&latents)})
	b.reg.Register(workflow.Schema{Class: "TakeImage", Inputs: []workflow.Input{workflow.Link("i", workflow.TypeImage)}, Output: true, Run: take(&picture)})
	if _, _, err := b.try(b.parse(text)); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "latents", latents.Data, g.F32("z_image.96x64.samples"), 1e-3)
	samePicture(t, "picture", picture, g.Shape("z_image.96x64"), g.F32("z_image.96x64"))
}

// samePicture compares a picture with values [1, channels, height, width] from 0
// to 255: all but one in a thousand within 2.
func samePicture(t *testing.T, name string, m *media.Image, shape []int, want []float32) {
	t.Helper()
	if m.Height != shape[2] || m.Width != shape[3] {
		t.Fatalf("%s: a picture of %d×%d, want %d×%d", name, m.Width, m.Height, shape[3], shape[2])
	}
	got, err := m.Planar(t.Context(), 0, shape[1])
	if err != nil {
		t.Fatal(err)
	}
	far := 0
	for i, v := range got {
		if d := 255*v - want[i]; d > 2 || d < -2 {
			far++
		}
	}
	if far*1000 > len(want) {
		t.Errorf("%s: %d of %d values differ by more than 2 of 255", name, far, len(want))
	}
}
