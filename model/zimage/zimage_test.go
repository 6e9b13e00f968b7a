package zimage

import (
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/model/nn"
)

const prefix = "model.diffusion_model."

// TestDenoiser compares a tiny denoiser with ComfyUI's, at sizes that need
// padding and at sizes that need none. The float16 weights of the golden are
// those that the reference computed with.
func TestDenoiser(t *testing.T) {
	f := golden.Open(t, "zimage")
	half := eval.Read(t, f.File)
	c, ok, err := Detect(half, prefix)
	if err != nil || !ok {
		t.Fatalf("not recognised: %v", err)
	}
	want := Config{Channels: 4, Width: 64, HeadDim: 32, Context: 24, Hidden: 80, Embedding: [2]int{48, 64}, Noise: 2, Text: 2, Layers: 2}
	if c != want {
		t.Errorf("detected %+v, want %+v", c, want)
	}
	full := half.F32()
	for _, name := range []string{"plain", "odd", "long", "full"} {
		x := f.Shape("x." + name)
		in := Size{x[0], x[2], x[3], f.Shape("context." + name)[1]}
		cos, sin := c.Axes().Tables(c.Positions(in))
		inputs := map[string]any{"x": f.F32("x." + name), "t": f.F32("t." + name), "context": f.F32("context." + name), "cos": cos, "sin": sin}
		build := func(s nn.Scope) { Denoiser(s.Sub(prefix), c, in) }
		golden.Check(t, name+" in float32", eval.Build(t, full, full, inputs, build)["y"], f.F32("y."+name), 1e-5)
		golden.Check(t, name+" in float16", eval.Build(t, half, half, inputs, build)["y"], f.F32("y."+name), 1e-3)
	}
}

// TestPublished reads every tensor of the published model, with the prefix of
// checkpoints and without.
func TestPublished(t *testing.T) {
	for _, prefix := range []string{"", prefix} {
		w := published.Tensors(t, "z-image", prefix)
		c, ok, err := Detect(w, prefix)
		want := Config{Channels: 16, Width: 3840, HeadDim: 128, Context: 2560, Hidden: 10240, Embedding: [2]int{1024, 256}, Noise: 2, Text: 2, Layers: 30}
		if err != nil || !ok || c != want {
			t.Errorf("detected %+v, %v, %v, want %+v", c, ok, err, want)
		}
		published.Complete(t, w, c.Check(w, prefix))
	}
}

// TestDetectErrors names what is wrong with a file.
func TestDetectErrors(t *testing.T) {
	f := golden.Open(t, "zimage")
	shape := func(name string, shape ...int) func(eval.Weights) {
		return func(w eval.Weights) {
			x := w[prefix+name]
			x.Shape = shape
			w[prefix+name] = x
		}
	}
	drop := func(name string) func(eval.Weights) { return func(w eval.Weights) { delete(w, prefix+name) } }
	tests := []struct {
		name   string
		change func(eval.Weights)
		want   string
	}{
		{"omni", shape("siglip_embedder.0.weight", 8), "Z-Image Omni"},
		{"pixels", shape("dec_net.cond_embed.weight", 8, 8), "pixels instead of latents"},
		{"NewBie", shape("clip_text_pooled_proj.0.weight", 8), "NewBie"},
		{"Lumina", shape("layers.0.adaLN_modulation.1.weight", 8, 8), "Lumina Image 2"},
		{"no block", func(w eval.Weights) {
			for _, name := range nn.Names(w.Names()).Under(prefix + "layers.0.") {
				delete(w, name)
			}
		}, "none model.diffusion_model.layers.0..."},
		{"no pad", drop("x_pad_token"), "there is no tensor model.diffusion_model.x_pad_token"},
		{"wide", shape("layers.1.attention.qkv.weight", 192, 65), "layers.1.attention.qkv.weight has the shape [192 65], expected [192 64]"},
		{"no latent", func(w eval.Weights) {
			shape("x_embedder.weight", 64, 18)(w)
			shape("final_layer.linear.weight", 18, 64)(w)
		}, "expected a multiple of 4"},
		{"heads", func(w eval.Weights) {
			for _, name := range nn.Names(w.Names()) {
				if strings.HasSuffix(name, "_norm.weight") {
					w[name] = eval.Weight{DType: w[name].DType, Shape: []int{24}}
				}
			}
		}, "heads 24"},
		{"nothing", func(w eval.Weights) {
			for _, name := range w.Names() {
				w[name] = eval.Weight{DType: w[name].DType}
			}
		}, "sizes of the network cannot be told"},
	}
	for _, tt := range tests {
		w := eval.Read(t, f.File)
		tt.change(w)
		if _, ok, err := Detect(w, prefix); !ok || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", tt.name, ok, err, tt.want)
		}
	}
	if _, ok, err := Detect(eval.Weights{}, prefix); ok || err != nil {
		t.Errorf("no tensors: got %v, %v, want neither", ok, err)
	}
}
