package clip_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
)

const batch = 3 // of the goldens

// ends returns the place of each chunk's end token, the largest of all tokens
// in the goldens, counted through.
func ends(tokens []int32, length int) []int32 {
	var out []int32
	for from := 0; from < len(tokens); from += length {
		best := from
		for i := from; i < from+length; i++ {
			if tokens[i] > tokens[best] {
				best = i
			}
		}
		out = append(out, int32(best))
	}
	return out
}

// TestText compares both kinds of encoders, every state that models are
// conditioned on, with transformers and open_clip.
func TestText(t *testing.T) {
	states := []struct {
		name   string
		output clip.Output
	}{
		{"last", clip.Output{Layer: -1, Norm: true}},
		{"penultimate", clip.Output{Layer: -2}},
		{"penultimate_norm", clip.Output{Layer: -2, Norm: true}},
	}
	for file, prefix := range map[string]string{"clip_l": "cond_stage_model.transformer.", "open_clip": "conditioner.embedders.1.model."} {
		t.Run(file, func(t *testing.T) {
			f := golden.Open(t, file)
			w := eval.Read(t, f.File)
			c, err := clip.Detect(w, prefix, f.Metadata())
			if err != nil {
				t.Fatal(err)
			}
			tokens := f.I32("tokens")
			inputs := map[string]any{"tokens": tokens, "ends": ends(tokens, c.Length)}
			for _, s := range states {
				out := eval.Build(t, w, w, inputs, func(scope nn.Scope) { clip.Text(scope.Sub(prefix), c, batch, s.output) })
				golden.Check(t, s.name, out["hidden"], f.F32(s.name), 1e-4)
				golden.Check(t, s.name+", pooled", out["pooled"], f.F32("projected"), 1e-4)
			}
		})
	}
}

// TestConvertedOpenCLIP gives OpenCLIP's weights the names that
// stable-diffusion.cpp has for them, with query, key and value apart.
func TestConvertedOpenCLIP(t *testing.T) {
	const from, to = "conditioner.embedders.1.model.", "cond_stage_model.1.transformer.text_model."
	f := golden.Open(t, "open_clip")
	w := eval.Weights{}
	for name, x := range eval.Read(t, f.File) {
		rest, ok := strings.CutPrefix(name, from)
		if !ok {
			continue
		}
		rest = strings.NewReplacer("token_embedding.weight", "embeddings.token_embedding.weight", "positional_embedding", "embeddings.position_embedding.weight",
			"ln_final", "final_layer_norm", "transformer.resblocks", "encoder.layers", "ln_1", "layer_norm1", "ln_2", "layer_norm2",
			"attn.out_proj", "self_attn.out_proj", "mlp.c_fc", "mlp.fc1", "mlp.c_proj", "mlp.fc2").Replace(rest)
		layer, part, ok := strings.Cut(rest, "attn.in_proj_")
		if !ok {
			w[to+rest] = x
			continue
		}
		shape := slices.Clone(x.Shape)
		shape[0] /= 3
		for i, third := range []string{"q_proj.", "k_proj.", "v_proj."} {
			n := len(x.Bytes) / 3
			w[to+layer+"self_attn."+third+part] = eval.Weight{DType: x.DType, Shape: shape, Bytes: x.Bytes[i*n : (i+1)*n]}
		}
	}
	prefix := strings.TrimSuffix(to, "text_model.")
	c, err := clip.Detect(w, prefix, f.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	c.Activation = ir.GELU
	tokens := f.I32("tokens")
	out := eval.Build(t, w, w, map[string]any{"tokens": tokens, "ends": ends(tokens, c.Length)}, func(s nn.Scope) {
		clip.Text(s.Sub(prefix), c, batch, clip.Output{Layer: -2})
	})
	golden.Check(t, "penultimate", out["hidden"], f.F32("penultimate"), 1e-4)
	golden.Check(t, "pooled", out["pooled"], f.F32("projected"), 1e-4)
}

// TestPooledWithoutProjection is Stable Diffusion 1's encoder, which has no
// projection.
func TestPooledWithoutProjection(t *testing.T) {
	const prefix = "cond_stage_model.transformer."
	f := golden.Open(t, "clip_l")
	w := eval.Read(t, f.File)
	delete(w, prefix+"text_projection.weight")
	c, err := clip.Detect(w, prefix, f.Metadata())
	if err != nil || c.Projected != 0 {
		t.Fatalf("projected to %d, %v", c.Projected, err)
	}
	tokens := f.I32("tokens")
	out := eval.Build(t, w, w, map[string]any{"tokens": tokens, "ends": ends(tokens, c.Length)}, func(s nn.Scope) {
		clip.Text(s.Sub(prefix), c, batch, clip.Output{Layer: -1})
	})
	golden.Check(t, "pooled", out["pooled"], f.F32("pooled"), 1e-4)
}

func TestDetect(t *testing.T) {
	f := golden.Open(t, "clip_l")
	const prefix = "cond_stage_model.transformer."
	with := func(change func(eval.Weights)) eval.Weights {
		w := eval.Read(t, f.File)
		change(w)
		return w
	}
	heads := map[string]string{clip.MetadataHeads: "4"}
	tests := []struct {
		name     string
		change   func(eval.Weights)
		metadata map[string]string
		want     string // of the error, or "" and
		heads    int
	}{
		{"heads of 64 features by default", func(eval.Weights) {}, nil, "", 1},
		{"heads from the metadata", func(eval.Weights) {}, heads, "", 4},
		{"names without text_model", func(w eval.Weights) {
			for name, x := range w {
				if after, ok := strings.CutPrefix(name, prefix+"text_model."); ok {
					delete(w, name)
					w[prefix+after] = x
				}
			}
		}, heads, "", 4},
		{"no heads", func(eval.Weights) {}, map[string]string{clip.MetadataHeads: "many"}, `metadata weir.clip.num_heads is "many"`, 0},
		{"heads that do not divide", func(eval.Weights) {}, map[string]string{clip.MetadataHeads: "5"}, "width 64 cannot have 5 heads", 0},
		{"nothing there", func(w eval.Weights) { clear(w) }, heads, "no tensors cond_stage_model.transformer.", 0},
		{"no layers", func(w eval.Weights) {
			for name := range w {
				if strings.Contains(name, ".layers.") {
					delete(w, name)
				}
			}
		}, heads, "has no layers", 0},
		{"a table of three dimensions", func(w eval.Weights) {
			name := prefix + "text_model.embeddings.token_embedding.weight"
			x := w[name]
			x.Shape = ir.Shape{600, 8, 8}
			w[name] = x
		}, heads, "token_embedding.weight has the shape [600 8 8], expected [600 64]", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := clip.Detect(with(tt.change), prefix, tt.metadata)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want an error with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Layers != 3 || c.Width != 64 || c.Length != 77 || c.Vocab != 600 || c.Heads != tt.heads {
				t.Errorf("got %+v", c)
			}
		})
	}
}
