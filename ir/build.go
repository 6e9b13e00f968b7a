package ir

import (
	"math"
	"slices"

	"github.com/weir-run/weir/hadamard"
)

// Linear returns x·wᵀ + bias for x[...,K], w[N,K] and bias[N], which may be
// None.
func (g *Graph) Linear(x, w, bias Value) Value {
	xs, ws := g.Shape(x), g.Shape(w)
	if len(ws) != 2 || len(xs) == 0 || xs[len(xs)-1] != ws[1] {
		return g.bad(Linear, xs, "input %v does not fit the weight %s %v", xs, g.Values[w].Name, ws)
	}
	if bias != None && !g.Shape(bias).Equal(Shape{ws[0]}) {
		return g.bad(Linear, xs, "bias %v does not fit the weight %s %v", g.Shape(bias), g.Values[w].Name, ws)
	}
	shape := slices.Clone(xs)
	shape[len(shape)-1] = ws[0]
	return g.emit(Linear, shape, Attrs{HasBias: bias != None}, nil, x, w, bias)
}

// ConvOptions are the constants of a convolution. A slice that is nil means 1
// for Stride and Dilation and 0 for the paddings, one of length 1 stands for
// every dimension.
type ConvOptions struct {
	Stride, Dilation []int
	// Pad is added on both ends of each dimension, PadAfter on top of it at
	// the end.
	Pad, PadAfter []int
	// PadBefore is added on top of Pad at the beginning.
	PadBefore []int
	Groups    int // 0 means 1
}

// Conv returns the convolution of x[B,C,...] with w[O,C/Groups,...].
func (g *Graph) Conv(x, w, bias Value, o ConvOptions) Value {
	xs, ws := g.Shape(x), g.Shape(w)
	dims, groups := len(xs)-2, max(o.Groups, 1)
	if dims < 1 || dims > 3 || len(ws) != len(xs) || xs[1] != ws[1]*groups || ws[0]%groups != 0 {
		return g.bad(Conv, xs, "input %v does not fit the weight %s %v", xs, g.Values[w].Name, ws)
	}
	if bias != None && !g.Shape(bias).Equal(Shape{ws[0]}) {
		return g.bad(Conv, xs, "bias %v does not fit the weight %s %v", g.Shape(bias), g.Values[w].Name, ws)
	}
	a := Attrs{
		Groups: groups, Stride: spread(o.Stride, dims, 1), Dilation: spread(o.Dilation, dims, 1),
		PadBefore: spread(o.Pad, dims, 0), PadAfter: spread(o.Pad, dims, 0), HasBias: bias != None,
	}
	shape := Shape{xs[0], ws[0]}
	before, after := spread(o.PadBefore, dims, 0), spread(o.PadAfter, dims, 0)
	for i := range dims {
		a.PadBefore[i] += before[i]
		a.PadAfter[i] += after[i]
		window := (ws[2+i]-1)*a.Dilation[i] + 1
		padded := xs[2+i] + a.PadBefore[i] + a.PadAfter[i]
		if padded < window {
			return g.bad(Conv, xs, "input %v is smaller than the window of %s %v", xs, g.Values[w].Name, ws)
		}
		shape = append(shape, (padded-window)/a.Stride[i]+1)
	}
	return g.emit(Conv, shape, a, nil, x, w, bias)
}

// spread returns v as n numbers.
func spread(v []int, n, zero int) []int {
	out := make([]int, n)
	for i := range out {
		switch len(v) {
		case 0:
			out[i] = zero
		case 1:
			out[i] = v[0]
		default:
			out[i] = v[i]
		}
	}
	return out
}

// AttentionOptions are the constants of an attention.
type AttentionOptions struct {
	Heads   int
	KVHeads int     // 0 means Heads
	Scale   float32 // 0 means 1/sqrt(D)
	Causal  bool
	Mask    Value // added to the scores; broadcast to [B,Heads,Sq,Sk]; may be None
}

// Attention returns softmax(q·kᵀ·scale + mask)·v for every head of
// q[B,Sq,H·D], k[B,Sk,G·D] and v[B,Sk,G·Dv].
func (g *Graph) Attention(q, k, v Value, o AttentionOptions) Value {
	qs, ks, vs := g.Shape(q), g.Shape(k), g.Shape(v)
	if o.KVHeads == 0 {
		o.KVHeads = o.Heads
	}
	if len(qs) != 3 || len(ks) != 3 || len(vs) != 3 || o.Heads < 1 || o.Heads%o.KVHeads != 0 ||
		qs[2]%o.Heads != 0 || ks[2]%o.KVHeads != 0 || vs[2]%o.KVHeads != 0 ||
		qs[2]/o.Heads != ks[2]/o.KVHeads || qs[0] != ks[0] || ks[0] != vs[0] || ks[1] != vs[1] {
		return g.bad(Attention, qs, "q %v, k %v and v %v do not fit %d heads and %d key heads", qs, ks, vs, o.Heads, o.KVHeads)
	}
	if o.Scale == 0 {
		o.Scale = float32(1 / math.Sqrt(float64(qs[2]/o.Heads)))
	}
	shape := Shape{qs[0], qs[1], vs[2] / o.KVHeads * o.Heads}
	a := Attrs{Heads: o.Heads, KVHeads: o.KVHeads, Scale: o.Scale, Causal: o.Causal, HasMask: o.Mask != None}
	mask := o.Mask
	if mask != None {
		mask = g.Expand(mask, qs[0], o.Heads, qs[1], ks[1])
	}
	return g.emit(Attention, shape, a, nil, q, k, v, mask)
}

// LayerNorm normalizes the last dimension; weight and bias may be None.
func (g *Graph) LayerNorm(x, weight, bias Value, eps float32) Value {
	return g.norm(LayerNorm, x, weight, bias, len(g.Shape(x))-1, Attrs{Epsilon: eps})
}

// RMSNorm divides the last dimension by its root mean square; weight may be
// None.
func (g *Graph) RMSNorm(x, weight Value, eps float32) Value {
	return g.norm(RMSNorm, x, weight, None, len(g.Shape(x))-1, Attrs{Epsilon: eps})
}

// GroupNorm normalizes groups of channels of x[B,C,...]; weight and bias may
// be None.
func (g *Graph) GroupNorm(x, weight, bias Value, groups int, eps float32) Value {
	if xs := g.Shape(x); len(xs) < 2 || groups < 1 || xs[1]%groups != 0 {
		return g.bad(GroupNorm, xs, "the channels of %v cannot be cut into %d groups", xs, groups)
	}
	return g.norm(GroupNorm, x, weight, bias, 1, Attrs{Epsilon: eps, Groups: groups})
}

func (g *Graph) norm(kind Kind, x, weight, bias Value, axis int, a Attrs) Value {
	xs := g.Shape(x)
	for _, w := range []Value{weight, bias} {
		if w != None && !g.Shape(w).Equal(Shape{xs[axis]}) {
			return g.bad(kind, xs, "input %v does not fit the weight %s %v", xs, g.Values[w].Name, g.Shape(w))
		}
	}
	a.HasWeight, a.HasBias = weight != None, bias != None
	return g.emit(kind, slices.Clone(xs), a, nil, x, weight, bias)
}

// Embedding gathers the rows of table[V,K] that ids[...] name.
func (g *Graph) Embedding(ids, table Value) Value {
	is, ts := g.Shape(ids), g.Shape(table)
	if len(ts) != 2 {
		return g.bad(Embedding, is, "the table %s %v must have two dimensions", g.Values[table].Name, ts)
	}
	return g.emit(Embedding, append(slices.Clone(is), ts[1]), Attrs{}, nil, ids, table)
}

// Rope rotates pairs of features of x[B,S,H·D] by the angles whose cosines
// and sines are cos and sin, each [S,D/2] or [B,S,D/2].
func (g *Graph) Rope(x, cos, sin Value, heads int, interleaved bool) Value {
	xs, cs := g.Shape(x), g.Shape(cos)
	if len(xs) != 3 || heads < 1 || xs[2]%(2*heads) != 0 || !cs.Equal(g.Shape(sin)) || len(cs) < 2 ||
		cs[len(cs)-1] != xs[2]/heads/2 || cs[len(cs)-2] != xs[1] || (len(cs) == 3 && cs[0] != xs[0]) {
		return g.bad(Rope, xs, "input %v with %d heads does not fit cos %v and sin %v", xs, heads, cs, g.Shape(sin))
	}
	return g.emit(Rope, slices.Clone(xs), Attrs{Heads: heads, Interleaved: interleaved}, nil, x, cos, sin)
}

// Softmax normalizes the exponentials of the last dimension.
func (g *Graph) Softmax(x Value) Value {
	return g.emit(Softmax, slices.Clone(g.Shape(x)), Attrs{}, nil, x)
}

// Sinusoid returns the timestep embedding [B,dim] of t[B]: cosines, then
// sines.
func (g *Graph) Sinusoid(t Value, dim int, maxPeriod float32) Value {
	ts := g.Shape(t)
	if len(ts) != 1 || dim%2 != 0 {
		return g.bad(Sinusoid, ts, "timesteps %v must have one dimension and the size %d be even", ts, dim)
	}
	return g.emit(Sinusoid, Shape{ts[0], dim}, Attrs{Dim: dim, MaxPeriod: maxPeriod}, nil, t)
}

// Concat joins tensors along a dimension.
func (g *Graph) Concat(axis int, xs ...Value) Value {
	shape := slices.Clone(g.Shape(xs[0]))
	shape[axis] = 0
	for _, x := range xs {
		s := slices.Clone(g.Shape(x))
		if len(s) != len(shape) {
			return g.bad(Concat, shape, "%v and %v cannot be joined", g.Shape(xs[0]), g.Shape(x))
		}
		shape[axis] += s[axis]
		s[axis] = shape[axis]
		if !s.Equal(shape) {
			return g.bad(Concat, shape, "%v and %v cannot be joined along dimension %d", g.Shape(xs[0]), g.Shape(x), axis)
		}
	}
	return g.emit(Concat, shape, Attrs{Axis: axis}, nil, xs...)
}

// Pad extends each dimension of x by before and after elements.
func (g *Graph) Pad(x Value, before, after []int, mode PadMode) Value {
	xs := slices.Clone(g.Shape(x))
	if len(before) != len(xs) || len(after) != len(xs) {
		return g.bad(Pad, xs, "paddings %v and %v must have a number for each dimension of %v", before, after, xs)
	}
	for i := range xs {
		if mode == PadReflect && max(before[i], after[i]) >= xs[i] {
			return g.bad(Pad, xs, "reflecting %d and %d elements needs more than the %d there are", before[i], after[i], xs[i])
		}
		xs[i] += before[i] + after[i]
	}
	return g.emit(Pad, xs, Attrs{PadBefore: before, PadAfter: after, PadMode: mode}, nil, x)
}

// Resample resizes the last len(size) dimensions of x.
func (g *Graph) Resample(x Value, mode ResampleMode, size ...int) Value {
	shape := slices.Clone(g.Shape(x))
	copy(shape[len(shape)-len(size):], size)
	return g.emit(Resample, shape, Attrs{Size: size, Mode: mode}, nil, x)
}

// Reduce combines the elements along the dimensions axes, which stay as 1.
func (g *Graph) Reduce(x Value, r Reduction, axes ...int) Value {
	shape := slices.Clone(g.Shape(x))
	for _, a := range axes {
		shape[a] = 1
	}
	return g.emit(Reduce, shape, Attrs{Axes: axes, Reduction: r}, nil, x)
}

// Rotate rotates groups of n neighbours of the last dimension by a Hadamard
// matrix. Rotating a value again by the same groups gives the same result, so
// that layers which read one input share it.
func (g *Graph) Rotate(x Value, n int) Value {
	xs := g.Shape(x)
	if len(xs) == 0 || !hadamard.Fits(n) || xs[len(xs)-1]%n != 0 {
		return g.bad(Rotate, xs, "%v cannot be rotated in groups of %d", xs, n)
	}
	key := rotation{x, n}
	v, ok := g.rotated[key]
	if !ok {
		v = g.emit(Rotate, slices.Clone(xs), Attrs{Dim: n}, nil, x)
		g.rotated[key] = v
	}
	return v
}

// Reshape returns the elements of x under a new shape. One length may be -1,
// which stands for what remains.
func (g *Graph) Reshape(x Value, shape ...int) Value {
	n := g.Shape(x).Elems()
	out := Shape(slices.Clone(shape))
	if i := slices.Index(out, -1); i >= 0 {
		out[i] = 1
		out[i] = n / max(out.Elems(), 1)
	}
	if out.Elems() != n {
		return g.bad(Reshape, out, "%v cannot become %v", g.Shape(x), Shape(shape))
	}
	return g.emit(Reshape, out, Attrs{}, nil, x)
}

// Permute reorders dimensions: dimension i of the result is axes[i] of x.
func (g *Graph) Permute(x Value, axes ...int) Value {
	xs := g.Shape(x)
	shape := make(Shape, len(axes))
	seen := make([]bool, len(axes))
	for i, a := range axes {
		if len(axes) != len(xs) || a < 0 || a >= len(xs) || seen[a] {
			return g.bad(Permute, xs, "%v is not an order of the dimensions of %v", axes, xs)
		}
		seen[a], shape[i] = true, xs[a]
	}
	return g.emit(Permute, shape, Attrs{Axes: axes}, nil, x)
}

// Slice returns the elements from..to of a dimension; axis may count from the
// end.
func (g *Graph) Slice(x Value, axis, from, to int) Value {
	shape := slices.Clone(g.Shape(x))
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) || from < 0 || to > shape[axis] || from >= to {
		return g.bad(Slice, shape, "%v has no elements %d to %d in dimension %d", shape, from, to, axis)
	}
	shape[axis] = to - from
	return g.emit(Slice, shape, Attrs{Axis: axis, From: from, To: to}, nil, x)
}

// Split cuts the dimension axis into n equal parts.
func (g *Graph) Split(x Value, axis, n int) []Value {
	shape := g.Shape(x)
	if axis < 0 {
		axis += len(shape)
	}
	parts := make([]Value, n)
	for i := range parts {
		parts[i] = g.Slice(x, axis, i*shape[axis]/n, (i+1)*shape[axis]/n)
	}
	return parts
}

// Expand broadcasts x to a shape.
func (g *Graph) Expand(x Value, shape ...int) Value {
	out, ok := Broadcast(g.Shape(x), shape)
	if !ok || !out.Equal(shape) {
		return g.bad(Expand, shape, "%v cannot be expanded to %v", g.Shape(x), Shape(shape))
	}
	if g.Shape(x).Equal(shape) {
		return x
	}
	return g.emit(Expand, out, Attrs{}, nil, x)
}

// Unary applies a function of one operand; see [Func] for a and b.
func (g *Graph) Unary(f Func, x Value, ab ...float32) Value {
	s := Step{Func: f}
	if len(ab) > 0 {
		s.A = ab[0]
	}
	if len(ab) > 1 {
		s.B = ab[1]
	}
	return g.emit(Elementwise, slices.Clone(g.Shape(x)), Attrs{}, []Step{s}, x)
}

// Binary applies a function of two operands, which are broadcast.
func (g *Graph) Binary(f Func, x, y Value) Value {
	shape, ok := Broadcast(g.Shape(x), g.Shape(y))
	if !ok {
		return g.bad(Elementwise, g.Shape(x), "%s of %v and %v", f, g.Shape(x), g.Shape(y))
	}
	return g.emit(Elementwise, shape, Attrs{}, []Step{{Func: f, Operand: 1}}, x, y)
}

// Add returns x + y.
func (g *Graph) Add(x, y Value) Value { return g.Binary(Add, x, y) }

// Sub returns x - y.
func (g *Graph) Sub(x, y Value) Value { return g.Binary(Sub, x, y) }

// Mul returns x·y.
func (g *Graph) Mul(x, y Value) Value { return g.Binary(Mul, x, y) }

// Affine returns scale·x + shift.
func (g *Graph) Affine(x Value, scale, shift float32) Value { return g.Unary(Affine, x, scale, shift) }

// SiLU returns x·sigmoid(x).
func (g *Graph) SiLU(x Value) Value { return g.Unary(SiLU, x) }

// GELU returns x·Φ(x).
func (g *Graph) GELU(x Value) Value { return g.Unary(GELU, x) }

// Modulate returns x·(1+scale) + shift, the adaptive norm of diffusion
// transformers.
func (g *Graph) Modulate(x, scale, shift Value) Value {
	return g.Add(g.Mul(x, g.Affine(scale, 1, 1)), shift)
}
