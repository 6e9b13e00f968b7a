package plan

import (
	"slices"

	"github.com/weir-run/weir/ir"
)

// axes returns along how many of the first dimensions of its result an
// operation can be cut: elements at one place of such a dimension depend on no
// other place of it.
func (op *operation) axes() int {
	a, rank := &op.Attrs, len(op.out.shape)
	switch op.Kind {
	case ir.Elementwise:
		return rank
	case ir.Linear, ir.LayerNorm, ir.RMSNorm, ir.Softmax, ir.Embedding, ir.Rotate:
		return rank - 1
	case ir.Attention:
		if a.Causal {
			return 1 // which keys a query sees depends on its number
		}
		return 2
	case ir.Rope:
		return 2
	case ir.Concat:
		return a.Axis
	case ir.Pad:
		n := 0
		for n < rank && a.PadBefore[n] == 0 && a.PadAfter[n] == 0 {
			n++
		}
		return n
	case ir.Resample:
		return rank - len(a.Size)
	case ir.Reduce:
		return slices.Min(a.Axes)
	}
	return 1 // the batch
}

// axis returns which dimension of operand i goes along with dimension d of
// the result of an operation that can be cut along d, or -1 if the operand is
// the same for every place of d.
func (op *operation) axis(i, d int) int {
	if isStepOperand(op.Steps, i) {
		return d
	}
	switch {
	case i == 0, op.Kind == ir.Concat:
		return d
	case op.Kind == ir.Attention && i == 3 && d == 1: // the mask, after the heads
		return 2
	case op.Kind == ir.Attention && d == 0:
		return 0
	case op.Kind == ir.Rope:
		return d - 3 + len(op.args[i].shape)
	}
	return -1
}

// rowwise reports whether what an operation reads by operand i to make some
// rows of its result, where rows are the first dimensions of it, are the same
// rows of the value that the operand is a window on, which was made in the
// given shape and has the same rows.
func (op *operation) rowwise(i int, rows, made ir.Shape) bool {
	w := op.args[i]
	if len(made) < len(rows) || !made[:len(rows)].Equal(rows) {
		return false
	}
	strides := made.Strides()
	end, along := w.offset, make([]bool, len(w.shape))
	for d, n := range rows {
		e := op.axis(i, d)
		if e < 0 || w.shape[e] != n || n > 1 && w.strides[e] != strides[d] {
			return false
		}
		along[e] = true
	}
	for e, n := range w.shape {
		if !along[e] {
			end += (n - 1) * w.strides[e]
		}
	}
	return end < made[len(rows):].Elems()
}
