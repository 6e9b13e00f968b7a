package lora

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/sd"
)

// good is a layer that fits, so that what is wrong with others can be left out.
func good(f file) {
	f.set("lora_unet_conv_out.lora_down.weight", 2, 32, 3, 3)
	f.set("lora_unet_conv_out.lora_up.weight", 4, 2, 1, 1)
}

// TestSkipped has a layer that cannot be applied beside a good one: it is left
// out, its tensors are told with the reason, and the good one is taken.
func TestSkipped(t *testing.T) {
	_, base := tiny(t, sd.SD1)
	_, xl := tiny(t, sd.SDXL)
	xl.Denoiser = base.Denoiser
	const norm = "lora_unet_down_blocks_0_resnets_0_norm1"
	const projection = "lora_te2_text_projection"
	up := func(f file) { f.set(linear+".lora_up.weight", 32, 2) }
	down := func(f file) { f.set(linear+".lora_down.weight", 2, 128) }
	glora := func(f file) {
		f.set(linear+".a1.weight", 128, 2)
		f.set(linear+".a2.weight", 2, 128)
		f.set(linear+".b1.weight", 32, 2)
		f.set(linear+".b2.weight", 2, 128)
	}
	tests := []struct {
		name    string
		fill    func(file)
		tensors int
		want    string
	}{
		{"up alone", up, 1, "but not lora_down (lora_A) of the layer"},
		{"down alone", down, 1, "but not lora_up (lora_B) of the layer"},
		{"a middle alone", func(f file) { f.set(conv+".lora_mid.weight", 2, 2, 3, 3) }, 1, "but not lora_down"},
		{"rank 0", func(f file) { f.set(linear+".lora_up.weight", 32, 0); f.set(linear+".lora_down.weight", 0, 128) }, 2, "has shape [0 128]"},
		{"a middle of another kernel", func(f file) {
			f.set(conv+".lora_down.weight", 2, 4, 1, 1)
			f.set(conv+".lora_up.weight", 32, 2, 1, 1)
			f.set(conv+".lora_mid.weight", 2, 2, 5, 5)
		}, 3, "lora_mid.weight of the LoRA has shape [2 2 5 5]"},
		{"another width", func(f file) { up(f); f.set(linear+".lora_down.weight", 2, 64) }, 2, "has shape [2 64]"},
		{"ranks that differ", func(f file) { up(f); f.set(linear+".lora_down.weight", 3, 128) }, 2, "has shape"},
		{"alpha alone", func(f file) { f.number(linear+".alpha", 1) }, 1, "nothing that it belongs to"},
		{"lengths alone", func(f file) { f.set(linear+".dora_scale", 32, 1) }, 1, "nothing that it belongs to"},
		{"lengths that do not fit", func(f file) { up(f); down(f); f.set(linear+".dora_scale", 31, 1) }, 2, "dora_scale of the LoRA has shape [31 1]"},
		{"a norm of another width", func(f file) { f.set(norm+".w_norm", 31) }, 1, "needs [32]"},
		{"a bias of another width", func(f file) { f.set(norm+".diff_b", 31) }, 1, "needs [32]"},
		{"a bias of a norm without the norm", func(f file) { f.set(norm+".b_norm", 32) }, 1, "but not w_norm"},
		{"a bias where there is none", func(f file) { f.set("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.diff_b", 32) }, 1, "has no bias"},
		{"a weight set of another shape", func(f file) { f.set(conv+".set_weight", 1) }, 1, "set_weight of the LoRA has shape [1]"},
		{"GLoRA with a matrix less", func(f file) { glora(f); delete(f, linear+".b2.weight") }, 3, "but not b2 of the layer"},
		{"GLoRA without a rank in common", func(f file) { glora(f); f.set(linear+".a2.weight", 3, 128) }, 4, "have no rank in common"},
		{"GLoRA of another width", func(f file) { glora(f); f.set(linear+".b2.weight", 2, 64) }, 4, "needs 128×128 and 32×128"},
		{"GLoRA of one dimension", func(f file) { glora(f); f.set(linear+".a1.weight", 256) }, 4, "needs a matrix"},
		{"GLoRA of rank 0", func(f file) { glora(f); f.set(linear+".a1.weight", 128, 0); f.set(linear+".a2.weight", 0, 128) }, 4, "needs a matrix"},
		{"OFT of other blocks", func(f file) { f.set(linear+".oft_blocks", 3, 8, 8) }, 1, "oft_blocks of the LoRA has shape [3 8 8]"},
		{"OFT of blocks that are not square", func(f file) { f.set(linear+".oft_blocks", 4, 8, 4) }, 1, "has shape [4 8 4]"},
		{"OFT of nothing", func(f file) { f.set(linear+".oft_blocks", 0, 8, 8) }, 1, "has shape [0 8 8]"},
		{"OFT of two dimensions", func(f file) { f.set(linear+".oft_blocks", 32, 32) }, 1, "has shape [32 32]"},
		{"BOFT without a constraint", func(f file) { f.set(linear+".oft_blocks", 2, 4, 8, 8) }, 1, "has no alpha"},
		{"BOFT of odd blocks", func(f file) {
			f.set("lora_unet_conv_in.oft_blocks", 1, 32, 1, 1)
			f.number("lora_unet_conv_in.alpha", 0)
		}, 1, "needs an even b"},
		{"BOFT of too many levels", func(f file) { f.set(linear+".oft_blocks", 40, 4, 8, 8); f.number(linear+".alpha", 0) }, 1, "needs an even b"},
		{"BOFT with lengths that do not fit", func(f file) {
			f.set(linear+".oft_blocks", 1, 4, 8, 8)
			f.set(linear+".rescale", 31, 1)
			f.number(linear+".alpha", 0)
		}, 1, "rescale of the LoRA has shape [31 1]"},
		{"two kinds", func(f file) { up(f); down(f); f.set(linear+".diff", 32, 128) }, 2, "applied in the place of"},
		{"two names", func(f file) {
			up(f)
			down(f)
			f.set(strings.Replace(linear, "lora_unet_", "lycoris_", 1)+".diff", 32, 128)
		}, 2, "applied in the place of"},
		{"a DoRA on a weight stored the other way round", func(f file) {
			f.set(projection+".lora_down.weight", 2, 64)
			f.set(projection+".lora_up.weight", 64, 2)
			f.set(projection+".dora_scale", 64, 1)
		}, 2, "stored with its inputs as rows"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := file{}
			good(f)
			tt.fill(f)
			on := base
			if strings.Contains(fmt.Sprint(f.Names()), projection) {
				on = xl
			}
			m, err := Map(f, on)
			if err != nil {
				t.Fatal(err)
			}
			tensors := 0
			for _, s := range m.Skipped {
				tensors += len(s.Tensors)
			}
			if len(m.Skipped) != 1 || tensors != tt.tensors || !strings.Contains(m.Skipped[0].Why.Error(), tt.want) {
				t.Errorf("skipped: %v, want %d tensors and a reason with %q", m.Skipped, tt.tensors, tt.want)
			}
			if len(m.Adapters[sd.UNetPrefix+"out.2.weight"]) != 1 || len(m.Unmatched) > 0 {
				t.Errorf("taken: %v, unmatched: %v", m.Adapters, m.Unmatched)
			}
			// The same layer without a good one is an error with the same reason.
			for name := range f {
				if strings.HasPrefix(name, "lora_unet_conv_out.") {
					delete(f, name)
				}
			}
			if m, err := Map(f, on); err == nil && len(m.Adapters)+len(m.Changes) == 0 || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("alone: %v, %v, want an error with %q", m, err, tt.want)
			}
		})
	}
}

// TestOtherFamily has files for another model: they are refused, by what they
// look like, even when some of their layers would fit.
func TestOtherFamily(t *testing.T) {
	_, sd1 := tiny(t, sd.SD1) // reads text of 32 features
	const attention = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_"
	pair := func(f file, name string, n, k int) {
		f.set(name+".lora_down.weight", 2, k)
		f.set(name+".lora_up.weight", n, 2)
	}
	tests := []struct {
		name string
		fill func(file)
		want string
	}{
		{"SDXL", func(f file) { good(f); pair(f, attention+"attn2_to_k", 32, 2048) }, "a LoRA for SDXL (text of 2048 features)"},
		{"1.x", func(f file) { good(f); pair(f, attention+"attn2_to_v", 32, 768) }, "a LoRA for Stable Diffusion 1.x"},
		{"a LoHa of 2.x", func(f file) { good(f); f.set(attention+"attn2_to_v.hada_w1_b", 2, 1024) }, "a LoRA for Stable Diffusion 2.x"},
		{"a LoKr of SDXL", func(f file) {
			good(f)
			f.set(attention+"attn2_to_v.lokr_w1", 4, 32)
			f.set(attention+"attn2_to_v.lokr_w2_a", 8, 2)
			f.set(attention+"attn2_to_v.lokr_w2_b", 2, 64)
		}, "a LoRA for SDXL"},
		{"a GLoRA of 1.x", func(f file) {
			good(f)
			f.set(attention+"attn2_to_k.a1.weight", 768, 4)
			f.set(attention+"attn2_to_k.a2.weight", 4, 768)
		}, "a LoRA for Stable Diffusion 1.x"},
		{"a UNet of another width", func(f file) { good(f); pair(f, attention+"attn2_to_k", 32, 48) }, "a UNet that reads text of 48 features"},
		{"layers that are not here", func(f file) { pair(f, "lora_unet_input_blocks_20_1_transformer_blocks_9_attn2_to_k", 640, 2048) }, "this looks like a LoRA for SDXL, and no tensor of it belongs"},
		{"Flux", func(f file) { pair(f, "transformer.single_transformer_blocks.3.attn.to_q", 32, 32) }, "looks like a LoRA for Flux"},
		{"Flux by kohya", func(f file) { pair(f, "lora_unet_double_blocks_3_img_attn_qkv", 32, 32) }, "looks like a LoRA for Flux or HunyuanVideo"},
		{"Stable Diffusion 3", func(f file) { pair(f, "diffusion_model.joint_blocks.3.x_block.attn.qkv", 32, 32) }, "looks like a LoRA for Stable Diffusion 3"},
		{"Wan", func(f file) { pair(f, "diffusion_model.blocks.3.cross_attn.k", 32, 32) }, "this looks like a LoRA for Wan"},
		{"a checkpoint", func(f file) { f.set("model.diffusion_model.input_blocks.0.0.weight", 32, 4, 3, 3) }, "which are not those of a LoRA"},
		{"another rotation", func(f file) { f.set(linear+".oft_diag", 4, 8, 8) }, "which are those of LyCORIS's first OFT, and neither Weir nor ComfyUI knows them"},
		{"IA3", func(f file) { f.set("base_model.model.unet.down_blocks.0.ff.net.2.ia3_l.default", 1, 8) }, "PEFT's IA3"},
		{"a Control-LoRA", func(f file) { f.set("lora_controlnet", 1); f.set("input_blocks.0.0.weight", 32, 4, 3, 3) }, "a Control-LoRA"},
	}
	for _, tt := range tests {
		f := file{}
		tt.fill(f)
		if m, err := Map(f, sd1); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", tt.name, m, err, tt.want)
		}
	}
	// One layer that reads other text is left out, beside one that fits.
	f := file{}
	pair(f, attention+"attn2_to_k", 32, 768)
	pair(f, attention+"attn2_to_v", 32, 32)
	if m, err := Map(f, sd1); err != nil || len(m.Skipped) != 1 || len(m.Adapters) != 1 {
		t.Errorf("one layer of two: %+v, %v", m, err)
	}
}

// TestForTheOther has files that are for the text encoder alone or the UNet
// alone, on either and on both.
func TestForTheOther(t *testing.T) {
	_, both := tiny(t, sd.SD1)
	unet, text := both, both
	unet.Encoders, text.Denoiser = nil, nil
	forUNet, forText, strange := file{}, file{}, file{}
	good(forUNet)
	for i, name := range []string{"lora_te_text_model_encoder_layers_0_mlp_fc1", "base_model.model.text_model.encoder.layers.1.mlp.fc1", "text_encoder.text_model.encoder.layers.2.mlp.fc1"} {
		suffix := [][2]string{{".lora_down.weight", ".lora_up.weight"}, {".lora_A.default.weight", ".lora_B.default.weight"}, {".lora_A.weight", ".lora_B.weight"}}[min(i, 0)]
		forText.set(name+suffix[0], 2, 64)
		forText.set(name+suffix[1], 256, 2)
	}
	strange.set("strange.lora_down.weight", 2, 2)
	for _, tt := range []struct {
		name    string
		f       file
		on      Base
		taken   int
		refused bool
	}{
		{"UNet's on both", forUNet, both, 1, false},
		{"UNet's on the UNet", forUNet, unet, 1, false},
		{"UNet's on the text encoder", forUNet, text, 0, false},
		{"text's on both", forText, both, 3, false},
		{"text's on the UNet", forText, unet, 0, false},
		{"text's on the text encoder", forText, text, 3, false},
		{"nobody's on both", strange, both, 0, true},
		{"nobody's on the UNet", strange, unet, 0, true},
		{"nobody's on the text encoder", strange, text, 0, false},
	} {
		m, err := Map(tt.f, tt.on)
		if (err != nil) != tt.refused || err == nil && len(m.Adapters) != tt.taken {
			t.Errorf("%s: %+v, %v", tt.name, m, err)
		}
		if err == nil && tt.taken == 0 && len(m.Unmatched) != len(tt.f) {
			t.Errorf("%s: unmatched are %v", tt.name, m.Unmatched)
		}
	}
	// Text encoders from files of their own have weights of their own.
	apart := both
	apart.Weights = eval.Weights{}
	for name, w := range both.Weights.(eval.Weights) {
		if strings.HasPrefix(name, sd.UNetPrefix) {
			apart.Weights.(eval.Weights)[name] = w
		}
	}
	apart.Encoders = slices.Clone(both.Encoders)
	apart.Encoders[0].Weights = both.Weights
	all := file{}
	for _, f := range []file{forUNet, forText} {
		for name, w := range f {
			all[name] = w
		}
	}
	if m, err := Map(all, apart); err != nil || len(m.Adapters) != 4 || len(m.Unmatched) > 0 {
		t.Errorf("apart: %+v, %v", m, err)
	}
}

// TestQuantizedBase maps every form on quantized weights: a plain LoRA is a side
// path, the others are merged.
func TestQuantizedBase(t *testing.T) {
	w, base := tiny(t, sd.SD1)
	for _, name := range []string{linearWeight, convWeight} {
		x := w[name]
		x.DType = dtype.Q4_K
		w[name] = x
	}
	f := file{}
	f.set(linear+".lora_down.weight", 4, 128)
	f.set(linear+".lora_up.weight", 32, 4)
	f.set(conv+".diff", 32, 4, 3, 3)
	m, err := Map(f, base)
	if err != nil || len(m.Adapters[linearWeight]) != 1 || len(m.Changes[convWeight]) != 1 {
		t.Errorf("got %+v, %v", m, err)
	}
}

// TestManyTensors maps a file of 100,000 tensors that belong to nothing, beside
// two that do, in a time that is no multiple of the squares of their number.
func TestManyTensors(t *testing.T) {
	_, base := tiny(t, sd.SD1)
	f := file{}
	good(f)
	tensor := eval.Weight{DType: dtype.F32, Shape: ir.Shape{2, 2}}
	for i := range 100_000 {
		f[fmt.Sprintf("lora_unet_nowhere_%d.lora_up.weight", i)] = tensor
	}
	f[strings.Repeat("module.", 1<<20)+"lora_unet_conv_in.lora_up.weight"] = tensor
	start := time.Now()
	m, err := Map(f, base)
	if err != nil || len(m.Adapters) != 1 || len(m.Unmatched) != 100_000 || len(m.Skipped) != 1 || len(m.Skipped[0].Why.Error()) > 1000 {
		t.Errorf("%d adapters, %d unmatched, %v", len(m.Adapters), len(m.Unmatched), err)
	}
	t.Logf("%v", time.Since(start))
	f = file{}
	for i := range 100_000 {
		f[fmt.Sprintf("lora_unet_nowhere_%d.lora_up.weight", i)] = tensor
	}
	if _, err := Map(f, base); err == nil || len(err.Error()) > 1500 {
		t.Errorf("got %v", err)
	}
}
