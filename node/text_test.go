package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
)

// TestEmbedding makes pictures with an embedding of the folder embeddings, and
// anew when its file changes.
func TestEmbedding(t *testing.T) {
	more := t.TempDir()
	write := func(value float32) {
		path := filepath.Join(more, "models", "embeddings", "styles", "ink.safetensors")
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		values := make([]float32, 2*96)
		for i := range values {
			values[i] = value * float32(i%7-3)
		}
		if err := weights.Write(t.Context(), path, nil, []weights.Tensor{weights.F32("emb_params", dtype.F32, []int{2, 96}, values)}); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, pipeline.Options{})
	b.addRoot(more)
	picture := func(prompt string) []float32 {
		return b.run(b.emoji("Prompt.text="+prompt, "KSampler.steps=1")).Pix()
	}
	write(0.1)
	plain, first := picture("red apple"), picture("red apple, (embedding:ink:1.2)")
	if slices.Equal(plain, first) {
		t.Error("the embedding changes nothing")
	}
	if again := picture("red apple, (embedding:styles/ink.safetensors:1.2)"); !slices.Equal(again, first) {
		t.Error("the name in full gives another picture")
	}
	write(0.5)
	if slices.Equal(picture("red apple, (embedding:ink:1.2)"), first) {
		t.Error("the file has changed and the picture has not")
	}
	if missing := picture("red apple embedding:none"); !slices.Equal(missing, plain) {
		t.Error("an embedding that is missing changes the picture")
	}
}

// TestLinkedText encodes a prompt that comes from another node.
func TestLinkedText(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	text := func(prompt string) []float32 {
		return b.run(b.parse(`{"t": {"class_type": "PrimitiveString", "inputs": {"value": "red apple"}}, "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}},
			"2": {"class_type": "CLIPTextEncode", "inputs": {"text": ` + prompt + `, "clip": ["1", 1]}},
			"4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
			"5": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
				"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["4", 0]}},
			"6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
			"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["6", 0]}}}`)).Pix()
	}
	if !slices.Equal(text(`["t", 0]`), text(`"red apple"`)) {
		t.Error("a linked prompt gives another picture than the same one in the file")
	}
}

// TestLinkedNames loads a model and a picture whose names come from other nodes.
func TestLinkedNames(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 12, 6, func(int, int) uint8 { return 255 })
	texts, _, err := b.shows(`{"n": {"class_type": "PrimitiveString", "inputs": {"value": "in.png"}}, "1": {"class_type": "LoadImage", "inputs": {"image": ["n", 0]}},
		"2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}, "m": {"class_type": "PrimitiveString", "inputs": {"value": "emoji.safetensors"}},
		"3": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": ["m", 0]}}, "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}}}`)
	if want := []string{"1 pictures of 12×6 pixels, 3 channels", "pipeline.Model"}; err != nil || !slices.Equal(texts, want) {
		t.Errorf("got %q, %v, want %q", texts, err, want)
	}
}
