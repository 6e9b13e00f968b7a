// Package llm builds decoder-only language models as text encoders: Qwen 2.5
// and 3, Mistral, Llama 3, Gemma 2 and 3. A prompt goes through the layers
// once, and what a picture is conditioned on are states between them.
package llm

import (
	"math"
	"slices"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// A Config is a language model. The numbers come from the shapes of its
// weights, Kind and what follows it from what the file has beside them.
type Config struct {
	Layers  int // that the file has: fewer than the model's if it was pruned
	Width   int
	Heads   int
	KVHeads int
	HeadDim int
	Inner   int // features of the feed-forward
	Vocab   int
	Bias    bool // the projections to queries, keys and values have one
	QKNorm  bool // the queries and keys of each head are normalized
	Norm    bool // the file has the norm behind the last layer
	// Pairs says that the rows of queries and keys are as llama.cpp orders them, with
	// those next to each other that positions rotate together.
	Pairs bool
	Kind

	prefix string // of the names, after that of the encoder
}

// Text builds the model up to the last state that is asked for; layers behind
// it are not read. Its inputs are those of [model.Encoder] and the tables of
// [Config.Tables], its output is hidden[batch, tokens, features] with the
// features of all states side by side.
func Text(s nn.Scope, c Config, in model.TextShape) {
	g := s.Graph()
	wanted, err := in.States.Numbers(c.Layers)
	if err != nil {
		g.Fail("%v", err)
		wanted = []int{c.Layers}
	}

	m := network{s.Sub(c.prefix), c, masks(g, c, in)}
	states := []ir.Value{m.embed(in)}
	for i := range slices.Max(wanted) {
		states = append(states, m.layer(i, states[i]))
	}
	in.States.Output(g, states, wanted, func(x ir.Value) ir.Value { return m.norm("norm", x) })
}

// A network is a model that is being built.
type network struct {
	s nn.Scope
	c Config
	attention
}

// An attention is what all attentions of one kind share. Those of Gemma 3 that
// see a window of the text have other positions than those that see all of it.
type attention struct{ global, local view }

// A view is the positions of an attention and what is hidden from it.
type view struct{ cos, sin, mask ir.Value }

// masks makes the inputs of the attentions.
func masks(g *ir.Graph, c Config, in model.TextShape) attention {
	table := func(name string) ir.Value {
		return g.Input(name, dtype.F32, in.Tokens, c.HeadDim/2)
	}
	a := attention{global: view{cos: table("cos"), sin: table("sin")}}
	if in.Masked {
		a.global.mask = g.Input("mask", dtype.F32, in.Batch, 1, 1, in.Tokens)
	}
	a.local = a.global
	if c.Window == 0 {
		return a
	}
	a.local.cos, a.local.sin = table("local cos"), table("local sin")
	if in.Tokens > c.Window {
		window := g.Input("window", dtype.F32, in.Tokens, in.Tokens)
		a.local.mask = window
		if in.Masked {
			a.local.mask = g.Add(window, a.global.mask)
		}
	}
	return a
}

// embed looks up the vectors of the tokens.
func (m network) embed(in model.TextShape) ir.Value {
	g := m.s.Graph()
	x := m.s.Embedding("embed_tokens", g.Input("tokens", dtype.I32, in.Batch, in.Tokens), m.c.Vocab, m.c.Width)
	if m.c.Gemma {
		x = g.Affine(x, float32(math.Sqrt(float64(m.c.Width))), 0)
	}
	if in.Embedded {
		known := g.Input("known", dtype.F32, in.Batch, in.Tokens, 1)
		x = g.Add(g.Mul(x, known), g.Input("vectors", dtype.F32, in.Batch, in.Tokens, m.c.Width))
	}
	return x
}

// layer is a pre-norm transformer block. Gemma's has a norm behind each half
// too.
func (m network) layer(i int, x ir.Value) ir.Value {
	n := layerName(i)
	g := m.s.Graph()
	if m.c.Gemma {
		h := m.norm(n+"post_attention_layernorm", m.attend(i, m.norm(n+"input_layernorm", x)))
		x = g.Add(x, h)
		h = m.norm(n+"post_feedforward_layernorm", m.feedForward(n+"mlp.", m.norm(n+"pre_feedforward_layernorm", x)))
		return g.Add(x, h)
	}
	x = g.Add(x, m.attend(i, m.norm(n+"input_layernorm", x)))
	return g.Add(x, m.feedForward(n+"mlp.", m.norm(n+"post_attention_layernorm", x)))
}

// attend is causal self-attention with rotary positions. Several heads of
// queries share one of keys and values.
func (m network) attend(i int, x ir.Value) ir.Value {
	g, c, n := m.s.Graph(), m.c, layerName(i)+"self_attn."
	at := m.global
	if c.local(i) {
		at = m.local
	}
	project := func(name string, heads int) ir.Value {
		if c.Bias {
			return m.s.Linear(n+name, x, heads*c.HeadDim)
		}
		return m.s.Project(n+name, x, heads*c.HeadDim)
	}
	place := func(x ir.Value, norm string, heads int) ir.Value {
		if c.QKNorm {
			shape := g.Shape(x)
			x = m.norm(n+norm, g.Reshape(x, shape[0], shape[1], heads, c.HeadDim))
			x = g.Reshape(x, shape...)
		}
		return g.Rope(x, at.cos, at.sin, heads, c.Pairs)
	}
	queries, keys := "q_proj", "k_proj"
	if c.Pairs {
		queries, keys = "q_pairs", "k_pairs"
	}
	q := place(project(queries, c.Heads), "q_norm", c.Heads)
	k := place(project(keys, c.KVHeads), "k_norm", c.KVHeads)
	h := g.Attention(q, k, project("v_proj", c.KVHeads), ir.AttentionOptions{Heads: c.Heads, KVHeads: c.KVHeads, Causal: true, Mask: at.mask})
	return m.s.Project(n+"o_proj", h, c.Width)
}

// feedForward is a gated unit ("GLU Variants Improve Transformer", Shazeer
// 2020).
func (m network) feedForward(n string, x ir.Value) ir.Value {
	g := m.s.Graph()
	f := ir.SiLU
	if m.c.Gemma {
		f = ir.GELUTanh
	}
	gate := g.Unary(f, m.s.Project(n+"gate_proj", x, m.c.Inner))
	return m.s.Project(n+"down_proj", g.Mul(gate, m.s.Project(n+"up_proj", x, m.c.Inner)), m.c.Width)
}

// norm divides by the root mean square and multiplies by the weight, or in
// Gemma by 1 plus the weight.
func (m network) norm(name string, x ir.Value) ir.Value {
	if !m.c.Gemma {
		return m.s.RMSNorm(name, x, m.c.Eps)
	}
	g := m.s.Graph()
	shape := g.Shape(x)
	w := m.s.Weight(name+".weight", shape[len(shape)-1])
	return g.Mul(g.RMSNorm(x, ir.None, m.c.Eps), g.Affine(w, 1, 1))
}
