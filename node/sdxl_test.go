package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// TestSDXLIsToldTheSizes samples pictures that are not square with a network
// that is conditioned on their sizes, and compares with ComfyUI.
func TestSDXLIsToldTheSizes(t *testing.T) {
	want := golden.Open(t, "sdxl_sizes")
	b := newBench(t, pipeline.Options{})
	models := filepath.Join(t.TempDir(), "models")
	file, err := os.ReadFile(filepath.Join(golden.Dir(), "unet_sdxl_heads.safetensors"))
	if err == nil {
		err = os.MkdirAll(filepath.Join(models, "unet"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(models, "unet", "tiny.safetensors"), file, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.addRoot(filepath.Dir(models))
	for _, name := range []string{"positive", "negative"} {
		cond := Conditioning{NewCond(want.F32(name), 77, 32, want.F32(name+".pooled"))}
		b.reg.Register(workflow.Schema{Class: name, Outputs: workflow.Outputs(workflow.TypeConditioning),
			Run: func(context.Context, *workflow.Call) ([]any, error) { return []any{cond}, nil }})
	}
	var got *Latent
	b.reg.Register(workflow.Schema{Class: "Take", Inputs: []workflow.Input{workflow.Link("l", workflow.TypeLatent)}, Output: true, Run: take(&got)})
	for _, size := range [][2]int{{64, 160}, {160, 64}} {
		graph := fmt.Sprintf(`{"m": {"class_type": "UNETLoader", "inputs": {"unet_name": "tiny.safetensors", "weight_dtype": "default"}},
			"p": {"class_type": "positive", "inputs": {}}, "n": {"class_type": "negative", "inputs": {}},
			"l": {"class_type": "EmptyLatentImage", "inputs": {"width": %d, "height": %d, "batch_size": 1}},
			"k": {"class_type": "KSampler", "inputs": {"model": ["m", 0], "positive": ["p", 0], "negative": ["n", 0], "latent_image": ["l", 0],
				"seed": 7, "steps": 3, "cfg": 4.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}},
			"t": {"class_type": "Take", "inputs": {"l": ["k", 0]}}}`, size[0], size[1])
		if _, _, err := b.try(b.parse(graph)); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("samples.%dx%d", size[0], size[1])
		if got.Width != size[0]/8 || got.Height != size[1]/8 {
			t.Fatalf("%s: the latents are %d×%d", name, got.Width, got.Height)
		}
		golden.Check(t, name, got.Data, want.F32(name), 1e-3)
	}
}
