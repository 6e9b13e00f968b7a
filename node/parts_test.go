package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
)

// withQuantized adds a root of models to the demo's: the demo as a GGUF file,
// and its parts as GGUF files of their own, as people have them.
func withQuantized(t *testing.T, b *bench) {
	t.Helper()
	models := filepath.Join(t.TempDir(), "models")
	set, err := weights.OpenSet(t.Context(), filepath.Join(root, "models", "checkpoints", "emoji.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for path, prefix := range map[string]string{
		"checkpoints/emoji.gguf": "", "unet/unet.gguf": sd.UNetPrefix, "clip/l.gguf": sd.ClipLSD1, "vae/vae.gguf": sd.VAEPrefix,
	} {
		file, _, err := synth.Quantized(t.Context(), set.Sub(prefix), map[string]any{sd.MetadataFactor: "4"})
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(models, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.addRoot(filepath.Dir(models))
}

// TestQuantizedParts draws with a GGUF checkpoint and with its parts as files
// of their own, under both names of each loader: it is the same picture.
func TestQuantizedParts(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	withQuantized(t, b)
	draw := func(loaders, model, clip, vae string) []float32 {
		t.Helper()
		return b.run(b.parse(`{` + loaders + `,
			"4": {"class_type": "CLIPTextEncode", "inputs": {"text": "red apple", "clip": ` + clip + `}},
			"5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
			"6": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 2, "cfg": 2.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
				"model": ` + model + `, "positive": ["4", 0], "negative": ["4", 0], "latent_image": ["5", 0]}},
			"7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ` + vae + `}},
			"8": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["7", 0]}}}`)).Pix()
	}
	want := draw(`"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.gguf"}}`, `["1", 0]`, `["1", 1]`, `["1", 2]`)
	const vae = `, "3": {"class_type": "VAELoader", "inputs": {"vae_name": "vae.gguf"}}`
	for _, loaders := range []string{
		`"1": {"class_type": "UNETLoader", "inputs": {"unet_name": "unet.gguf", "weight_dtype": "fp8_e4m3fn"}},
		 "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "l.gguf", "type": "stable_diffusion", "device": "cpu"}}`,
		`"1": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "unet.gguf"}},
		 "2": {"class_type": "CLIPLoaderGGUF", "inputs": {"clip_name": "l.gguf", "type": "stable_diffusion"}}`,
	} {
		if got := draw(loaders+vae, `["1", 0]`, `["2", 0]`, `["3", 0]`); len(got) != 64*64*3 || !slices.Equal(got, want) {
			t.Errorf("%s\ndraw another picture, of %d values", loaders, len(got))
		}
	}
}

// TestSharedLatent has two samplers share an empty latent, behind a denoiser
// that is a file of its own, with inputs in another order than the node's.
func TestSharedLatent(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	withQuantized(t, b)
	text := `"1": {"class_type": "UNETLoader", "inputs": {"unet_name": "unet.gguf", "weight_dtype": "default"}},
		"2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "l.gguf", "type": "stable_diffusion"}},
		"3": {"class_type": "VAELoader", "inputs": {"vae_name": "vae.gguf"}},
		"4": {"class_type": "CLIPTextEncode", "inputs": {"text": "red apple", "clip": ["2", 0]}},
		"5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 96, "batch_size": 1}}`
	for i, id := range []string{"a", "b"} {
		text += fmt.Sprintf(`, %q: {"class_type": "KSampler", "inputs": {"latent_image": ["5", 0], "positive": ["4", 0], "negative": ["4", 0], "model": ["1", 0],
				"seed": %d, "steps": 1, "cfg": 2.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}},
			%q: {"class_type": "VAEDecode", "inputs": {"samples": [%q, 0], "vae": ["3", 0]}},
			%q: {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": [%q, 0]}}`, id, i, id+"1", id, id+"2", id+"1")
	}
	if files, _, err := b.try(b.parse("{" + text + "}")); err != nil || len(files) != 2 {
		t.Errorf("saved %v: %v", files, err)
	}
}

// TestPartErrors checks what is refused before anything runs and what when a
// file is opened.
func TestPartErrors(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	withQuantized(t, b)
	encode := `, "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["1", 0]}},
		"3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
			"model": ["4", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["5", 0]}},
		"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}},
		"5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
		"6": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
		"7": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["6", 0]}}}`
	for _, tt := range []struct{ loader, want string }{
		{`"class_type": "CLIPLoader", "inputs": {"clip_name": "l.gguf", "type": "mochi"}`, `mochi`},
		{`"class_type": "CLIPLoader", "inputs": {"clip_name": "none.gguf", "type": "stable_diffusion"}`, `none.gguf`},
		{`"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "l.gguf", "clip_name2": "l.gguf", "type": "hidream"}`, `hidream`},
		{`"class_type": "DualCLIPLoaderGGUF", "inputs": {"clip_name1": "l.gguf", "clip_name2": "l.gguf", "type": "sdxl"}`, "text encoders of the same size, 96 features"},
	} {
		_, _, err := b.try(b.parse(`{"1": {` + tt.loader + `}` + encode))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "node 1") {
			t.Errorf("%s: got %v", tt.loader, err)
		}
	}
}
