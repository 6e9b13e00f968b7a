// Package t5 builds the encoders of T5 (Raffel et al. 2020), of its version 1.1
// and of UMT5 (Chung et al. 2023).
package t5

import (
	"math"
	"slices"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// A Config is an encoder. All of it comes from the names and shapes of its
// weights.
type Config struct {
	Layers int
	Width  int
	Heads  int
	Inner  int // features of all heads
	FF     int // features of the feed-forward
	Vocab  int
	// Each says that every layer has a table of relative positions, as in UMT5, and
	// not the first one for all.
	Each bool
	// Gated says that the feed-forward is a gated unit, as since version 1.1.
	Gated bool

	table string // of the tokens
}

// The relative positions that a table tells apart (section 2.1 of the paper).
const (
	buckets     = 32
	maxDistance = 128
)

const eps = 1e-6

// Text builds the encoder up to the last state that is asked for. Its inputs
// are those of [model.Encoder] and the table of [Buckets], its output is
// hidden[batch, tokens, features] with the features of all states side by side.
func Text(s nn.Scope, c Config, in model.TextShape) {
	g := s.Graph()
	wanted, err := in.States.Numbers(c.Layers)
	if err != nil {
		g.Fail("%v", err)
		wanted = []int{c.Layers}
	}
	n := network{s, c, in, g.Input("buckets", dtype.I32, 1, in.Tokens, in.Tokens), ir.None}
	if in.Masked {
		n.mask = g.Input("mask", dtype.F32, in.Batch, 1, 1, in.Tokens)
	}
	states := []ir.Value{n.embed()}
	var bias ir.Value
	for i := range slices.Max(wanted) {
		if i == 0 || c.Each {
			bias = n.positions(blockName(i) + attentionTable)
		}
		states = append(states, n.block(blockName(i), states[i], bias))
	}
	in.States.Output(g, states, wanted, func(x ir.Value) ir.Value { return s.RMSNorm(finalNorm, x, eps) })
}

// A network is an encoder that is being built.
type network struct {
	s             nn.Scope
	c             Config
	in            model.TextShape
	buckets, mask ir.Value
}

// embed looks up the vectors of the tokens.
func (n network) embed() ir.Value {
	g := n.s.Graph()
	x := n.s.Embedding(n.c.table, g.Input("tokens", dtype.I32, n.in.Batch, n.in.Tokens), n.c.Vocab, n.c.Width)
	if n.in.Embedded {
		known := g.Input("known", dtype.F32, n.in.Batch, n.in.Tokens, 1)
		x = g.Add(g.Mul(x, known), g.Input("vectors", dtype.F32, n.in.Batch, n.in.Tokens, n.c.Width))
	}
	return x
}

// positions looks up what is added to the scores for the distance of query and
// key, and hides what was filled up: the result is [batch or 1, heads, queries,
// keys].
func (n network) positions(table string) ir.Value {
	g := n.s.Graph()
	bias := n.s.Embedding(table, n.buckets, buckets, n.c.Heads) // [1, queries, keys, heads]
	if n.mask != ir.None {
		bias = g.Add(bias, g.Reshape(n.mask, n.in.Batch, 1, n.in.Tokens, 1))
	}
	return g.Permute(bias, 0, 3, 1, 2)
}

// block is self-attention and a feed-forward, with norms before both. Scores are
// not scaled.
func (n network) block(name string, x, bias ir.Value) ir.Value {
	g, s := n.s.Graph(), n.s
	h := s.RMSNorm(name+"layer.0.layer_norm", x, eps)
	at := name + "layer.0.SelfAttention."
	h = g.Attention(s.Project(at+"q", h, n.c.Inner), s.Project(at+"k", h, n.c.Inner), s.Project(at+"v", h, n.c.Inner),
		ir.AttentionOptions{Heads: n.c.Heads, Scale: 1, Mask: bias})
	x = g.Add(x, s.Project(at+"o", h, n.c.Width))

	h = s.RMSNorm(name+"layer.1.layer_norm", x, eps)
	at = name + "layer.1.DenseReluDense."
	if n.c.Gated {
		h = g.Mul(g.Unary(ir.GELUTanh, s.Project(at+"wi_0", h, n.c.FF)), s.Project(at+"wi_1", h, n.c.FF))
	} else {
		h = g.Unary(ir.ReLU, s.Project(at+"wi", h, n.c.FF))
	}
	return g.Add(x, s.Project(at+"wo", h, n.c.Width))
}

// Buckets returns the input buckets[1,length,length]: the row of the tables that
// is for each query and key. Half of the rows are for keys behind the query. Of
// each half, the first half is for a distance each, and the others for ranges
// that grow up to maxDistance.
func Buckets(length int) []int32 {
	of := make([]int32, 2*length-1) // by the key's place minus the query's
	for i := range of {
		of[i] = bucket(i - (length - 1))
	}
	ids := make([]int32, 0, length*length)
	for query := range length {
		ids = append(ids, of[length-1-query:2*length-1-query]...)
	}
	return ids
}

// bucket computes in float32, as models were trained with it.
func bucket(distance int) int32 {
	const half, exact = buckets / 2, buckets / 4
	var first int32
	if distance > 0 {
		first = half
	} else {
		distance = -distance
	}
	if distance < exact {
		return first + int32(distance)
	}
	log := func(x float64) float32 { return float32(math.Log(x)) }
	grown := log(float64(distance)/exact) / log(maxDistance/exact) * (half - exact)
	return first + min(exact+int32(grown), half-1)
}
