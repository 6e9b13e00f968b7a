package ir

import "slices"

// A Shape is the length of each dimension of a tensor, the slowest first.
type Shape []int

// Elems returns the number of elements.
func (s Shape) Elems() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Equal reports whether the shapes are the same.
func (s Shape) Equal(t Shape) bool { return slices.Equal(s, t) }

// Strides returns the distances between neighbours in each dimension of a
// contiguous tensor, in elements.
func (s Shape) Strides() []int {
	strides := make([]int, len(s))
	n := 1
	for i := len(s) - 1; i >= 0; i-- {
		strides[i] = n
		n *= s[i]
	}
	return strides
}

// Broadcast returns the shape that both shapes can be expanded to, by the
// rules of NumPy: aligned at the last dimension, lengths of 1 repeat.
func Broadcast(a, b Shape) (Shape, bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	off := len(a) - len(b)
	for i, n := range b {
		switch {
		case out[off+i] == n || n == 1:
		case out[off+i] == 1:
			out[off+i] = n
		default:
			return nil, false
		}
	}
	return out, true
}
