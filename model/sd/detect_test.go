package sd

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
)

// claim returns tensors without bytes.
func claim(tensors []synth.Tensor) eval.Weights {
	w := eval.Weights{}
	for _, t := range tensors {
		w[t.Name] = eval.Weight{DType: dtype.F16, Shape: t.Shape}
	}
	return w
}

// marks returns tensors of those names with a shape of no importance.
func marks(names ...string) eval.Weights {
	w := eval.Weights{}
	for _, name := range names {
		w[name] = eval.Weight{DType: dtype.F16, Shape: ir.Shape{1}}
	}
	return w
}

// TestFullSize detects checkpoints of full size from nothing but names and
// shapes, and builds every network of them, which must use every tensor.
func TestFullSize(t *testing.T) {
	tests := []struct {
		tensors  []synth.Tensor
		want     Checkpoint
		describe string
		clips    map[string]clip.Config
	}{
		{synth.SD15(), Checkpoint{
			Family: SD1, Scale: 0.18215,
			UNet: UNetConfig{In: 4, Out: 4, Channels: 320, Context: 768, Middle: 1, Heads: 8},
		}, "Stable Diffusion 1.x, epsilon prediction, UNet of 320 channels at 4 resolutions, text of 768 features, latents of 4 channels at 1/8",
			map[string]clip.Config{ClipLSD1: {Layers: 12, Width: 768, Heads: 12, Length: 77, Vocab: 49408}},
		},
		{synth.SDXL(), Checkpoint{
			Family: SDXL, Scale: 0.13025,
			UNet: UNetConfig{In: 4, Out: 4, Channels: 320, Context: 2048, Vector: 2816, Middle: 10, HeadDim: 64},
		}, "Stable Diffusion XL, epsilon prediction, UNet of 320 channels at 3 resolutions, text of 2048 features, latents of 4 channels at 1/8",
			map[string]clip.Config{
				ClipLSDXL: {Layers: 12, Width: 768, Heads: 12, Length: 77, Vocab: 49408},
				ClipG:     {Layers: 32, Width: 1280, Heads: 20, Length: 77, Vocab: 49408, Projected: 1280},
			},
		},
	}
	for _, tt := range tests {
		t.Run(string(tt.want.Family), func(t *testing.T) {
			w := claim(tt.tensors)
			c, err := Detect(w, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Describe(); got != tt.describe {
				t.Errorf("got %q\nwant %q", got, tt.describe)
			}
			u, want := c.UNet, tt.want.UNet
			u.Input, u.Output = nil, nil
			if u.In != want.In || u.Channels != want.Channels || u.Context != want.Context || u.Vector != want.Vector ||
				u.Middle != want.Middle || u.Heads != want.Heads || u.HeadDim != want.HeadDim || c.Scale != tt.want.Scale || c.VPrediction {
				t.Errorf("got %+v", u)
			}
			unused := claim(tt.tensors)
			use(t, w, unused, func(s nn.Scope) { UNet(s.Sub(UNetPrefix), c.UNet, 2, 64, 64, 77) })
			use(t, w, unused, func(s nn.Scope) { Encode(s.Sub(VAEPrefix), c.VAE, 1, 512, 512) })
			use(t, w, unused, func(s nn.Scope) { Decode(s.Sub(VAEPrefix), c.VAE, 1, 64, 64) })
			for prefix, want := range tt.clips {
				got, err := clip.Detect(w, prefix, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got.Layers != want.Layers || got.Width != want.Width || got.Heads != want.Heads || got.Length != want.Length ||
					got.Vocab != want.Vocab || got.Projected != want.Projected {
					t.Errorf("%s is %+v", prefix, got)
				}
				use(t, w, unused, func(s nn.Scope) { clip.Text(s.Sub(prefix), got, 1, clip.Output{Layer: -1, Norm: true}) })
			}
			delete(unused, ClipG+"logit_scale") // of CLIP's training alone
			for name := range unused {
				t.Errorf("no network uses %s", name)
			}
		})
	}
}

// TestUNetAlone detects a UNet without the other parts.
func TestUNetAlone(t *testing.T) {
	for family, tensors := range map[Family][]synth.Tensor{SD1: synth.SD15(), SDXL: synth.SDXL()} {
		whole, err := Detect(claim(tensors), nil)
		if err != nil {
			t.Fatal(err)
		}
		alone := claim(tensors)
		for name := range alone {
			if !strings.HasPrefix(name, UNetPrefix) {
				delete(alone, name)
			}
		}
		c, err := DetectUNet(alone, map[string]string{MetadataPrediction: "v"})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(whole.UNet, c.UNet); d != "" || c.Family != family || c.Scale != whole.Scale || c.Factor != 8 || !c.VPrediction || c.Text != nil {
			t.Errorf("%s: got %+v\n%s", family, c, d)
		}
		if c, err := DetectUNet(alone, map[string]string{MetadataFactor: "4"}); err != nil || c.Factor != 4 {
			t.Errorf("got %+v, %v", c, err)
		}
		for _, text := range []string{"0", "x", "1000"} {
			if _, err := DetectUNet(alone, map[string]string{MetadataFactor: text}); err == nil || !strings.Contains(err.Error(), "weir.latent.factor is \""+text) {
				t.Errorf("got %v", err)
			}
		}
	}
	for _, tt := range []struct{ tensor, want string }{
		{UNetPrefix + "double_blocks.0.img_attn.qkv.weight", "Flux"},
		{UNetPrefix + "down_blocks.0.resnets.0.norm1.weight", "format of diffusers"},
		{"something", "no tensor model.diffusion_model.input_blocks.0.0.weight"},
	} {
		if _, err := DetectUNet(marks(tt.tensor), nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
	}
}

// TestConvertedSDXL has the text encoders where stable-diffusion.cpp puts them.
func TestConvertedSDXL(t *testing.T) {
	w := claim(synth.SDXL())
	for name, x := range w {
		if rest, ok := strings.CutPrefix(name, ClipLSDXL); ok {
			w[ClipLSD1+rest] = x
			delete(w, name)
		} else if strings.HasPrefix(name, ClipG) {
			delete(w, name)
		}
	}
	w[ClipGConverted+"text_model.final_layer_norm.weight"] = eval.Weight{Shape: ir.Shape{1280}}
	c, err := Detect(w, nil)
	if err != nil || c.Family != SDXL || c.Scale != 0.13025 || !slices.Equal(c.Text, []string{ClipLSD1, ClipGConverted}) {
		t.Errorf("got %+v, %v", c, err)
	}
}

// use builds a network and takes its weights from those that are unused.
func use(t *testing.T, w, unused eval.Weights, build func(nn.Scope)) {
	t.Helper()
	g := ir.New(t.Name())
	build(nn.NewScope(g, w))
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Values {
		if v.Kind == ir.Weight {
			delete(unused, v.Name)
		}
	}
}

// TestDetectRefuses has a checkpoint of each kind that is not supported: the
// error names it.
func TestDetectRefuses(t *testing.T) {
	sd15 := func(change func(eval.Weights)) eval.Weights {
		w := claim(synth.SD15())
		change(w)
		return w
	}
	reshape := func(name string, shape ...int) func(eval.Weights) {
		return func(w eval.Weights) { w[name] = eval.Weight{DType: dtype.F16, Shape: shape} }
	}
	without := func(prefix string) func(eval.Weights) {
		return func(w eval.Weights) {
			for name := range w {
				if strings.HasPrefix(name, prefix) {
					delete(w, name)
				}
			}
		}
	}
	const first = UNetPrefix + "input_blocks.0.0.weight"
	tests := []struct {
		name string
		w    eval.Weights
		want string
	}{
		{"SD 2", marks(first, "cond_stage_model.model.positional_embedding"), "Stable Diffusion 2.x"},
		{"SDXL refiner", marks(first, "conditioner.embedders.0.model.positional_embedding"), "refiner of SDXL"},
		{"diffusers UNet", marks("down_blocks.0.resnets.0.norm1.weight"), "format of diffusers"},
		{"Flux checkpoint", marks(UNetPrefix + "double_blocks.0.img_attn.qkv.weight"), "checkpoint of Flux"},
		{"Flux model", marks("double_blocks.0.img_attn.qkv.weight"), "diffusion model of Flux"},
		{"SD 3", marks(UNetPrefix + "joint_blocks.0.x_block.attn.qkv.weight"), "Stable Diffusion 3"},
		{"Wan", marks("blocks.0.self_attn.q.weight"), "Wan"},
		{"Wan with a prefix", marks(UNetPrefix + "blocks.0.self_attn.q.weight"), "Wan"},
		{"UNet alone", marks("input_blocks.0.0.weight"), "UNet without text encoder and autoencoder: put it in the folder diffusion_models"},
		{"VAE alone", marks("decoder.conv_in.weight"), "an autoencoder alone"},
		{"VAE alone with its prefix", sd15(func(w eval.Weights) { without(UNetPrefix)(w); without(ClipLSD1)(w) }), "an autoencoder alone"},
		{"nothing", eval.Weights{}, "not a checkpoint that is known"},
		{"no text encoder", sd15(without(ClipLSD1)), "without its text encoder"},
		{"no autoencoder", sd15(without(VAEPrefix)), "load one with VAELoader"},
		{"inpainting", sd15(reshape(first, 320, 9, 3, 3)), "inpainting"},
		{"no convolution", sd15(reshape(first, 320)), "not a convolution"},
		{"an output block missing", sd15(without(UNetPrefix + "output_blocks.7.")), "no residual block at model.diffusion_model.output_blocks.7."},
		{"no last convolution", sd15(without(UNetPrefix + "out.2.")), "no tensor model.diffusion_model.out.2.weight"},
		{"SDXL's UNet with SD 1's encoder", sd15(reshape(UNetPrefix+"label_emb.0.0.weight", 1280, 2816)), "do not belong together"},
		{"a vector of too few features", sd15(reshape(UNetPrefix+"label_emb.0.0.weight", 1280, 1000)), "vector of 1000 features"},
		{"latents that differ", sd15(reshape(VAEPrefix+"decoder.conv_in.weight", 512, 16, 3, 3)), "latents of 16 channels and the UNet reads 4"},
		{"a VAE of diffusers", sd15(func(w eval.Weights) {
			w[VAEPrefix+"decoder.up_blocks.0.resnets.0.norm1.weight"] = eval.Weight{Shape: ir.Shape{1}}
		}), "autoencoder in the format of diffusers"},
		{"no text attention", sd15(func(w eval.Weights) {
			for name := range w {
				if strings.Contains(name, ".transformer_blocks.") {
					delete(w, name)
				}
			}
		}), "no transformer that attends to text"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Detect(tt.w, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestMetadata checks what shapes cannot tell.
func TestMetadata(t *testing.T) {
	tests := []struct {
		key, value string
		want       string // of the error, or "" and
		holds      func(*Checkpoint) bool
	}{
		{MetadataHeads, "4", "", func(c *Checkpoint) bool { return c.UNet.Heads == 4 && c.UNet.HeadDim == 0 }},
		{MetadataHeads, "7", "320 features cannot have the heads", nil},
		{MetadataHeads, "0", `weir.unet.num_heads is "0"`, nil},
		{MetadataHeads, "x", `weir.unet.num_heads is "x"`, nil},
		{MetadataScale, "0.5", "", func(c *Checkpoint) bool { return c.Scale == 0.5 && c.Shift == 0 }},
		{MetadataScale, "-1", "expected a number above 0", nil},
		{MetadataScale, "NaN", "expected a number", nil},
		{MetadataScale, "x", `weir.latent.scale_factor is "x"`, nil},
		{MetadataShift, "0.25", "", func(c *Checkpoint) bool { return c.Scale == 0.18215 && c.Shift == 0.25 }},
		{MetadataShift, "Inf", "expected a number", nil},
		{MetadataPrediction, "v", "", func(c *Checkpoint) bool { return c.VPrediction }},
		{MetadataPrediction, "epsilon", "", func(c *Checkpoint) bool { return !c.VPrediction }},
		{MetadataPrediction, "velocity", `weir.prediction is "velocity"`, nil},
		{"modelspec.prediction_type", "v", "", func(c *Checkpoint) bool { return c.VPrediction }},
		{"modelspec.architecture", "anything", "", func(c *Checkpoint) bool { return c.Family == SD1 && !c.VPrediction && !c.ZeroSNR }},
	}
	w := claim(synth.SD15())
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			c, err := Detect(w, map[string]string{tt.key: tt.value})
			switch {
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want == "" && !tt.holds(c):
				t.Errorf("got %+v", c)
			}
		})
	}
	w["v_pred"], w["ztsnr"] = eval.Weight{}, eval.Weight{}
	c, err := Detect(w, nil)
	if err != nil || !c.VPrediction || !c.ZeroSNR {
		t.Errorf("with the tensors v_pred and ztsnr: %+v, %v", c, err)
	}
}
