package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
	"github.com/weir-run/weir/workflow"
)

// TestRefiner samples with SDXL's refiner, which is told a size and a score, and
// compares with ComfyUI.
func TestRefiner(t *testing.T) {
	want, unet := golden.Open(t, "sdxl_refiner"), golden.Open(t, "unet_sdxl_heads")
	models := filepath.Join(t.TempDir(), "models")
	if err := os.MkdirAll(filepath.Join(models, "unet"), 0o755); err != nil {
		t.Fatal(err)
	}
	var tensors []weights.Tensor
	for _, name := range unet.Names() {
		if !strings.HasPrefix(name, "model.") {
			continue
		}
		values, shape := unet.F32(name), unet.Shape(name)
		if strings.HasSuffix(name, "label_emb.0.0.weight") {
			shape = []int{shape[0], 32 + 5*256}
			values = golden.Hashed(name, shape...)
		}
		tensors = append(tensors, weights.F32(name, dtype.F32, shape, values))
	}
	if err := weights.Write(t.Context(), filepath.Join(models, "unet", "tiny.safetensors"), nil, tensors); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, pipeline.Options{})
	b.addRoot(filepath.Dir(models))
	var extras map[string][]float32
	for _, name := range []string{"positive", "negative"} {
		b.reg.Register(workflow.Schema{Class: name, Outputs: workflow.Outputs(workflow.TypeConditioning),
			Run: func(context.Context, *workflow.Call) ([]any, error) {
				cond := NewCond(want.F32(name), 77, 32, want.F32(name+".pooled"))
				cond.Numbers = extras
				return []any{Conditioning{cond}}, nil
			}})
	}
	var got *Latent
	b.reg.Register(workflow.Schema{Class: "Take", Inputs: []workflow.Input{workflow.Link("l", workflow.TypeLatent)}, Output: true, Run: take(&got)})
	const graph = `{"m": {"class_type": "UNETLoader", "inputs": {"unet_name": "tiny.safetensors", "weight_dtype": "default"}},
		"p": {"class_type": "positive", "inputs": {}}, "n": {"class_type": "negative", "inputs": {}},
		"l": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 160, "batch_size": 1}},
		"k": {"class_type": "KSampler", "inputs": {"model": ["m", 0], "positive": ["p", 0], "negative": ["n", 0], "latent_image": ["l", 0],
			"seed": 7, "steps": 3, "cfg": 4.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}},
		"t": {"class_type": "Take", "inputs": {"l": ["k", 0]}}}`
	for name, e := range map[string]map[string][]float32{
		"plain": nil,
		"told":  {model.Sizes: {640, 384, 0, 0, 640, 384}, model.Score: {8.5}},
	} {
		extras = e
		b.executor.Clear()
		if _, _, err := b.try(b.parse(graph)); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, got.Data, want.F32("samples."+name), 1e-3)
	}
}
