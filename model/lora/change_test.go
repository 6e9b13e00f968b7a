package lora

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/sd"
)

const (
	linear = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_2" // [32, 128]
	conv   = "lora_unet_conv_in"                                                  // [32, 4, 3, 3]

	linearWeight = sd.UNetPrefix + "input_blocks.1.1.transformer_blocks.0.ff.net.2.weight"
	convWeight   = sd.UNetPrefix + "input_blocks.0.0.weight"
)

// number puts a tensor of one number into the file.
func (f file) number(name string, v float32) {
	f[name] = eval.Weight{DType: dtype.F32, Shape: ir.Shape{}, Bytes: append([]byte{}, dtype.BytesOf([]float32{v})...)}
}

// TestChanges maps the tensors of each form.
func TestChanges(t *testing.T) {
	_, base := tiny(t, sd.SD1)
	_, xl := tiny(t, sd.SDXL)
	tests := []struct {
		name   string
		base   Base
		fill   func(file)
		weight string
		want   []Change
	}{
		{"DoRA", base, func(f file) {
			f.set(linear+".lora_down.weight", 4, 128)
			f.set(linear+".lora_up.weight", 32, 4)
			f.set(linear+".dora_scale", 32, 1)
			f.number(linear+".alpha", 2)
		}, linearWeight, []Change{{First: Factor{A: linear + ".lora_up.weight", B: linear + ".lora_down.weight"}, Scale: 0.5, Magnitude: linear + ".dora_scale", Before: true}}},
		{"DoRA of columns", base, func(f file) {
			f.set(conv+".lora_down.weight", 2, 4, 3, 3)
			f.set(conv+".lora_up.weight", 32, 2, 1, 1)
			f.set(conv+".dora_scale", 1, 4, 1, 1)
		}, convWeight, []Change{{First: Factor{A: conv + ".lora_up.weight", B: conv + ".lora_down.weight"}, Scale: 1, Magnitude: conv + ".dora_scale", Columns: true}}},
		{"DoRA of diffusers", base, func(f file) {
			f.set("unet.conv_in.lora_A.weight", 2, 4, 3, 3)
			f.set("unet.conv_in.lora_B.weight", 32, 2, 1, 1)
			f.set("unet.conv_in.lora_magnitude_vector.weight", 1, 32, 1, 1)
		}, convWeight, []Change{{First: Factor{A: "unet.conv_in.lora_B.weight", B: "unet.conv_in.lora_A.weight"}, Scale: 1, Magnitude: "unet.conv_in.lora_magnitude_vector.weight"}}},
		{"DoRA of some rows", xl, func(f file) {
			f.set("lora_te2_text_model_encoder_layers_1_self_attn_v_proj.lora_down.weight", 2, 64)
			f.set("lora_te2_text_model_encoder_layers_1_self_attn_v_proj.lora_up.weight", 64, 2)
			f.set("lora_te2_text_model_encoder_layers_1_self_attn_v_proj.dora_scale", 64, 1)
		}, sd.ClipG + "transformer.resblocks.1.attn.in_proj_weight", []Change{{From: 128, Rows: 64, Scale: 1,
			First:     Factor{A: "lora_te2_text_model_encoder_layers_1_self_attn_v_proj.lora_up.weight", B: "lora_te2_text_model_encoder_layers_1_self_attn_v_proj.lora_down.weight"},
			Magnitude: "lora_te2_text_model_encoder_layers_1_self_attn_v_proj.dora_scale", Before: true}}},
		{"LoKr, alpha over the rank of its second factor", base, func(f file) {
			f.set(linear+".lokr_w1_a", 4, 1)
			f.set(linear+".lokr_w1_b", 1, 8)
			f.set(linear+".lokr_w2_a", 8, 5)
			f.set(linear+".lokr_w2_b", 5, 16)
			f.number(linear+".alpha", 10)
		}, linearWeight, []Change{{Product: Kronecker, First: Factor{A: linear + ".lokr_w1_a", B: linear + ".lokr_w1_b"}, Second: Factor{A: linear + ".lokr_w2_a", B: linear + ".lokr_w2_b"}, Scale: 2}}},
		{"LoKr of whole factors, whatever alpha", base, func(f file) {
			f.set(linear+".lokr_w1", 4, 8)
			f.set(linear+".lokr_w2", 8, 16)
			f.number(linear+".alpha", 10)
		}, linearWeight, []Change{{Product: Kronecker, First: Factor{Whole: linear + ".lokr_w1"}, Second: Factor{Whole: linear + ".lokr_w2"}, Scale: 1}}},
		{"LoHa in three", base, func(f file) {
			f.set(conv+".hada_w1_a", 3, 32)
			f.set(conv+".hada_w1_b", 3, 4)
			f.set(conv+".hada_t1", 3, 3, 3, 3)
			f.set(conv+".hada_w2_a", 32, 6)
			f.set(conv+".hada_w2_b", 6, 36)
			f.number(conv+".alpha", 6)
		}, convWeight, []Change{{Product: Hadamard, First: Factor{A: conv + ".hada_w1_a", B: conv + ".hada_w1_b", Core: conv + ".hada_t1", Transposed: true},
			Second: Factor{A: conv + ".hada_w2_a", B: conv + ".hada_w2_b"}, Scale: 2}}},
		{"LoHa of PEFT with the adapter's name", base, func(f file) {
			const at = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2."
			for _, i := range []string{"1", "2"} {
				f.set(at+"hada_w"+i+"_a.default", 32, 3)
				f.set(at+"hada_w"+i+"_b.default", 3, 128)
			}
		}, linearWeight, []Change{{Product: Hadamard, Scale: 1,
			First:  Factor{A: "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.hada_w1_a.default", B: "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.hada_w1_b.default"},
			Second: Factor{A: "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.hada_w2_a.default", B: "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.hada_w2_b.default"}}}},
		{"LoKr of PEFT with a name of the user's", base, func(f file) {
			f.set("unet.conv_in.lokr_w1.my_style", 4, 2)
			f.set("unet.conv_in.lokr_w2.my_style", 8, 2, 3, 3)
		}, convWeight, []Change{{Product: Kronecker, First: Factor{Whole: "unet.conv_in.lokr_w1.my_style"}, Second: Factor{Whole: "unet.conv_in.lokr_w2.my_style"}, Scale: 1}}},
		{"DoRA of PEFT with a name of the user's", base, func(f file) {
			f.set("unet.conv_in.lora_A.my_style.weight", 2, 4, 3, 3)
			f.set("unet.conv_in.lora_B.my_style.weight", 32, 2, 1, 1)
			f.set("unet.conv_in.lora_magnitude_vector.my_style.weight", 1, 32, 1, 1)
		}, convWeight, []Change{{First: Factor{A: "unet.conv_in.lora_B.my_style.weight", B: "unet.conv_in.lora_A.my_style.weight"}, Scale: 1, Magnitude: "unet.conv_in.lora_magnitude_vector.my_style.weight"}}},
		{"projection that is stored the other way round", xl, func(f file) {
			f.set("lora_te2_text_projection.lora_down.weight", 2, 64)
			f.set("lora_te2_text_projection.lora_up.weight", 64, 2)
		}, sd.ClipG + "text_projection", []Change{{Transposed: true, First: Factor{A: "lora_te2_text_projection.lora_up.weight", B: "lora_te2_text_projection.lora_down.weight"}, Scale: 1}}},
		{"norm of a text encoder", xl, func(f file) {
			f.set("lora_te2_text_model_encoder_layers_1_layer_norm2.w_norm", 64)
		}, sd.ClipG + "transformer.resblocks.1.ln_2.weight", []Change{{First: Factor{Whole: "lora_te2_text_model_encoder_layers_1_layer_norm2.w_norm"}, Scale: 1}}},
		{"difference of a bias", xl, func(f file) {
			f.set("lora_te2_text_model_encoder_layers_1_self_attn_k_proj.diff_b", 64)
		}, sd.ClipG + "transformer.resblocks.1.attn.in_proj_bias", []Change{{From: 64, Rows: 64, First: Factor{Whole: "lora_te2_text_model_encoder_layers_1_self_attn_k_proj.diff_b"}, Scale: 1}}},
	}
	for _, tt := range tests {
		f := file{}
		tt.fill(f)
		m, err := Map(f, tt.base)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if d := cmp.Diff(map[string][]Change{tt.weight: tt.want}, m.Changes); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
		if len(m.Unmatched) > 0 {
			t.Errorf("%s: unmatched: %v", tt.name, m.Unmatched)
		}
	}
}

func TestChangeErrors(t *testing.T) {
	w, base := tiny(t, sd.SD1)
	whole := func(f file) {
		f.set(linear+".lokr_w1", 4, 8)
		f.set(linear+".lokr_w2", 8, 16)
	}
	hada := func(f file) {
		for _, i := range []string{"1", "2"} {
			f.set(linear+".hada_w"+i+"_a", 32, 2)
			f.set(linear+".hada_w"+i+"_b", 2, 128)
		}
	}
	dora := func(f file) {
		f.set(linear+".lora_down.weight", 2, 128)
		f.set(linear+".lora_up.weight", 32, 2)
	}
	tests := []struct {
		name string
		fill func(file)
		want string
	}{
		{"lengths alone", func(f file) { f.set(linear+".dora_scale", 32, 1) }, linear + ".dora_scale and nothing that it belongs to"},
		{"lengths of neither rows nor columns", func(f file) { dora(f); f.set(linear+".dora_scale", 64, 1) }, "dora_scale of the LoRA has shape [64 1], and the weight " + linearWeight + " [32 128] needs [32 1] or [1 128]"},
		{"a length without a dimension", func(f file) { dora(f); f.set(linear + ".dora_scale") }, "has shape []"},
		{"columns in PEFT", func(f file) { dora(f); f.set(linear+".lora_magnitude_vector", 128) }, "has shape [128]"},
		{"DoRA that does not fit", func(f file) { dora(f); f.set(linear+".lora_up.weight", 64, 2); f.set(linear+".dora_scale", 32, 1) }, "lora_up.weight of the LoRA has shape [64 2]"},
		{"LoHa with a factor less", func(f file) { hada(f); delete(f, linear+".hada_w2_b") }, "but not hada_w2_b of the layer"},
		{"LoHa that does not fit", func(f file) { hada(f); f.set(linear+".hada_w2_b", 2, 64) }, "hada_w2_a and " + linear + ".hada_w2_b of the LoRA have a product of 32×64 elements, and the weight " + linearWeight + " [32 128] needs 32×128"},
		{"LoHa with ranks that differ", func(f file) { hada(f); f.set(linear+".hada_w1_a", 32, 3) }, "ranks of 3 and 2"},
		{"LoHa with a core and no kernel", func(f file) { hada(f); f.set(linear+".hada_w1_a", 2, 32); f.set(linear+".hada_t1", 2, 2, 3, 3) }, "hada_t1 of the LoRA has shape [2 2 3 3]"},
		{"LoHa with the core of another kernel", func(f file) {
			f.set(conv+".hada_w1_a", 3, 32)
			f.set(conv+".hada_w1_b", 3, 4)
			f.set(conv+".hada_t1", 3, 3, 5, 5)
		}, "needs [3 3 3 3]"},
		{"LoHa of no rank", func(f file) { hada(f); f.set(linear+".hada_w1_a", 32, 0); f.set(linear+".hada_w1_b", 0, 128) }, "needs a matrix"},
		{"LoKr with a factor less", func(f file) { whole(f); delete(f, linear+".lokr_w2") }, "but not lokr_w2_a of the layer"},
		{"LoKr with half a product", func(f file) { whole(f); delete(f, linear+".lokr_w1"); f.set(linear+".lokr_w1_a", 4, 1) }, "but not lokr_w1_b of the layer"},
		{"LoKr with a factor twice", func(f file) { whole(f); f.set(linear+".lokr_w1_a", 4, 1) }, "has both " + linear + ".lokr_w1 and " + linear + ".lokr_w1_a of one factor"},
		{"LoKr that does not fit", func(f file) { whole(f); f.set(linear+".lokr_w1", 4, 4) }, "matrices of 4×4 and 8×16, and the weight " + linearWeight + " [32 128] needs a Kronecker product of 32×128"},
		{"LoKr of another kernel", func(f file) { f.set(conv+".lokr_w1", 4, 2); f.set(conv+".lokr_w2", 8, 2, 1, 9) }, "has shape [8 2 1 9]"},
		{"LoKr that cuts kernels", func(f file) { f.set(conv+".lokr_w1", 4, 6); f.set(conv+".lokr_w2", 8, 6) }, "needs a Kronecker product of 32×36"},
		{"LoKr of one dimension", func(f file) { whole(f); f.set(linear+".lokr_w2", 128) }, "needs a matrix"},
		{"difference that does not fit", func(f file) { f.set(conv+".diff", 32, 4) }, "diff of the LoRA has shape [32 4], and the weight " + convWeight + " [32 4 3 3] needs [32 4 3 3]"},
		{"bias that does not fit", func(f file) { f.set(conv+".diff_b", 4) }, "diff_b of the LoRA has shape [4], and the weight " + sd.UNetPrefix + "input_blocks.0.0.bias [32]"},
		{"integers", func(f file) { whole(f); f[linear+".lokr_w2"] = eval.Weight{DType: dtype.I8, Shape: ir.Shape{8, 16}} }, "dtype I8"},
		{"quantized", func(f file) { whole(f); f[linear+".lokr_w2"] = eval.Weight{DType: dtype.Q8_0, Shape: ir.Shape{8, 16}} }, "dtype Q8_0"},
		{"alpha that is no number", func(f file) {
			hada(f)
			f[linear+".alpha"] = eval.Weight{DType: dtype.F32, Shape: ir.Shape{}, Bytes: []byte{0, 0, 0xc0, 0x7f}}
		}, "alpha of the LoRA is NaN"},
		{"a base of integers", func(f file) {
			f.set("lora_unet_conv_out.diff", 4, 32, 3, 3)
			x := w[sd.UNetPrefix+"out.2.weight"]
			x.DType = dtype.I8
			w[sd.UNetPrefix+"out.2.weight"] = x
		}, "out.2.weight has dtype I8, into which nothing but a plain LoRA can be merged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := file{}
			tt.fill(f)
			if m, err := Map(f, base); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want an error with %q", m, err, tt.want)
			}
		})
	}
}
