package sd3

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/plan"
)

// TestDenoiser compares tiny denoisers with ComfyUI's, for every case of the
// goldens. Their float16 weights are those that the reference computed with.
func TestDenoiser(t *testing.T) {
	sd35 := Config{Channels: 4, Width: 64, HeadDim: 32, Context: 24, Vector: 12, Hidden: 128, Side: 8, Blocks: 3, Dual: 1, Norm: true}
	sd3 := sd35
	sd3.HeadDim, sd3.Blocks, sd3.Dual, sd3.Norm = 64, 2, 0, false
	for file, want := range map[string]Config{"sd35": sd35, "sd3": sd3} {
		f := golden.Open(t, file)
		half := eval.Read(t, f.File)
		c, err := Detect(half)
		if err != nil || c == nil || *c != want {
			t.Fatalf("%s: detected %+v, %v, want %+v", file, c, err, want)
		}
		full := half.F32()
		for _, x := range nn.Names(half.Names()).Under("x.") {
			name := strings.TrimPrefix(x, "x.")
			context := f.Shape("context." + name)
			pooled := slices.Collect(slices.Chunk(f.F32("pooled."+name), c.Vector))
			var conds []*model.Cond
			for text := range slices.Chunk(f.F32("context."+name), context[1]*context[2]) {
				conds = append(conds, &model.Cond{Embed: text, Tokens: context[1], Width: context[2], Pooled: pooled[len(conds)]})
			}
			run := func(w eval.Weights) []float32 {
				return eval.Denoiser(t, c, w, w, f.F32(x), f.Shape(x), f.F32("t."+name), conds)
			}
			golden.Check(t, file+" "+name+" in float32", run(full), f.F32("y."+name), 1e-5)
			golden.Check(t, file+" "+name+" in float16", run(half), f.F32("y."+name), 1e-3)
		}
	}
}

// TestPublished reads every tensor of the published models.
func TestPublished(t *testing.T) {
	large := Config{Channels: 16, Width: 2432, HeadDim: 64, Context: 4096, Vector: 2048, Hidden: 9728, Side: 192, Blocks: 38, Norm: true}
	medium, sd3 := large, large
	medium.Width, medium.Hidden, medium.Side, medium.Blocks, medium.Dual = 1536, 6144, 384, 24, 13
	sd3.Width, sd3.Hidden, sd3.Blocks, sd3.Norm = 1536, 6144, 24, false
	for name, want := range map[string]struct {
		Config
		family string
	}{"sd3.5-large": {large, "Stable Diffusion 3.5 Large"}, "sd3.5-medium": {medium, "Stable Diffusion 3.5 Medium"}, "sd3-medium": {sd3, "Stable Diffusion 3"}} {
		w := published.Tensors(t, name, prefix)
		c, err := Detect(w)
		if err != nil || c == nil || *c != want.Config || c.Family() != want.family {
			t.Fatalf("%s: detected %+v, %v, want %+v", name, c, err, want)
		}
		published.Complete(t, w, c.Check(w))
		published.Layers(t, w, c.Layers)
		// The positions of Medium are larger than an extent, of which rows are read.
		g := ir.New(name)
		c.Denoiser(nn.NewScope(g, w).Sub(prefix), model.Shape{Shape: latent.Picture(1, 16, 104, 152), Tokens: 154})
		if p, err := plan.Compile(g, plan.Options{}); err != nil {
			t.Error(err)
		} else if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// TestDetectErrors names what is wrong with a file.
func TestDetectErrors(t *testing.T) {
	set := func(name string, shape ...int) func(eval.Weights) {
		return func(w eval.Weights) {
			w[prefix+name] = eval.Weight{DType: w[prefix+"x_embedder.proj.bias"].DType, Shape: shape}
		}
	}
	drop := func(name string) func(eval.Weights) {
		return func(w eval.Weights) {
			for _, name := range nn.Names(w.Names()).Under(prefix + name) {
				delete(w, name)
			}
		}
	}
	for _, tt := range []struct {
		change func(eval.Weights)
		want   string
	}{
		{set("context_processor.layers.0.attn.qkv.weight", 8, 8), "layers of its own"},
		{set("register", 1, 8, 64), "registers"},
		{set("controlnet_blocks.0.weight", 8, 8), "ControlNet"},
		{drop("joint_blocks.1."), "none model.diffusion_model.joint_blocks.1..."},
		{drop("y_embedder."), "sizes of the network cannot be told"},
		{drop("pos_embed"), "positions of 0 tokens"},
		{set("pos_embed", 1, 63, 64), "positions of 63 tokens"},
		{drop("joint_blocks.2.x_block.mlp.fc2.bias"), "there is no tensor model.diffusion_model.joint_blocks.2.x_block.mlp.fc2.bias"},
		{func(w eval.Weights) {
			for _, name := range w.Names() {
				if strings.HasSuffix(name, "ln_q.weight") || strings.HasSuffix(name, "ln_k.weight") {
					w[name] = eval.Weight{DType: w[name].DType, Shape: []int{24}}
				}
			}
		}, "heads 24"},
	} {
		w := eval.Read(t, golden.Open(t, "sd35").File)
		tt.change(w)
		if c, err := Detect(w); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, %v, want an error with %q", c, err, tt.want)
		}
	}
	if c, err := Detect(eval.Weights{}); c != nil || err != nil {
		t.Errorf("no tensors: got %v, %v, want neither", c, err)
	}
}

// TestShapeErrors names what of a conditioning or of a picture does not fit.
func TestShapeErrors(t *testing.T) {
	c := Config{Channels: 16, Width: 128, HeadDim: 64, Context: 24, Vector: 12, Side: 8, Norm: true}
	for _, tt := range []struct {
		x    latent.Shape
		cond model.Cond
		want string
	}{
		{latent.Picture(1, 16, 4, 6), model.Cond{Width: 20}, "text of 24 features, and the prompt was encoded with 20"},
		{latent.Picture(1, 16, 4, 6), model.Cond{Width: 24, Pooled: make([]float32, 8)}, "pooled text of 12 features, and the prompt has 8"},
		{latent.Picture(1, 16, 4, 17), model.Cond{Width: 24}, "positions for 128×128 pixels, and the picture has 136×32"},
		{latent.Picture(1, 16, 16, 15), model.Cond{Width: 24}, ""},
	} {
		_, err := c.Shape(tt.x, &tt.cond)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
	}
}
