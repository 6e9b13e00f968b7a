// Package hadamard rotates groups of numbers by a regular Hadamard matrix, as
// ConvRot does to weights before they are quantized and to what they are
// multiplied with: outliers are spread over their group.
//
// The matrix of 4ⁿ rows is the Kronecker product of n equal matrices of four,
// divided by 2ⁿ:
//
//	 1  1  1 -1
//	 1  1 -1  1
//	 1 -1  1  1
//	-1  1  1  1
//
// It is symmetric and its own inverse.
package hadamard

// MaxGroup is the largest group that [Fits] allows.
const MaxGroup = 1024

// Fits reports whether there is a matrix for groups of n numbers: n is 4, 16,
// 64, 256 or 1024.
func Fits(n int) bool {
	for m := 4; m <= MaxGroup; m *= 4 {
		if m == n {
			return true
		}
	}
	return false
}

// Rotate multiplies every group of n numbers of x by the matrix of n rows, in
// place. The length of x is a multiple of n, and n is one that [Fits] allows.
//
// The product is log₄(n) rounds, as in a fast Fourier transform: a round takes
// four numbers a, b, c and d that lie 4ⁱ apart to h-d, h-c, h-b and h-a, where h
// is half of their sum.
func Rotate(x []float32, n int) {
	for ; len(x) > 0; x = x[n:] {
		group := x[:n]
		first(group)
		for apart := 4; apart < n; apart *= 4 {
			for at := 0; at < n; at += 4 * apart {
				round(group[at:at+apart], group[at+apart:at+2*apart], group[at+2*apart:at+3*apart], group[at+3*apart:at+4*apart])
			}
		}
	}
}

// first is the round of neighbours.
func first(x []float32) {
	for ; len(x) >= 4; x = x[4:] {
		q := (*[4]float32)(x)
		a, b, c, d := q[0], q[1], q[2], q[3]
		h := ((a + b) + (c + d)) * 0.5
		q[0], q[1], q[2], q[3] = h-d, h-c, h-b, h-a
	}
}

// round is a round of four runs of equal length.
func round(w, x, y, z []float32) {
	x, y, z = x[:len(w)], y[:len(w)], z[:len(w)]
	for i := range w {
		a, b, c, d := w[i], x[i], y[i], z[i]
		h := ((a + b) + (c + d)) * 0.5
		w[i], x[i], y[i], z[i] = h-d, h-c, h-b, h-a
	}
}
