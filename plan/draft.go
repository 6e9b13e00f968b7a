package plan

import "github.com/weir-run/weir/ir"

// A draft is a graph whose views have become windows on the values that they
// look at. The passes between a graph and a Program work on it.
type draft struct {
	values  []ir.ValueInfo // those of the graph, then those that passes add
	ops     []*operation
	inputs  []ir.Value
	outputs []output

	regions, pieces int // how many regions there are, and the most pieces of one
}

// An operation is an ir.Op with windows for operands. Operands of Elementwise
// and of steps have the shape of the result.
type operation struct {
	ir.Op // In is not used
	out   window
	args  []window
	piece bool // whether it makes a piece of what a region makes
}

// An output is a result of the program: a window on all of an activation.
type output struct {
	name   string
	window window
}

// bytes returns the size of a value.
func (s *draft) bytes(v ir.Value) int64 {
	info := &s.values[v]
	return info.DType.Bytes(int64(info.Shape.Elems()))
}
