package clip_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
)

// see compares every output of an encoder with the golden's.
func see(t *testing.T, f golden.File, w eval.Weights) clip.VisionConfig {
	t.Helper()
	c, err := clip.DetectVision(w, "")
	if err != nil {
		t.Fatal(err)
	}
	out := eval.Build(t, w, w, map[string]any{"pixels": f.F32("pixels")}, func(s nn.Scope) { clip.Vision(s, c, 2) })
	for _, name := range []string{"last", "penultimate", "embeds"} {
		golden.Check(t, name, out[name], f.F32(name), 1e-4)
	}
	return c
}

// TestVision compares both kinds of encoders with ComfyUI's class.
func TestVision(t *testing.T) {
	for file, want := range map[string]string{"clip_vision": "CLIP", "siglip": "SigLIP"} {
		f := golden.Open(t, file)
		c := see(t, f, eval.Read(t, f.File))
		if got := c.Describe(); got != want+" of pictures with 3 layers of 64 features, reads 42×42 pixels" {
			t.Errorf("got %q", got)
		}
		if c.Tokens() != f.Shape("last")[1] || c.Projected != 24 && file == "clip_vision" || c.Inner != 80 {
			t.Errorf("%s is %+v", file, c)
		}
	}
}

// TestVisionOpenCLIP gives the weights the names of open_clip, with query, key
// and value in one.
func TestVisionOpenCLIP(t *testing.T) {
	f := golden.Open(t, "clip_vision")
	w, read := eval.Weights{}, eval.Read(t, f.File)
	names := strings.NewReplacer("vision_model.embeddings.class_embedding", "visual.class_embedding", "vision_model.embeddings.patch_embedding", "visual.conv1",
		"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding", "vision_model.pre_layrnorm", "visual.ln_pre", "vision_model.post_layernorm", "visual.ln_post",
		"vision_model.encoder.layers", "visual.transformer.resblocks", "layer_norm1", "ln_1", "layer_norm2", "ln_2", "self_attn.out_proj", "attn.out_proj", "mlp.fc1", "mlp.c_fc", "mlp.fc2", "mlp.c_proj")
	for _, name := range read.Names() {
		x := read[name]
		layer, part, ok := strings.Cut(names.Replace(name), "self_attn.q_proj.")
		switch {
		case ok:
			x.Shape, x.Bytes = slices.Clone(x.Shape), slices.Clone(x.Bytes)
			x.Shape[0] *= 3
			for _, other := range []string{"k_proj", "v_proj"} {
				x.Bytes = append(x.Bytes, read[strings.Replace(name, "q_proj", other, 1)].Bytes...)
			}
			w[layer+"attn.in_proj_"+part] = x
		case strings.Contains(name, "k_proj"), strings.Contains(name, "v_proj"):
		case name == "visual_projection.weight":
			w["visual.proj"] = transposed(t, x)
		default:
			w[names.Replace(name)] = x
		}
	}
	see(t, f, w)
}

// transposed returns a matrix with its rows as columns.
func transposed(t *testing.T, x eval.Weight) eval.Weight {
	t.Helper()
	size := x.DType.Size()
	n, k := x.Shape[0], x.Shape[1]
	out := eval.Weight{DType: x.DType, Shape: ir.Shape{k, n}}
	for i := range k {
		for j := range n {
			out.Bytes = append(out.Bytes, x.Bytes[(j*k+i)*size:][:size]...)
		}
	}
	return out
}

func TestDetectVision(t *testing.T) {
	shape := func(name string, shape ...int) func(eval.Weights) {
		return func(w eval.Weights) { w[name] = eval.Weight{DType: dtype.F16, Shape: shape} }
	}
	tests := []struct {
		name   string
		change func(eval.Weights)
		want   string // of the error
	}{
		{"nothing there", func(w eval.Weights) { clear(w) }, "not an encoder of pictures"},
		{"DINO", func(w eval.Weights) { clear(w); shape("encoder.layer.0.layer_scale1.lambda1", 1)(w) }, "of DINO, which is not supported"},
		{"patches of any shape", shape("vision_model.embeddings.patch_embedding.weight", 64, 768), "SigLIP 2 NaFlex"},
		{"no square", shape("vision_model.embeddings.position_embedding.weight", 9, 64), "8 patches have positions (vision_model.embeddings.position_embedding.weight), which make no square"},
		{"no class", func(w eval.Weights) { delete(w, "vision_model.embeddings.class_embedding") }, "there is no tensor vision_model.embeddings.class_embedding"},
		{"another projection", shape("visual_projection.weight", 24, 65), "visual_projection.weight has the shape [24 65], expected [24 64]"},
	}
	for _, tt := range tests {
		w := eval.Read(t, golden.Open(t, "clip_vision").File)
		tt.change(w)
		if _, err := clip.DetectVision(w, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
