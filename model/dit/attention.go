package dit

import (
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// QKNormEps is the epsilon of the norms of queries and keys: PyTorch's for
// RMSNorm in float32 when none is given.
const QKNormEps = 1.1920929e-07

// A QKV is the queries, keys and values of a stream of tokens, each
// [B,tokens,heads·D].
type QKV struct{ Q, K, V ir.Value }

// Heads cuts a projection[B,tokens,3·heads·D] into queries, keys and values and
// normalizes each head of the first two by the weights qNorm[D] and kNorm[D].
func Heads(s nn.Scope, x ir.Value, heads int, qNorm, kNorm string) QKV {
	g := s.Graph()
	parts := g.Split(x, -1, 3)
	return QKV{NormHeads(s, qNorm, parts[0], heads), NormHeads(s, kNorm, parts[1], heads), parts[2]}
}

// NormHeads divides each head of x[B,tokens,heads·D] by its root mean square
// and multiplies by a weight[D].
func NormHeads(s nn.Scope, weight string, x ir.Value, heads int) ir.Value {
	g := s.Graph()
	shape := g.Shape(x)
	x = g.Reshape(x, shape[0], shape[1], heads, -1)
	return g.Reshape(s.RMSNormOf(weight, x, QKNormEps), shape...)
}

// Attention returns the attention[B,tokens,heads·D] between all tokens of
// streams that follow each other, whose angles are in the same order.
func Attention(g *ir.Graph, heads int, angles Angles, streams ...QKV) ir.Value {
	all := streams[0]
	if len(streams) > 1 {
		var q, k, v []ir.Value
		for _, s := range streams {
			q, k, v = append(q, s.Q), append(k, s.K), append(v, s.V)
		}
		all = QKV{g.Concat(1, q...), g.Concat(1, k...), g.Concat(1, v...)}
	}
	q, k := angles.rotate(g, all.Q, heads), angles.rotate(g, all.K, heads)
	return g.Attention(q, k, all.V, ir.AttentionOptions{Heads: heads})
}

// PerToken returns v[B,N], or parts of it, as [B,1,N], so that it applies to
// every token of a batch.
func PerToken(g *ir.Graph, v ir.Value) ir.Value {
	shape := g.Shape(v)
	return g.Reshape(v, shape[0], 1, shape[1])
}
