package llm_test

import (
	"maps"
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
	"github.com/weir-run/weir/model/llm"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/plan"
)

// The goldens have two texts of 13 tokens, the first padded with 4.
var shape = model.TextShape{Batch: 2, Tokens: 13, Masked: true}

// kinds are the goldens, with what cannot be told from weights of tiny width.
var kinds = map[string]struct {
	name   string
	adjust func(*llm.Config)
}{
	"llm_qwen3":   {"Qwen 3", nil},
	"llm_qwen25":  {"Qwen 2.5", nil},
	"llm_mistral": {"Mistral Small 3", nil},
	"llm_llama":   {"Llama 3", nil},
	"llm_gemma2":  {"Gemma 2", nil},
	"llm_gemma3":  {"Gemma 3", func(c *llm.Config) { c.Window = 9 }},
}

// open returns a golden, its weights and its configuration.
func open(t *testing.T, file string) (golden.File, eval.Weights, llm.Config) {
	t.Helper()
	f := golden.Open(t, file)
	w := eval.Read(t, f.File)
	if file == "llm_mistral" {
		w["tekken_model"] = eval.Weight{}
	}
	c, err := llm.Detect(w, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != kinds[file].name {
		t.Fatalf("%s is %s, want %s", file, c.Name, kinds[file].name)
	}
	if adjust := kinds[file].adjust; adjust != nil {
		adjust(&c)
	}
	return f, w, c
}

// encode returns the states that o names of the golden's tokens.
func encode(t *testing.T, f golden.File, w eval.Weights, c llm.Config, shape model.TextShape, o model.States, more map[string]any) []float32 {
	t.Helper()
	inputs := map[string]any{"tokens": f.I32("tokens")[:shape.Batch*shape.Tokens]}
	for name, table := range c.Tables(shape.Tokens) {
		inputs[name] = table
	}
	if shape.Masked {
		inputs["mask"] = mask(f)
	}
	shape.States = o
	maps.Copy(inputs, more)
	return eval.Build(t, w, w, inputs, func(s nn.Scope) { llm.Text(s, c, shape) })["hidden"]
}

// mask returns 0 for the golden's tokens and -inf for its padding.
func mask(f golden.File) []float32 {
	m := f.F32("mask")
	for i, seen := range m {
		if m[i] = 0; seen == 0 {
			m[i] = float32(math.Inf(-1))
		}
	}
	return m
}

// stack puts states [B,S,W] side by side.
func stack(width int, states ...[]float32) (out []float32) {
	for i := 0; i < len(states[0]); i += width {
		for _, s := range states {
			out = append(out, s[i:i+width]...)
		}
	}
	return out
}

// TestText compares every state of each kind of model with ComfyUI's classes,
// which the script compares with transformers.
func TestText(t *testing.T) {
	for file := range kinds {
		t.Run(file, func(t *testing.T) {
			f, w, c := open(t, file)
			all := f.F32("states")
			n := len(all) / c.Layers
			states := [][]float32{}
			for i := range c.Layers {
				states = append(states, all[i*n:(i+1)*n])
			}
			for i, want := range states {
				golden.Check(t, "state", encode(t, f, w, c, shape, model.States{Layers: []int{i}}, nil), want, 1e-4)
			}
			golden.Check(t, "last", encode(t, f, w, c, shape, model.States{Layers: []int{-1}}, nil), f.F32("raw"), 1e-4)
			golden.Check(t, "last and norm", encode(t, f, w, c, shape, model.States{Layers: []int{c.Layers}, Norm: true}, nil), f.F32("last"), 1e-4)
			golden.Check(t, "taps", encode(t, f, w, c, shape, model.States{Layers: []int{1, -2, 2}}, nil), stack(c.Width, states[1], states[c.Layers-1], states[2]), 1e-4)
			free := shape
			free.Masked = false
			golden.Check(t, "unmasked", encode(t, f, w, c, free, model.States{Layers: []int{-1}, Norm: true}, nil), f.F32("unmasked"), 1e-4)
		})
	}
}

// TestEmbedded gives the model some tokens as vectors.
func TestEmbedded(t *testing.T) {
	f, w, c := open(t, "llm_qwen3")
	tokens, row := f.I32("tokens"), f.F32("model.embed_tokens.weight")
	n := shape.Batch * shape.Tokens
	known, vectors := make([]float32, n), make([]float32, n*c.Width)
	for i := range known {
		if i%3 == 0 {
			copy(vectors[i*c.Width:(i+1)*c.Width], row[int(tokens[i])*c.Width:])
			tokens[i] = 0
		} else {
			known[i] = 1
		}
	}
	with := shape
	with.Embedded = true
	got := encode(t, f, w, c, with, model.States{Layers: []int{-1}, Norm: true}, map[string]any{"tokens": tokens, "known": known, "vectors": vectors})
	golden.Check(t, "last", got, f.F32("last"), 1e-4)
}

// TestPruned leaves out the layers behind the last state and the norm: they
// are not read.
func TestPruned(t *testing.T) {
	f, w, whole := open(t, "llm_mistral")
	for name := range w {
		if strings.HasPrefix(name, "model.layers.3.") || name == "model.norm.weight" {
			delete(w, name)
		}
	}
	c, err := llm.Detect(w, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Layers != 3 || c.Norm || whole.Layers != 4 || !whole.Norm {
		t.Errorf("got %+v of %+v", c, whole)
	}
	all := f.F32("states")
	n := len(all) / whole.Layers
	golden.Check(t, "states 1 and 3", encode(t, f, w, c, shape, model.States{Layers: []int{1, 3}}, nil), stack(c.Width, all[n:2*n], all[3*n:]), 1e-4)

	g := ir.New("model")
	beyond := shape
	beyond.States.Layers = []int{4}
	llm.Text(nn.NewScope(g, w), c, beyond)
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "the state of layer 4 (1 of 1), and the text encoder has 3 layers") {
		t.Errorf("got %v", err)
	}
}

// TestReads states which weights are read for states in the middle.
func TestReads(t *testing.T) {
	_, w, c := open(t, "llm_mistral")
	g := ir.New("model")
	middle := shape
	middle.States.Layers = []int{1, 2}
	llm.Text(nn.NewScope(g, w), c, middle)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Values {
		if v.Kind == ir.Weight && (strings.HasPrefix(v.Name, "model.layers.2.") || strings.HasPrefix(v.Name, "model.layers.3.") || v.Name == "model.norm.weight") {
			t.Errorf("%s is read", v.Name)
		}
	}
}

// TestPrefixes gives the model the names of other files.
func TestPrefixes(t *testing.T) {
	f, w, _ := open(t, "llm_qwen3")
	last := shape
	last.States = model.States{Norm: true}
	for _, prefix := range []string{"", "text.model.", "language_model.model.", "model.language_model."} {
		other := eval.Weights{}
		for name, x := range w {
			if rest, ok := strings.CutPrefix(name, "model."); ok {
				other[prefix+rest] = x
			}
		}
		at := ""
		if prefix == "text.model." {
			at = "text."
		}
		c, err := llm.Detect(other, at)
		if err != nil {
			t.Fatal(err)
		}
		inputs := map[string]any{"tokens": f.I32("tokens"), "mask": mask(f)}
		for name, table := range c.Tables(shape.Tokens) {
			inputs[name] = table
		}
		out := eval.Build(t, other, other, inputs, func(s nn.Scope) { llm.Text(s.Sub(at), c, last) })
		golden.Check(t, prefix, out["hidden"], f.F32("last"), 1e-4)
	}
}

func TestDetectErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(eval.Weights)
		want   string
	}{
		{"nothing there", func(w eval.Weights) { clear(w) }, "not a language model: there are no tensors model.layers.0..."},
		{"a layer is missing", func(w eval.Weights) {
			maps.DeleteFunc(w, func(name string, _ eval.Weight) bool { return strings.HasPrefix(name, "model.layers.1.") })
		}, "there are tensors model.layers.2... and none model.layers.1..."},
		{"experts", func(w eval.Weights) { w["model.layers.0.mlp.experts.gate_up_proj"] = eval.Weight{} }, "a language model with experts"},
		{"heads that do not divide", func(w eval.Weights) {
			for name, x := range w {
				if strings.HasSuffix(name, "self_attn.q_norm.weight") || strings.HasSuffix(name, "self_attn.k_norm.weight") {
					x.Shape = ir.Shape{96}
					w[name] = x
				}
			}
		}, "are no heads of 96"},
		{"a norm of a head is missing", func(w eval.Weights) { delete(w, "model.layers.3.self_attn.k_norm.weight") }, "there is no tensor model.layers.3.self_attn.k_norm.weight"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := eval.Read(t, golden.Open(t, "llm_qwen3").File)
			tt.change(w)
			if _, err := llm.Detect(w, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestPublished reads every tensor of published models but the heads that
// predict the next token.
func TestPublished(t *testing.T) {
	tests := map[string]struct {
		want llm.Config
		kind string
	}{
		"qwen3-0.6b":          {llm.Config{Layers: 28, Width: 1024, Heads: 16, KVHeads: 8, HeadDim: 128, Inner: 3072, Vocab: 151936, QKNorm: true, Norm: true}, "Qwen 3"},
		"qwen3-4b":            {llm.Config{Layers: 36, Width: 2560, Heads: 32, KVHeads: 8, HeadDim: 128, Inner: 9728, Vocab: 151936, QKNorm: true, Norm: true}, "Qwen 3"},
		"qwen3-8b":            {llm.Config{Layers: 36, Width: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, Inner: 12288, Vocab: 151936, QKNorm: true, Norm: true}, "Qwen 3"},
		"qwen2.5-7b":          {llm.Config{Layers: 28, Width: 3584, Heads: 28, KVHeads: 4, HeadDim: 128, Inner: 18944, Vocab: 152064, Bias: true, Norm: true}, "Qwen 2.5"},
		"mistral3-24b":        {llm.Config{Layers: 40, Width: 5120, Heads: 32, KVHeads: 8, HeadDim: 128, Inner: 32768, Vocab: 131072, Norm: true}, "Mistral Small 3"},
		"mistral3-24b-pruned": {llm.Config{Layers: 30, Width: 5120, Heads: 32, KVHeads: 8, HeadDim: 128, Inner: 32768, Vocab: 131072}, "Mistral Small 3"},
		"llama3-8b":           {llm.Config{Layers: 32, Width: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, Inner: 14336, Vocab: 128320, Norm: true}, "Llama 3"},
		"gemma2-2b":           {llm.Config{Layers: 26, Width: 2304, Heads: 8, KVHeads: 4, HeadDim: 256, Inner: 9216, Vocab: 256000, Norm: true}, "Gemma 2"},
		"gemma3-12b":          {llm.Config{Layers: 48, Width: 3840, Heads: 16, KVHeads: 8, HeadDim: 256, Inner: 15360, Vocab: 262208, QKNorm: true, Norm: true}, "Gemma 3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := published.Tensors(t, name, "")
			delete(w, "model.lm_head.weight")
			got, err := llm.Detect(w, "")
			if err != nil || got.Name != tt.kind {
				t.Fatalf("got %+v, %v", got, err)
			}
			published.Complete(t, w, got.Check(w, ""))
			got.Kind = llm.Kind{}
			if d := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(llm.Config{}, llm.Kind{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestMemory plans FLUX.2's text encoder at full size: of the 40 layers only 30 are
// read, and the scores of attention are never all there.
func TestMemory(t *testing.T) {
	w := published.Tensors(t, "mistral3-24b", "")
	c, err := llm.Detect(w, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tokens         int
		weights, arena int64
	}{{166, 34687508480, 57199616}, {2048, 34687508480, 705691648}} {
		g := ir.New("model")
		llm.Text(nn.NewScope(g, w), c, model.TextShape{Batch: 1, Tokens: tt.tokens, States: model.States{Layers: []int{10, 20, 30}}})
		p, err := plan.Compile(g, plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if p.WeightBytes() != tt.weights || p.Arena != tt.arena {
			t.Errorf("%d tokens: weights of %d bytes and an arena of %d, want %d and %d", tt.tokens, p.WeightBytes(), p.Arena, tt.weights, tt.arena)
		}
	}
}
