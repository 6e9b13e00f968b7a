package families

import (
	"maps"
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
	"github.com/weir-run/weir/model/sd"
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
		family   string
		scale    float32
		want     sd.UNetConfig
		describe string
		clips    map[string]clip.Config
	}{
		{synth.SD15(), sd.SD1, 0.18215, sd.UNetConfig{In: 4, Out: 4, Channels: 320, Context: 768, Middle: 1, Heads: 8},
			"Stable Diffusion 1.x, epsilon prediction, UNet of 320 channels at 4 resolutions, text of 768 features, latents of 4 channels at 1/8",
			map[string]clip.Config{sd.ClipLSD1: {Layers: 12, Width: 768, Heads: 12, Length: 77, Vocab: 49408}},
		},
		{synth.SDXL(), sd.SDXL, 0.13025, sd.UNetConfig{In: 4, Out: 4, Channels: 320, Context: 2048, Vector: 2816, Middle: 10, HeadDim: 64},
			"Stable Diffusion XL, epsilon prediction, UNet of 320 channels at 3 resolutions, text of 2048 features, latents of 4 channels at 1/8",
			map[string]clip.Config{
				sd.ClipLSDXL: {Layers: 12, Width: 768, Heads: 12, Length: 77, Vocab: 49408},
				sd.ClipG:     {Layers: 32, Width: 1280, Heads: 20, Length: 77, Vocab: 49408, Projected: 1280},
			},
		},
		{synth.SDXLRefiner(), sd.Refiner, 0.13025, sd.UNetConfig{In: 4, Out: 4, Channels: 384, Context: 1280, Vector: 2560, Middle: 4, HeadDim: 64},
			"Stable Diffusion XL Refiner, epsilon prediction, UNet of 384 channels at 4 resolutions, text of 1280 features, latents of 4 channels at 1/8",
			map[string]clip.Config{sd.ClipGRefiner: {Layers: 32, Width: 1280, Heads: 20, Length: 77, Vocab: 49408, Projected: 1280}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.family, func(t *testing.T) {
			w := claim(tt.tensors)
			c, err := Detect(w, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Describe(); got != tt.describe {
				t.Errorf("got %q\nwant %q", got, tt.describe)
			}
			config := c.Denoiser.(*sd.Config)
			vae := c.Autoencoder.(sd.Autoencoder).VAEConfig
			u, want := config.UNet, tt.want
			u.Input, u.Output = nil, nil
			if u.In != want.In || u.Channels != want.Channels || u.Context != want.Context || u.Vector != want.Vector ||
				u.Middle != want.Middle || u.Heads != want.Heads || u.HeadDim != want.HeadDim || config.Scale != tt.scale || config.VPrediction || c.Denoiser.Family() != tt.family {
				t.Errorf("got %+v", u)
			}
			unused := claim(tt.tensors)
			use(t, w, unused, func(s nn.Scope) { sd.UNet(s.Sub(sd.UNetPrefix), config.UNet, 2, 64, 64, 77) })
			use(t, w, unused, func(s nn.Scope) { sd.Encode(s.Sub(sd.VAEPrefix), vae, 1, 512, 512) })
			use(t, w, unused, func(s nn.Scope) { sd.Decode(s.Sub(sd.VAEPrefix), vae, 1, 64, 64) })
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
			delete(unused, sd.ClipG+"logit_scale") // of CLIP's training alone
			delete(unused, sd.ClipGRefiner+"logit_scale")
			for name := range unused {
				t.Errorf("no network uses %s", name)
			}
		})
	}
}

// denoiserOf recognises a denoiser of Stable Diffusion.
func denoiserOf(src nn.Tensors, metadata map[string]string) (*sd.Config, error) {
	c, err := Denoiser(src, metadata)
	if err != nil {
		return nil, err
	}
	return c.(*sd.Config), nil
}

// TestUNetAlone detects a UNet without the other parts.
func TestUNetAlone(t *testing.T) {
	for family, tensors := range map[string][]synth.Tensor{sd.SD1: synth.SD15(), sd.SDXL: synth.SDXL()} {
		whole, err := denoiserOf(claim(tensors), nil)
		if err != nil {
			t.Fatal(err)
		}
		alone := claim(tensors)
		for name := range alone {
			if !strings.HasPrefix(name, sd.UNetPrefix) {
				delete(alone, name)
			}
		}
		c, err := denoiserOf(alone, map[string]string{sd.MetadataPrediction: "v"})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(whole.UNet, c.UNet); d != "" || c.Family() != family || c.Scale != whole.Scale || c.Factor != 8 || !c.VPrediction {
			t.Errorf("%s: got %+v\n%s", family, c, d)
		}
		if c, err := denoiserOf(alone, map[string]string{sd.MetadataFactor: "4"}); err != nil || c.Factor != 4 {
			t.Errorf("got %+v, %v", c, err)
		}
		for _, text := range []string{"0", "x", "1000"} {
			if _, err := denoiserOf(alone, map[string]string{sd.MetadataFactor: text}); err == nil || !strings.Contains(err.Error(), "weir.latent.factor is \""+text) {
				t.Errorf("got %v", err)
			}
		}
	}
	for _, tt := range []struct{ tensor, want string }{
		{sd.UNetPrefix + "joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"},
		{"something", "no tensor model.diffusion_model.input_blocks."},
	} {
		if _, err := Denoiser(marks(tt.tensor), nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
	}
}

// TestConvertedSDXL has the text encoders where stable-diffusion.cpp puts them.
func TestConvertedSDXL(t *testing.T) {
	w := claim(synth.SDXL())
	for name, x := range w {
		if rest, ok := strings.CutPrefix(name, sd.ClipLSDXL); ok {
			w[sd.ClipLSD1+rest] = x
			delete(w, name)
		} else if strings.HasPrefix(name, sd.ClipG) {
			delete(w, name)
		}
	}
	w[sd.ClipGConverted+"text_model.final_layer_norm.weight"] = eval.Weight{Shape: ir.Shape{1280}}
	c, err := Detect(w, nil)
	if err != nil || c.Text != &sd.TextSDXL || !slices.Equal(c.Prefixes, []string{sd.ClipLSD1, sd.ClipGConverted}) {
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
	const first = sd.UNetPrefix + "input_blocks.0.0.weight"
	tests := []struct {
		name string
		w    eval.Weights
		want string
	}{
		{"SD 2", marks(first, "cond_stage_model.model.positional_embedding"), "Stable Diffusion 2.x"},
		{"half of Flux", marks(sd.UNetPrefix + "double_blocks.0.img_attn.qkv.weight"), "not a denoiser that is known"},
		{"SD 3", marks(sd.UNetPrefix + "joint_blocks.0.x_block.attn.qkv.weight"), "Stable Diffusion 3"},
		{"diffusers' FLUX", marks("transformer_blocks.0.attn.to_q.weight", "single_transformer_blocks.0.attn.to_q.weight"), "as diffusers has it"},
		{"diffusers' Z-Image", marks("all_x_embedder.2-1.weight", "cap_embedder.0.weight"), "Z-Image as diffusers has it"},
		{"Wan", marks("blocks.0.self_attn.q.weight"), "Wan"},
		{"Wan with a prefix", marks(sd.UNetPrefix + "blocks.0.self_attn.q.weight"), "Wan"},
		{"VAE alone", marks("decoder.conv_in.weight"), "an autoencoder alone"},
		{"VAE alone with its prefix", sd15(func(w eval.Weights) { without(sd.UNetPrefix)(w); without(sd.ClipLSD1)(w) }), "an autoencoder alone"},
		{"nothing", eval.Weights{}, "not a checkpoint that is known"},
		{"ControlNet", marks("control_model.input_blocks.0.0.weight"), "a ControlNet"},
		{"Playground 2.5", marks("edm_mean", "edm_std"), "Playground 2.5"},
		{"inpainting", sd15(reshape(first, 320, 9, 3, 3)), "inpainting"},
		{"no convolution", sd15(reshape(first, 320)), "tensor model.diffusion_model.input_blocks.0.0.weight has the shape [320], expected [320 4 3 3]"},
		{"an output block missing", sd15(without(sd.UNetPrefix + "output_blocks.7.")), "none model.diffusion_model.output_blocks.7..."},
		{"no last convolution", sd15(without(sd.UNetPrefix + "out.2.")), "tensors are missing: model.diffusion_model.out.2.weight, model.diffusion_model.out.2.bias"},
		{"SDXL's UNet with SD 1's encoder", sd15(func(w eval.Weights) {
			without(sd.UNetPrefix)(w)
			maps.Copy(w, claim(synth.SDXL()))
			without("conditioner.")(w)
		}), "do not belong together"},
		{"a vector of too few features", sd15(reshape(sd.UNetPrefix+"label_emb.0.0.weight", 1280, 1000)), "vector of 1000 features"},
		{"latents that differ", sd15(func(w eval.Weights) {
			reshape(sd.VAEPrefix+"decoder.conv_in.weight", 512, 16, 3, 3)(w)
			reshape(sd.VAEPrefix+"post_quant_conv.weight", 16, 16, 1, 1)(w)
			reshape(sd.VAEPrefix+"post_quant_conv.bias", 16)(w)
			without(sd.VAEPrefix + "encoder.")(w)
			without(sd.VAEPrefix + "quant_conv.")(w)
		}), "latents of 16 channels (first_stage_model.decoder.conv_in.weight) and the denoiser reads 4"},
		{"no text attention", sd15(func(w eval.Weights) {
			for name := range w {
				if strings.Contains(name, ".transformer_blocks.") {
					delete(w, name)
				}
			}
		}), "the transformer at model.diffusion_model.input_blocks.1.1. has no blocks"},
		{"the UNet of SD 2", sd15(func(w eval.Weights) {
			without(sd.ClipLSD1)(w)
			for name, x := range w {
				if strings.Contains(name, ".attn2.to_k.") || strings.Contains(name, ".attn2.to_v.") {
					w[name] = eval.Weight{DType: x.DType, Shape: ir.Shape{x.Shape[0], 1024}}
				}
			}
		}), "a UNet of Stable Diffusion 2.x"},
		{"no transformers", sd15(func(w eval.Weights) {
			for name := range w {
				if strings.Contains(name, "_block") && strings.Contains(name, ".1.") && !strings.Contains(name, "emb_layers") {
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
		holds      func(*sd.Config) bool
	}{
		{sd.MetadataHeads, "4", "", func(c *sd.Config) bool { return c.UNet.Heads == 4 && c.UNet.HeadDim == 0 }},
		{sd.MetadataHeads, "7", "320 features cannot have the heads", nil},
		{sd.MetadataHeads, "0", `weir.unet.num_heads is "0"`, nil},
		{sd.MetadataHeads, "x", `weir.unet.num_heads is "x"`, nil},
		{sd.MetadataScale, "0.5", "", func(c *sd.Config) bool { return c.Scale == 0.5 && c.Shift == 0 }},
		{sd.MetadataScale, "-1", "expected a number above 0", nil},
		{sd.MetadataScale, "NaN", "expected a number", nil},
		{sd.MetadataScale, "x", `weir.latent.scale_factor is "x"`, nil},
		{sd.MetadataShift, "0.25", "", func(c *sd.Config) bool { return c.Scale == 0.18215 && c.Shift == 0.25 }},
		{sd.MetadataShift, "Inf", "expected a number", nil},
		{sd.MetadataPrediction, "v", "", func(c *sd.Config) bool { return c.VPrediction }},
		{sd.MetadataPrediction, "epsilon", "", func(c *sd.Config) bool { return !c.VPrediction }},
		{sd.MetadataPrediction, "velocity", "", func(c *sd.Config) bool { return c.VPrediction }},
		{sd.MetadataPrediction, "flow", "", func(c *sd.Config) bool {
			return !c.VPrediction && strings.Contains(c.Doubts()[0], `weir.prediction is "flow"`)
		}},
		{"modelspec.prediction_type", "v", "", func(c *sd.Config) bool { return c.VPrediction }},
		{"modelspec.architecture", "anything", "", func(c *sd.Config) bool { return c.Family() == sd.SD1 && !c.VPrediction && !c.ZeroSNR }},
	}
	w := claim(synth.SD15())
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			c, err := denoiserOf(w, map[string]string{tt.key: tt.value})
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
	// In Stable Diffusion 1.x the tensors decide nothing, as in ComfyUI.
	for _, tt := range []struct {
		tensors []synth.Tensor
		v       bool
	}{{synth.SD15(), false}, {synth.SDXL(), true}} {
		w := claim(tt.tensors)
		w["v_pred"], w["ztsnr"] = eval.Weight{}, eval.Weight{}
		c, err := denoiserOf(w, nil)
		if err != nil || c.VPrediction != tt.v || c.ZeroSNR != tt.v {
			t.Errorf("with the tensors v_pred and ztsnr: %+v, %v", c, err)
		}
	}
}

// TestPredictions has the spellings of files in the wild.
func TestPredictions(t *testing.T) {
	w, xl := claim(synth.SD15()), claim(synth.SDXL())
	xl["v_pred"] = eval.Weight{}
	for key, spellings := range map[string]map[string]bool{
		"modelspec.prediction_type": {"epsilon": false, "eps": false, "Epsilon": false, "noise": false, "epsilon_prediction": false, "v": true, "V": true, "v_prediction": true,
			"v-prediction": true, "vpred": true, "v_pred": true, "v pred": true, "velocity": true, "V-Prediction": true},
		"modelspec.predict_key": {"epsilon": false, "v": true},
	} {
		for text, v := range spellings {
			c, err := denoiserOf(w, map[string]string{key: text})
			if err != nil || c.VPrediction != v || len(c.Doubts()) > 0 {
				t.Errorf("%s %q is %+v, %v", key, text, c, err)
			}
			c, err = denoiserOf(xl, map[string]string{key: text})
			if err != nil || !c.VPrediction || (len(c.Doubts()) == 0) != v {
				t.Errorf("%s %q beside the tensor v_pred is %v, %v, %v", key, text, c.VPrediction, c.Doubts(), err)
			}
		}
	}
	for _, text := range []string{"", "flow", "x0", "\x1b[31m", strings.Repeat("v", 1e6)} {
		c, err := denoiserOf(w, map[string]string{"modelspec.prediction_type": text})
		if err != nil || c.VPrediction || len(c.Doubts()) != 1 || len(c.Doubts()[0]) > 1000 || strings.Contains(c.Doubts()[0], "\x1b") {
			t.Errorf("%.20q is %.200q, %v", text, c.Doubts(), err)
		}
	}
}

// TestPartial has checkpoints without a part, which the workflow may load
// itself.
func TestPartial(t *testing.T) {
	for family, tensors := range map[string][]synth.Tensor{sd.SD1: synth.SD15(), sd.SDXL: synth.SDXL()} {
		for _, prefixes := range [][]string{{sd.VAEPrefix}, {"cond_stage_model.", "conditioner."}, {sd.UNetPrefix}, {sd.UNetPrefix, sd.VAEPrefix}} {
			w := claim(tensors)
			for name := range w {
				if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
					delete(w, name)
				}
			}
			lacks := func(p string) bool { return slices.Contains(prefixes, p) }
			c, err := Detect(w, nil)
			if err != nil || c.family() != family || (c.Denoiser != nil) == lacks(sd.UNetPrefix) || (c.Autoencoder != nil) == lacks(sd.VAEPrefix) || (c.Text != nil) == lacks("conditioner.") || c.Denoiser != nil && c.Denoiser.Latent().Stride.Height != 8 {
				t.Errorf("%s without %v: %+v, %v", family, prefixes, c, err)
			}
		}
	}
}
