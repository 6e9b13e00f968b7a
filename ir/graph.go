package ir

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weir-run/weir/dtype"
)

// A Value is a tensor of a graph: an input, a weight or the result of an
// operation. It is an index into [Graph.Values]. The zero Value is [None].
type Value int32

// None is the absent value. Operations accept it for optional operands.
const None Value = 0

// A ValueKind says where a value comes from.
type ValueKind uint8

// The kinds of values.
const (
	Activation ValueKind = iota // the result of an operation
	Input                       // given for each run
	Weight                      // read from a checkpoint
)

// A ValueInfo describes a value.
type ValueInfo struct {
	Kind  ValueKind
	Name  string // of inputs and weights: what they are known by; of activations: the name of the operation
	DType dtype.DType
	Shape Shape
}

// An Output is a named result of a graph.
type Output struct {
	Name  string
	Value Value
}

// A Graph is a model for given shapes. Ops are in an order in which each
// comes after the producers of its operands.
type Graph struct {
	Name    string
	Values  []ValueInfo // Values[0] is None
	Ops     []Op
	Outputs []Output

	scope   []string
	weights map[string]Value
	inputs  map[string]Value
	rotated map[rotation]Value
	errs    []error
}

// A rotation is a value and the length of the groups that it is rotated in.
type rotation struct {
	of    Value
	group int
}

// New returns an empty graph.
func New(name string) *Graph {
	return &Graph{
		Name:    name,
		Values:  make([]ValueInfo, 1),
		weights: map[string]Value{},
		inputs:  map[string]Value{},
		rotated: map[rotation]Value{},
	}
}

// Err returns everything that went wrong while the graph was built: operands
// whose shapes do not fit, with the name of the operation. A graph with an
// error must not be used.
func (g *Graph) Err() error { return errors.Join(g.errs...) }

// Fail records that the model cannot be built. Only the first few errors are
// kept, since one wrong shape leads to many.
func (g *Graph) Fail(format string, args ...any) {
	if len(g.errs) < 16 {
		g.errs = append(g.errs, fmt.Errorf(g.Name+": "+format, args...))
	}
}

// In names the part of the model that the operations built by f belong to.
func (g *Graph) In(name string, f func()) {
	g.scope = append(g.scope, name)
	f()
	g.scope = g.scope[:len(g.scope)-1]
}

// Input declares a tensor that is given for each run.
func (g *Graph) Input(name string, dt dtype.DType, shape ...int) Value {
	if v, ok := g.inputs[name]; ok {
		if info := g.Values[v]; info.DType != dt || !info.Shape.Equal(shape) {
			g.Fail("input %s is declared as %v %v and as %v %v", name, info.DType, info.Shape, dt, Shape(shape))
		}
		return v
	}
	v := g.add(ValueInfo{Kind: Input, Name: name, DType: dt, Shape: slices.Clone(shape)})
	g.inputs[name] = v
	return v
}

// Weight declares a tensor of a checkpoint. Declaring it twice gives the same
// value.
func (g *Graph) Weight(name string, dt dtype.DType, shape ...int) Value {
	if v, ok := g.weights[name]; ok {
		return v
	}
	v := g.add(ValueInfo{Kind: Weight, Name: name, DType: dt, Shape: slices.Clone(shape)})
	g.weights[name] = v
	return v
}

// Output declares a value as a result of the graph.
func (g *Graph) Output(name string, v Value) {
	g.Outputs = append(g.Outputs, Output{name, v})
}

// Shape returns the shape of a value. It must not be changed.
func (g *Graph) Shape(v Value) Shape { return g.Values[v].Shape }

func (g *Graph) add(info ValueInfo) Value {
	g.Values = append(g.Values, info)
	return Value(len(g.Values) - 1)
}

// emit appends an operation and returns its result. None operands at the end
// are dropped; the caller sets the Has attributes.
func (g *Graph) emit(kind Kind, shape Shape, attrs Attrs, steps []Step, in ...Value) Value {
	name := ""
	for i, s := range g.scope {
		if i > 0 {
			name += "."
		}
		name += s
	}
	for _, n := range shape {
		if n <= 0 {
			g.Fail("%s %s: the result would have shape %v", kind, name, shape)
			break
		}
	}
	in = slices.DeleteFunc(slices.Clone(in), func(v Value) bool { return v == None })
	out := g.add(ValueInfo{Kind: Activation, Name: name, DType: dtype.F32, Shape: shape})
	g.Ops = append(g.Ops, Op{Kind: kind, Name: name, In: in, Out: out, Attrs: attrs, Steps: steps})
	return out
}

// bad records an operand that does not fit and returns a value of the given
// shape so that building can go on.
func (g *Graph) bad(kind Kind, shape Shape, format string, args ...any) Value {
	where := ""
	if len(g.scope) > 0 {
		where = " " + g.scope[len(g.scope)-1]
	}
	g.Fail("%s%s: %s", kind, where, fmt.Sprintf(format, args...))
	return g.add(ValueInfo{Kind: Activation, Name: where, DType: dtype.F32, Shape: slices.Clone(shape)})
}
