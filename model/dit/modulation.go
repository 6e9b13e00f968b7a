package dit

import "github.com/weir-run/weir/ir"

// NormEps is the epsilon of the layer norms before modulations.
const NormEps = 1e-6

// A Modulation is what the timestep and other conditions do to tokens before and
// after a layer (Peebles and Xie 2023, Scalable Diffusion Models with
// Transformers). Each value is [B,1,N]; Gate may be ir.None.
type Modulation struct{ Shift, Scale, Gate ir.Value }

// ModulationOf takes shift, scale and, if it is there, gate from parts.
func ModulationOf(parts []ir.Value) Modulation {
	m := Modulation{Shift: parts[0], Scale: parts[1]}
	if len(parts) > 2 {
		m.Gate = parts[2]
	}
	return m
}

// Apply normalizes tokens x[B,tokens,N] and scales and shifts them.
func (m Modulation) Apply(g *ir.Graph, x ir.Value) ir.Value {
	return m.Modulate(g, g.LayerNorm(x, ir.None, ir.None, NormEps))
}

// Modulate scales and shifts tokens x[B,tokens,N].
func (m Modulation) Modulate(g *ir.Graph, x ir.Value) ir.Value {
	return g.Modulate(x, m.Scale, m.Shift)
}

// Gated multiplies what a layer gives by the gate.
func (m Modulation) Gated(g *ir.Graph, h ir.Value) ir.Value { return g.Mul(h, m.Gate) }

// PerToken returns v[B,N] as [B,1,N], so that it applies to every token.
func PerToken(g *ir.Graph, v ir.Value) ir.Value {
	shape := g.Shape(v)
	return g.Reshape(v, shape[0], 1, shape[1])
}

// Parts cuts v[B,n·N], what a layer gives for the conditions, into n parts
// [B,1,N].
func Parts(g *ir.Graph, v ir.Value, n int) []ir.Value { return g.Split(PerToken(g, v), -1, n) }
