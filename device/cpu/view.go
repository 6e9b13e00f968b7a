package cpu

import (
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// maxRank is the largest number of dimensions of an operand.
const maxRank = 8

// A view is an operand that was found to lie within its buffer.
type view struct {
	name    string
	dt      dtype.DType
	size    int       // of an element in bytes, 0 of block-quantized types
	skip    int       // elements of the first block before the first, of block-quantized types
	data    []byte    // from the first to the last element, of block-quantized types from block to block
	f32     []float32 // data, when it holds aligned float32s
	shape   []int
	strides []int
}

// newView checks an operand.
func newView(t device.Tensor) (view, error) {
	block, _ := t.DType.Block()
	if block == 0 {
		return view{}, fmt.Errorf("has no dtype: %v", t.DType)
	}
	if t.Skip < 0 || t.Skip >= block {
		return view{}, fmt.Errorf("begins at element %d of a block of %d elements of %v", t.Skip, block, t.DType)
	}
	if len(t.Shape) > maxRank || len(t.Strides) != len(t.Shape) {
		return view{}, fmt.Errorf("has the shape %v and the strides %v: expected as many of each, at most %d", t.Shape, t.Strides, maxRank)
	}
	elems, last := int64(1), int64(0)
	for i, n := range t.Shape {
		s := t.Strides[i]
		if n <= 0 || s < 0 || int64(n) > math.MaxInt32 || int64(s) > math.MaxInt64/16/int64(n) || elems > math.MaxInt64/16/int64(n) {
			return view{}, fmt.Errorf("has the shape %v and the strides %v", t.Shape, t.Strides)
		}
		elems *= int64(n)
		if last += int64(n-1) * int64(s); last > math.MaxInt64/16 {
			return view{}, fmt.Errorf("has the shape %v and the strides %v", t.Shape, t.Strides)
		}
	}
	data, err := window(t.Buffer, t.Offset, t.DType.Bytes(int64(t.Skip)+last+1))
	if err != nil {
		return view{}, fmt.Errorf("of shape %v and strides %v: %w", t.Shape, t.Strides, err)
	}
	v := view{name: t.Name, dt: t.DType, size: t.DType.Size(), skip: t.Skip, data: data, shape: t.Shape, strides: t.Strides}
	if t.DType == dtype.F32 {
		v.f32, _ = dtype.ViewF32(data)
	}
	return v, nil
}

// elems returns the number of elements.
func (v *view) elems() int { return ir.Shape(v.shape).Elems() }

// is reports whether the operand has the given shape.
func (v *view) is(shape ...int) bool { return slices.Equal(v.shape, shape) }

// has reports whether the operand is in a layout.
func (v *view) has(l ir.Layout) bool {
	if l == ir.Strided {
		return true
	}
	n := 1
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] > 1 && v.strides[i] != n {
			return false
		}
		if l == ir.Rows {
			return true
		}
		n *= v.shape[i]
	}
	return true
}

// at returns the element at an offset in elements.
func (v *view) at(off int) float32 {
	if v.f32 != nil {
		return v.f32[off]
	}
	var x [1]float32
	v.read(x[:], off, 1)
	return x[0]
}

// read fills dst with elements, the first at off and each stride after the
// one before.
func (v *view) read(dst []float32, off, stride int) {
	switch {
	case stride == 0:
		fill(dst, v.at(off))
	case v.f32 != nil && stride == 1:
		copy(dst, v.f32[off:][:len(dst)])
	case v.f32 != nil:
		for i := range dst {
			dst[i] = v.f32[off]
			off += stride
		}
	case stride > 1:
		for i := range dst {
			v.read(dst[i:i+1], off, 1)
			off += stride
		}
	case v.size == 0:
		v.dequantize(dst, off)
	default:
		dtype.ToF32(dst, v.data[off*v.size:][:len(dst)*v.size], v.dt)
	}
}

// dequantize fills dst with neighbouring elements of a block-quantized operand,
// the first at off. What is asked for may begin and end within a block.
func (v *view) dequantize(dst []float32, off int) {
	elems, size := v.dt.Block()
	off += v.skip
	data, within := v.data[off/elems*size:], off%elems
	for len(dst) > 0 {
		if n := len(dst) / elems; within == 0 && n > 0 {
			dtype.ToF32(dst[:n*elems], data[:n*size], v.dt)
			dst, data = dst[n*elems:], data[n*size:]
			continue
		}
		var block [dtype.MaxBlock]float32
		end := min(within+len(dst), elems)
		dtype.PartOfBlock(&block, data[:size], v.dt, within, end)
		n := copy(dst, block[within:end])
		dst, data, within = dst[n:], data[size:], 0
	}
}

// slice returns n neighbouring elements as read does, in place when they can
// be and in buf when not.
func (v *view) slice(buf []float32, off, stride, n int) []float32 {
	if v.f32 != nil && stride == 1 {
		return v.f32[off:][:n]
	}
	v.read(buf[:n], off, stride)
	return buf[:n]
}

func fill(dst []float32, x float32) {
	for i := range dst {
		dst[i] = x
	}
}

// A space is the dimensions of an output, joined where every operand that is
// read along with it allows.
type space struct {
	rank int
	dims [maxRank]int
}

// last returns the length of the last dimension.
func (s *space) last() int { return s.dims[s.rank-1] }

// strides are the distances of an operand's neighbours in each dimension of a
// space.
type strides [maxRank]int

// broadcast returns the strides with which an operand of the given shape is
// read along shape, and whether it can be.
func broadcast(v *view, shape []int) (s strides, ok bool) {
	skip := len(shape) - len(v.shape)
	if skip < 0 {
		return s, false
	}
	for i, n := range v.shape {
		switch {
		case n == shape[skip+i]:
			s[skip+i] = v.strides[i]
		case n != 1:
			return s, false
		}
	}
	return s, true
}

// join returns the space of a shape with as few dimensions as the operands
// allow, and changes their strides to match.
func join(shape []int, operands []*strides) space {
	var s space
	for i, n := range shape {
		if n == 1 {
			continue
		}
		joined := s.rank > 0
		for _, o := range operands {
			joined = joined && o[s.rank-1] == o[i]*n
		}
		if joined {
			s.rank--
			n *= s.dims[s.rank]
		}
		s.dims[s.rank] = n
		for _, o := range operands {
			o[s.rank] = o[i]
		}
		s.rank++
	}
	if s.rank == 0 {
		s.rank, s.dims[0] = 1, 1
	}
	return s
}

// locate returns the offset in an operand of element i of the space, in
// row-major order.
func (s *space) locate(i int, o *strides) int {
	off := 0
	for d := s.rank - 1; d > 0; d-- {
		q := i / s.dims[d]
		off += (i - q*s.dims[d]) * o[d]
		i = q
	}
	return off + i*o[0]
}
