package plan

import (
	"slices"

	"github.com/weir-run/weir/ir"
)

// A window is a strided look at a value.
type window struct {
	of      ir.Value
	offset  int // in elements
	shape   ir.Shape
	strides []int // in elements
}

// whole returns the window that is all of a value.
func whole(v ir.Value, shape ir.Shape) window {
	return window{of: v, shape: shape, strides: shape.Strides()}
}

// contiguous reports whether the elements are dense in row-major order.
func (w window) contiguous() bool { return w.dense(0) }

// dense reports whether the dimensions from the given one on are dense in
// row-major order. The strides of dimensions of length 1 do not matter.
func (w window) dense(from int) bool {
	n := 1
	for i := len(w.shape) - 1; i >= from; i-- {
		if w.shape[i] != 1 && w.strides[i] != n {
			return false
		}
		n *= w.shape[i]
	}
	return true
}

// fits reports whether an operand may be given in this layout.
func (w window) fits(l ir.Layout) bool {
	switch l {
	case ir.Contiguous:
		return w.contiguous()
	case ir.Rows:
		return w.dense(len(w.shape) - 1)
	}
	return true
}

// canonical returns the window with the strides of dimensions of length 1 as
// they are in a contiguous tensor if it is one, so that kernels need not make
// an exception of them.
func (w window) canonical() window {
	if w.contiguous() {
		w.strides = w.shape.Strides()
	} else if n := len(w.shape); w.shape[n-1] == 1 && w.strides[n-1] != 0 {
		w.strides = slices.Clone(w.strides)
		w.strides[n-1] = 1
	}
	return w
}

// permute reorders the dimensions: dimension i becomes the old axes[i].
func (w window) permute(axes []int) window {
	shape, strides := make(ir.Shape, len(axes)), make([]int, len(axes))
	for i, a := range axes {
		shape[i], strides[i] = w.shape[a], w.strides[a]
	}
	w.shape, w.strides = shape, strides
	return w
}

// slice takes the elements from..to of a dimension.
func (w window) slice(axis, from, to int) window {
	w.shape = slices.Clone(w.shape)
	w.shape[axis] = to - from
	w.offset += from * w.strides[axis]
	return w
}

// expand broadcasts to a shape, which must be one that it can be expanded to.
func (w window) expand(shape ir.Shape) window {
	if w.shape.Equal(shape) {
		return w
	}
	strides := make([]int, len(shape))
	added := len(shape) - len(w.shape)
	for i := range w.shape {
		if w.shape[i] == shape[added+i] {
			strides[added+i] = w.strides[i]
		}
	}
	w.shape, w.strides = shape, strides
	return w
}

// reshape returns the elements in the same order under a new shape of as many
// elements, if strides can express it.
func (w window) reshape(shape ir.Shape) (window, bool) {
	if w.shape.Equal(shape) {
		return w, true
	}
	strides := make([]int, len(shape))
	// Runs of old dimensions that are dense among themselves are cut anew; each
	// new dimension must lie within one run.
	j := len(shape) - 1
	for i := len(w.shape) - 1; i >= 0; {
		if w.shape[i] == 1 {
			i--
			continue
		}
		stride, n := w.strides[i], w.shape[i]
		for i--; i >= 0 && (w.shape[i] == 1 || w.strides[i] == stride*n); i-- {
			n *= w.shape[i]
		}
		for m := 1; m < n; j-- {
			if j < 0 || n%(m*shape[j]) != 0 {
				return window{}, false
			}
			strides[j] = stride * m
			m *= shape[j]
		}
	}
	// What remains are dimensions of length 1.
	for ; j >= 0; j-- {
		if j+1 < len(shape) {
			strides[j] = strides[j+1] * shape[j+1]
		} else {
			strides[j] = 1
		}
	}
	w.shape, w.strides = shape, strides
	return w, true
}
