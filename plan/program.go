// Package plan turns a graph into a Program: a fixed list of operations with
// a fixed place in memory for every activation and a fixed order in which
// weights are used.
package plan

import (
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// A Program is a planned graph. It holds no memory and can be run any number
// of times, by several runners at once.
type Program struct {
	Name    string
	Ops     []Op
	Inputs  []Binding // what a run must be given
	Outputs []Binding // what a run gives

	// Arena is the size in bytes of the one buffer that holds every
	// activation, the inputs and outputs included: the peak of a run.
	Arena int64
	// LowerBound is the largest sum of the sizes of values that are live at
	// once. No plan of these operations in this order can use less.
	LowerBound int64

	// Regions is how many runs of operations are made in pieces so that the
	// arena is small enough, and Pieces into how many one is cut at most.
	Regions, Pieces int

	// Extents are the weights in the order in which the graph first uses them,
	// which fusion may turn around between neighbours.
	Extents []Extent
}

// An Op is an operation of a program, with the places of its operands, which
// Operand of its Steps counts. In of the embedded operation is empty.
type Op struct {
	ir.Op
	Out  Operand
	Args []Operand
	// Extents are the indices of the extents that must be resident while the
	// operation runs, in ascending order.
	Extents []int
}

// An Operand is a window on the arena or on a weight.
type Operand struct {
	// Extent is the index of the extent and Part the index of its part, or
	// Extent is -1 for activations.
	Extent, Part int
	Offset       int64  // bytes from the beginning of the arena, or of the part
	Skip         int    // elements of the block at Offset before the first, of block-quantized weights
	Name         string // of weights
	DType        dtype.DType
	Shape        ir.Shape
	Strides      []int // in elements
}

// A Binding is the place of an input or output in the arena.
type Binding struct {
	Name   string
	Offset int64
	Bytes  int64
	DType  dtype.DType
	Shape  ir.Shape
}

// An Extent is the unit of residency: weights that are used together.
type Extent struct {
	Name  string // of the part of the model, for people
	Bytes int64
	Parts []Part
}

// A Part is a run of bytes of one weight: all of it or a tile of rows.
type Part struct {
	Weight      string // the name in the checkpoint
	From, Bytes int64  // within the weight
	At          int64  // where it begins in the extent, a multiple of Align
}

// Align is what offsets of activations and of the parts of extents are
// multiples of, in bytes: a cache line.
const Align = 64

// Options are what a plan depends on besides the graph.
type Options struct {
	// MaxExtent is the largest size of an extent in bytes. Weights that are
	// larger are cut into tiles of rows. 0 means 64 MiB.
	MaxExtent int64
	// Group, if it is not nil, returns the group of a weight. Weights of
	// different groups share no extent, so that what one group has stays the same
	// whatever others there are: a checkpoint beside LoRAs.
	Group func(weight string) string
	// Arena is the size in bytes that the arena should not exceed; 0 is no
	// limit. If the activations need more, as many operations as it takes are
	// made in pieces, whose results are the same bits. A program that is still
	// too large is the smallest there is: the caller looks at its size.
	Arena int64
}
