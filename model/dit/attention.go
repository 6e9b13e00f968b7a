package dit

import (
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// TorchEps is the epsilon of PyTorch's RMSNorm in float32 when none is given.
const TorchEps = 1.1920929e-07

// A QKV is the queries, keys and values of a stream of tokens, each
// [B,tokens,heads·D].
type QKV struct{ Q, K, V ir.Value }

// QKNorm are the norms of each head of queries and keys: the names of their
// weights[D], "" for none.
type QKNorm struct {
	Q, K string
	Eps  float32
}

// Heads cuts a projection[B,tokens,3·heads·D] into queries, keys and values and
// normalizes each head of the first two.
func Heads(s nn.Scope, x ir.Value, heads int, norm QKNorm) QKV {
	parts := s.Graph().Split(x, -1, 3)
	return QKV{norm.apply(s, norm.Q, parts[0], heads), norm.apply(s, norm.K, parts[1], heads), parts[2]}
}

// apply divides each head of x[B,tokens,heads·D] by its root mean square and
// multiplies by a weight[D].
func (n QKNorm) apply(s nn.Scope, weight string, x ir.Value, heads int) ir.Value {
	if weight == "" {
		return x
	}
	g := s.Graph()
	shape := g.Shape(x)
	x = g.Reshape(x, shape[0], shape[1], heads, -1)
	return g.Reshape(s.RMSNormOf(weight, x, n.Eps), shape...)
}

// Attention returns the attention[B,tokens,heads·D] between all tokens of
// streams that follow each other, whose angles are in the same order. Without
// angles no positions are told apart.
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
