package t5_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/t5"
)

// The goldens have two texts of 150 tokens, the second padded with 50.
const batch, length = 2, 150

// encode returns the states that o names of the golden's tokens.
func encode(t *testing.T, f golden.File, w eval.Weights, c t5.Config, masked bool, o model.States) []float32 {
	t.Helper()
	e := t5.Encoder{Config: c}
	in := model.TextShape{Batch: batch, Tokens: length, Masked: masked, States: o}
	inputs := e.Tables(in)
	inputs["tokens"] = f.I32("tokens")
	if masked {
		mask := f.F32("mask")
		for i, seen := range mask {
			if mask[i] = 0; seen == 0 {
				mask[i] = float32(math.Inf(-1))
			}
		}
		inputs["mask"] = mask
	}
	return eval.Build(t, w, w, inputs, func(s nn.Scope) { e.Build(s, in) })["hidden"]
}

// TestText compares each kind of encoder with transformers.
func TestText(t *testing.T) {
	for _, file := range []string{"t5", "t5_old", "umt5"} {
		t.Run(file, func(t *testing.T) {
			f := golden.Open(t, file)
			w := eval.Read(t, f.File)
			c, err := t5.Detect(w, "")
			if err != nil {
				t.Fatal(err)
			}
			if c.Each != (file == "umt5") || c.Gated == (file == "t5_old") || c.Layers != 3 || c.Width != 48 || c.Heads != 3 || c.Inner != 48 || c.FF != 64 || c.Vocab != 100 {
				t.Errorf("got %+v", c)
			}
			golden.Check(t, "last", encode(t, f, w, c, true, model.States{Layers: []int{-1}, Norm: true}), f.F32("last"), 1e-4)
			golden.Check(t, "before the last", encode(t, f, w, c, true, model.States{Layers: []int{-2}}), f.F32("second"), 1e-4)
			golden.Check(t, "unmasked", encode(t, f, w, c, false, model.States{Norm: true}), f.F32("unmasked"), 1e-4)

			w["encoder.embed_tokens.weight"] = w["shared.weight"]
			delete(w, "shared.weight")
			if c, err = t5.Detect(w, ""); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "the encoder's own table", encode(t, f, w, c, true, model.States{Norm: true}), f.F32("last"), 1e-4)
		})
	}
}

// TestReads states that layers behind the last state are not read.
func TestReads(t *testing.T) {
	w := eval.Read(t, golden.Open(t, "umt5").File)
	c, err := t5.Detect(w, "")
	if err != nil {
		t.Fatal(err)
	}
	g := ir.New("model")
	t5.Text(nn.NewScope(g, w), c, model.TextShape{Batch: 1, Tokens: 5, States: model.States{Layers: []int{2}}})
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Values {
		if v.Kind == ir.Weight && (strings.HasPrefix(v.Name, "encoder.block.2.") || strings.HasPrefix(v.Name, "encoder.final")) {
			t.Errorf("%s is read", v.Name)
		}
	}
	g = ir.New("model")
	t5.Text(nn.NewScope(g, w), c, model.TextShape{Batch: 1, Tokens: 5, States: model.States{Layers: []int{4}}})
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "the state of layer 4") {
		t.Errorf("got %v", err)
	}
}

func TestDetectErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(eval.Weights)
		want   string
	}{
		{"nothing there", func(w eval.Weights) { clear(w) }, "not an encoder of T5: there are no tensors encoder.block.0..."},
		{"a block is missing", func(w eval.Weights) {
			for name := range w {
				if strings.HasPrefix(name, "encoder.block.1.") {
					delete(w, name)
				}
			}
		}, "there are tensors encoder.block.2... and none encoder.block.1..."},
		{"no table of positions", func(w eval.Weights) {
			delete(w, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
		}, "are not 0 heads (encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight)"},
		{"one gate is missing", func(w eval.Weights) { delete(w, "encoder.block.2.layer.1.DenseReluDense.wi_0.weight") }, "there is no tensor encoder.block.2.layer.1.DenseReluDense.wi_0.weight"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := eval.Read(t, golden.Open(t, "t5").File)
			tt.change(w)
			if _, err := t5.Detect(w, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestPublished reads every tensor of published models.
func TestPublished(t *testing.T) {
	for name, vocabulary := range map[string]int{"t5xxl": 32128, "umt5xxl": 256384} {
		w := published.Tensors(t, name, "text.")
		got, err := t5.Detect(w, "text.")
		want := t5.Config{Layers: 24, Width: 4096, Heads: 64, Inner: 4096, FF: 10240, Vocab: vocabulary, Each: name == "umt5xxl", Gated: true}
		if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(t5.Config{})); err != nil || d != "" {
			t.Errorf("%s: %v %s", name, err, d)
		}
		published.Complete(t, w, got.Check(w, "text."))
	}
}
