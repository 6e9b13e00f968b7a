package zimage

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// TestDenoiser compares a tiny denoiser with ComfyUI's, at sizes that need
// padding and at sizes that need none. The float16 weights of the golden are
// those that the reference computed with.
func TestDenoiser(t *testing.T) {
	f := golden.Open(t, "zimage")
	half := eval.Read(t, f.File)
	c, err := Detect(half)
	if err != nil || c == nil {
		t.Fatalf("not recognised: %v", err)
	}
	want := Config{Channels: 4, Width: 64, HeadDim: 32, Context: 24, Hidden: 80, Embedding: [2]int{48, 64}, NoiseBlocks: 2, TextBlocks: 2, Blocks: 2}
	if *c != want {
		t.Errorf("detected %+v, want %+v", c, want)
	}
	full := half.F32()
	for _, name := range []string{"plain", "odd", "long", "full"} {
		x, context := f.Shape("x."+name), f.Shape("context."+name)
		var conds []*model.Cond
		for text := range slices.Chunk(f.F32("context."+name), context[1]*context[2]) {
			conds = append(conds, &model.Cond{Embed: text, Tokens: context[1], Width: context[2]})
		}
		run := func(w eval.Weights) []float32 {
			return eval.Denoiser(t, c, w, w, f.F32("x."+name), x, f.F32("t."+name), conds)
		}
		golden.Check(t, name+" in float32", run(full), f.F32("y."+name), 1e-5)
		golden.Check(t, name+" in float16", run(half), f.F32("y."+name), 1e-3)
	}
}

// TestPublished reads every tensor of the published model.
func TestPublished(t *testing.T) {
	w := published.Tensors(t, "z-image", prefix)
	c, err := Detect(w)
	want := Config{Channels: 16, Width: 3840, HeadDim: 128, Context: 2560, Hidden: 10240, Embedding: [2]int{1024, 256}, NoiseBlocks: 2, TextBlocks: 2, Blocks: 30}
	if err != nil || c == nil || *c != want {
		t.Fatalf("detected %+v, %v, want %+v", c, err, want)
	}
	published.Complete(t, w, c.Check(w))
	published.Layers(t, w, c.Layers)
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
		if c, err := Detect(w); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", tt.name, c, err, tt.want)
		}
	}
	if c, err := Detect(eval.Weights{}); c != nil || err != nil {
		t.Errorf("no tensors: got %v, %v, want neither", c, err)
	}
}
