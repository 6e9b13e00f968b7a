// Package nn builds layers by the names their weights have in a checkpoint,
// with the LoRAs that lie on top of them.
package nn

import (
	"github.com/weir-run/weir/dtype"
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
}

// NewScope returns the scope of a whole checkpoint.
func NewScope(g *ir.Graph, src Source) Scope { return Scope{g, src, ""} }

// Graph returns the graph that is built.
func (s Scope) Graph() *ir.Graph { return s.g }

// Sub returns the scope of the names that begin with prefix, which ends in a
// dot unless it is empty.
func (s Scope) Sub(prefix string) Scope { return Scope{s.g, s.src, s.prefix + prefix} }

// Has reports whether there is a weight of that name.
func (s Scope) Has(name string) bool {
	_, _, ok := s.src.Lookup(s.prefix + name)
	return ok
}

// Weight returns a weight. One that is missing makes the graph fail.
func (s Scope) Weight(name string) ir.Value {
	dt, shape, ok := s.src.Lookup(s.prefix + name)
	if !ok {
		s.g.Fail("the checkpoint has no tensor %s", s.prefix+name)
		return s.g.Weight(s.prefix+name, dtype.F32, 1)
	}
	return s.g.Weight(s.prefix+name, dt, shape...)
}

// optional returns a weight or None.
func (s Scope) optional(name string) ir.Value {
	if !s.Has(name) {
		return ir.None
	}
	return s.Weight(name)
}

// Linear applies NAME.weight and NAME.bias, if there is one, to x[...,K]. A
// weight that is stored as a 1×1 convolution is read as a matrix.
func (s Scope) Linear(name string, x ir.Value) ir.Value {
	return s.LinearOf(name+".weight", name+".bias", x)
}

// LinearOf is Linear for weights whose names do not end in ".weight" and
// ".bias".
func (s Scope) LinearOf(weight, bias string, x ir.Value) (y ir.Value) {
	s.g.In(s.prefix+weight, func() {
		y = s.g.Linear(x, s.matrix(s.Weight(weight)), s.optional(bias))
		for _, a := range s.src.Adapters(s.prefix + weight) {
			y = s.addLinear(y, x, a)
		}
	})
	return y
}

// matrix reads the weight of a 1×1 convolution as that of a linear layer.
func (s Scope) matrix(w ir.Value) ir.Value {
	shape := s.g.Shape(w)
	for len(shape) > 2 && shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	if len(shape) == len(s.g.Shape(w)) {
		return w
	}
	return s.g.Reshape(w, shape...)
}

// addLinear adds what an adapter makes of x to y.
func (s Scope) addLinear(y, x ir.Value, a Adapter) ir.Value {
	root := Scope{s.g, s.src, ""}
	h := s.g.Linear(x, s.matrix(root.Weight(a.Down)), ir.None)
	h = s.strength(h, a)
	h = s.g.Linear(h, s.matrix(root.Weight(a.Up)), ir.None)
	return s.addRows(y, h, len(s.g.Shape(y))-1, a)
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

// Conv applies the convolution NAME.weight and NAME.bias, if there is one, to
// x[B,C,...].
func (s Scope) Conv(name string, x ir.Value, o ir.ConvOptions) (y ir.Value) {
	s.g.In(s.prefix+name, func() {
		y = s.g.Conv(x, s.kernel(s.Weight(name+".weight"), x), s.optional(name+".bias"), o)
		for _, a := range s.src.Adapters(s.prefix + name + ".weight") {
			y = s.addConv(y, x, o, a)
		}
	})
	return y
}

// kernel reads a matrix as a 1×1 convolution of as many dimensions as x has.
func (s Scope) kernel(w, x ir.Value) ir.Value {
	shape := append(ir.Shape{}, s.g.Shape(w)...)
	if len(shape) == len(s.g.Shape(x)) {
		return w
	}
	for len(shape) < len(s.g.Shape(x)) {
		shape = append(shape, 1)
	}
	return s.g.Reshape(w, shape...)
}

// addConv adds what an adapter makes of x to y. The kernel of the base is in
// Mid if there is one, otherwise in Down; the others are 1×1.
func (s Scope) addConv(y, x ir.Value, o ir.ConvOptions, a Adapter) ir.Value {
	root := Scope{s.g, s.src, ""}
	conv := func(h ir.Value, name string, o ir.ConvOptions) ir.Value {
		return s.g.Conv(h, s.kernel(root.Weight(name), h), ir.None, o)
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

// LayerNorm normalizes the last dimension by NAME.weight and NAME.bias.
func (s Scope) LayerNorm(name string, x ir.Value, eps float32) (y ir.Value) {
	s.g.In(s.prefix+name, func() {
		y = s.g.LayerNorm(x, s.Weight(name+".weight"), s.optional(name+".bias"), eps)
	})
	return y
}

// GroupNorm normalizes groups of channels by NAME.weight and NAME.bias.
func (s Scope) GroupNorm(name string, x ir.Value, groups int, eps float32) (y ir.Value) {
	s.g.In(s.prefix+name, func() {
		y = s.g.GroupNorm(x, s.Weight(name+".weight"), s.Weight(name+".bias"), groups, eps)
	})
	return y
}
