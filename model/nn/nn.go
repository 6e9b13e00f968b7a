// Package nn builds layers by the names their weights have in a checkpoint,
// with the LoRAs that lie on top of them.
package nn

import (
	"slices"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
)

// A Source says what weights there are. It has no bytes.
type Source interface {
	// Lookup returns the dtype and shape of a weight.
	Lookup(name string) (dtype.DType, ir.Shape, bool)
	// Adapters returns the LoRAs on a weight, in the order they are applied.
	Adapters(weight string) []Adapter
}

// An Adapter is a LoRA on one weight W[N,K]: the layer's result becomes
// W·x + Strength·Scale·Up·(Mid·)Down·x. Nothing of W is touched.
type Adapter struct {
	// Down[rank,K], Up[N,rank] and Mid, which is "" but for convolutions cut in
	// three, are names of weights in the source. Those of convolutions have
	// kernels: Down the base's, or Mid the base's and Down 1×1.
	Down, Up, Mid string
	// From and Rows, when Rows > 0, say that the adapter is on the rows
	// From..From+Rows of W alone, as when W is query, key and value in one.
	From, Rows int
	// Scale is alpha over rank.
	Scale float32
	// Strength is the name of the graph input of shape [1] that the user's
	// strength is given in, so that changing it plans nothing again.
	Strength string
}

// A Scope is a place in a checkpoint: a graph to build in, weights, and the
// prefix of their names. It is a value; copying it is cheap.
type Scope struct {
	g      *ir.Graph
	src    Source
	prefix string
	audit  *Audit // told of weights that do not fit; may be nil
}

// NewScope returns the scope of a whole checkpoint.
func NewScope(g *ir.Graph, src Source) Scope { return Scope{g: g, src: src} }

// Graph returns the graph that is built.
func (s Scope) Graph() *ir.Graph { return s.g }

// Sub returns the scope of the names that begin with prefix, which ends in a
// dot unless it is empty.
func (s Scope) Sub(prefix string) Scope {
	s.prefix += prefix
	return s
}

// Weight returns the weight NAME, whose shape the network states. One that is
// missing, has another shape, holds integers or is quantized makes the graph
// fail.
func (s Scope) Weight(name string, shape ...int) ir.Value {
	w, p := s.packed(name, shape...)
	if p != (Packing{}) {
		s.fail(misfit{name: s.prefix + name, quantized: true})
	}
	return w
}

// fail records a weight that the network cannot read.
func (s Scope) fail(f misfit) {
	s.g.Fail("%v", f)
	if s.audit != nil {
		s.audit.faults = append(s.audit.faults, f)
	}
}

// Linear applies NAME.weight[n,K] and NAME.bias[n] to x[...,K].
func (s Scope) Linear(name string, x ir.Value, n int) ir.Value {
	return s.LinearOf(name+".weight", name+".bias", x, n)
}

// Project applies NAME.weight[n,K] to x[...,K], without a bias.
func (s Scope) Project(name string, x ir.Value, n int) ir.Value {
	return s.LinearOf(name+".weight", "", x, n)
}

// LinearOf is Linear for weights whose names do not end in ".weight" and
// ".bias". A bias of "" is none.
func (s Scope) LinearOf(weight, bias string, x ir.Value, n int) (y ir.Value) {
	s.g.In(s.prefix+weight, func() {
		in := s.g.Shape(x)
		b := ir.None
		if bias != "" {
			b = s.Weight(bias, n)
		}
		w, p := s.packed(weight, n, in[len(in)-1])
		y = s.unpack(p, x, b, 1, func(x, bias ir.Value) ir.Value { return s.g.Linear(x, w, bias) })
		for _, a := range s.src.Adapters(s.prefix + weight) {
			y = s.addLinear(y, x, a)
		}
	})
	return y
}

// addLinear adds what an adapter makes of x to y.
func (s Scope) addLinear(y, x ir.Value, a Adapter) ir.Value {
	h := s.g.Linear(x, s.factor(a.Down, 2), ir.None)
	h = s.strength(h, a)
	h = s.g.Linear(h, s.factor(a.Up, 2), ir.None)
	return s.addRows(y, h, len(s.g.Shape(y))-1, a)
}

// factor returns a matrix of an adapter as a weight of so many dimensions: of
// those at the end that are 1, some are left out or put in.
func (s Scope) factor(name string, dims int) ir.Value {
	dt, shape, ok := s.src.Lookup(name)
	if !ok || slices.Contains(shape, 0) {
		s.g.Fail("the tensor %s of a LoRA is missing or empty: it has the shape %v", fault.Name(name), shape)
		dt, shape = dtype.F32, ir.Shape{1, 1}
	}
	w := s.g.Weight(name, dt, shape...)
	shape = slices.Clone(shape)
	for len(shape) > dims && shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	for len(shape) < dims {
		shape = append(shape, 1)
	}
	if len(shape) == len(s.g.Shape(w)) {
		return w
	}
	return s.g.Reshape(w, shape...)
}

// addRows adds the result of an adapter, which may be on some features alone.
func (s Scope) addRows(y, h ir.Value, axis int, a Adapter) ir.Value {
	all := s.g.Shape(y)[axis]
	if a.Rows == 0 || a.Rows == all {
		return s.g.Add(y, h)
	}
	var parts []ir.Value
	if a.From > 0 {
		parts = append(parts, s.g.Slice(y, axis, 0, a.From))
	}
	parts = append(parts, s.g.Add(s.g.Slice(y, axis, a.From, a.From+a.Rows), h))
	if end := a.From + a.Rows; end < all {
		parts = append(parts, s.g.Slice(y, axis, end, all))
	}
	return s.g.Concat(axis, parts...)
}

// strength multiplies by what the user set and by alpha over rank. It is done
// in the low rank, where it is cheapest.
func (s Scope) strength(h ir.Value, a Adapter) ir.Value {
	return s.g.Affine(s.g.Mul(h, s.g.Input(a.Strength, dtype.F32, 1)), a.Scale, 0)
}

// Conv applies the convolution NAME.weight[n,C,size,...] and NAME.bias[n] to
// x[B,C,...].
func (s Scope) Conv(name string, x ir.Value, n, size int, o ir.ConvOptions) (y ir.Value) {
	s.g.In(s.prefix+name, func() {
		in := s.g.Shape(x)
		shape := []int{n, in[1]}
		for range in[2:] {
			shape = append(shape, size)
		}
		w, p := s.packed(name+".weight", shape...)
		y = s.unpack(p, x, s.Weight(name+".bias", n), len(in)-1, func(x, bias ir.Value) ir.Value { return s.g.Conv(x, w, bias, o) })
		for _, a := range s.src.Adapters(s.prefix + name + ".weight") {
			y = s.addConv(y, x, o, a)
		}
	})
	return y
}

// addConv adds what an adapter makes of x to y. The kernel of the base is in
// Mid if there is one, otherwise in Down; the others are 1×1.
func (s Scope) addConv(y, x ir.Value, o ir.ConvOptions, a Adapter) ir.Value {
	conv := func(h ir.Value, name string, o ir.ConvOptions) ir.Value {
		return s.g.Conv(h, s.factor(name, len(s.g.Shape(h))), ir.None, o)
	}
	h := x
	if a.Mid == "" {
		h = conv(h, a.Down, o)
	} else {
		h = conv(conv(h, a.Down, ir.ConvOptions{}), a.Mid, o)
	}
	h = conv(s.strength(h, a), a.Up, ir.ConvOptions{})
	return s.addRows(y, h, 1, a)
}

// LayerNorm normalizes the last dimension of x[...,K] by NAME.weight[K] and
// NAME.bias[K].
func (s Scope) LayerNorm(name string, x ir.Value, eps float32) (y ir.Value) {
	s.g.In(s.prefix+name, func() {
		shape := s.g.Shape(x)
		n := shape[len(shape)-1]
		y = s.g.LayerNorm(x, s.Weight(name+".weight", n), s.Weight(name+".bias", n), eps)
	})
	return y
}

// RMSNorm divides the last dimension of x[...,K] by its root mean square and
// multiplies it by NAME.weight[K].
func (s Scope) RMSNorm(name string, x ir.Value, eps float32) ir.Value {
	return s.RMSNormOf(name+".weight", x, eps)
}

// RMSNormOf is RMSNorm for a weight whose name does not end in ".weight".
func (s Scope) RMSNormOf(weight string, x ir.Value, eps float32) (y ir.Value) {
	s.g.In(s.prefix+weight, func() {
		shape := s.g.Shape(x)
		y = s.g.RMSNorm(x, s.Weight(weight, shape[len(shape)-1]), eps)
	})
	return y
}

// GroupNorm normalizes groups of channels of x[B,C,...] by NAME.weight[C] and
// NAME.bias[C].
func (s Scope) GroupNorm(name string, x ir.Value, groups int, eps float32) (y ir.Value) {
	s.g.In(s.prefix+name, func() {
		n := s.g.Shape(x)[1]
		y = s.g.GroupNorm(x, s.Weight(name+".weight", n), s.Weight(name+".bias", n), groups, eps)
	})
	return y
}
