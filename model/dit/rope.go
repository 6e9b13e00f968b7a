package dit

import (
	"math"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// A Position is the place of a token on up to four axes. What an axis means is
// up to the model.
type Position [4]float64

// Axes are the axes of positions. The features of a head are dealt out to them
// in order, so many to each.
type Axes struct {
	Dims  []int   // features of each axis; their sum is that of a head
	Theta float64 // base of the frequencies
}

// Line returns n positions that grow by one along an axis, beginning at start.
func Line(start Position, axis, n int) []Position {
	at := make([]Position, n)
	for i := range at {
		at[i] = start
		at[i][axis] += float64(i)
	}
	return at
}

// Grid returns the positions of rows and columns of tokens, row by row, on the
// axes 1 and 2, beginning at start.
func Grid(start Position, rows, columns int) []Position {
	at := make([]Position, 0, rows*columns)
	for row := range rows {
		begin := start
		begin[1] += float64(row)
		at = append(at, Line(begin, 2, columns)...)
	}
	return at
}

// Tables returns the cosines and sines[len(at),D/2] of the angles by which
// pairs of features are rotated, computed in float64. Pair i of an axis with d
// features has the angle position·theta^(-2i/d) (Su et al., RoFormer).
func (a Axes) Tables(at []Position) (cos, sin []float32) {
	var periods []float64 // of the pairs of all axes
	for _, d := range a.Dims {
		for i := range d / 2 {
			periods = append(periods, math.Pow(a.Theta, float64(2*i)/float64(d)))
		}
	}
	n := len(at) * len(periods)
	cos, sin = make([]float32, 0, n), make([]float32, 0, n)
	for _, p := range at {
		pair := 0
		for axis, d := range a.Dims {
			for range d / 2 {
				s, c := math.Sincos(p[axis] / periods[pair])
				cos, sin = append(cos, float32(c)), append(sin, float32(s))
				pair++
			}
		}
	}
	return cos, sin
}

// HeadDim returns the features of a head.
func (a Axes) HeadDim() int {
	n := 0
	for _, d := range a.Dims {
		n += d
	}
	return n
}

// Angles are the tables of a graph: its inputs "cos" and "sin"[tokens,D/2].
type Angles struct{ cos, sin ir.Value }

// Inputs declares the tables for so many tokens.
func (a Axes) Inputs(g *ir.Graph, tokens int) Angles {
	n := a.HeadDim() / 2
	return Angles{g.Input("cos", dtype.F32, tokens, n), g.Input("sin", dtype.F32, tokens, n)}
}

// Of returns the angles of the tokens from..to.
func (a Angles) Of(g *ir.Graph, from, to int) Angles {
	return Angles{g.Slice(a.cos, 0, from, to), g.Slice(a.sin, 0, from, to)}
}

// rotate applies the angles to every head of x[B,tokens,heads·D]. Pairs are
// neighbouring features.
func (a Angles) rotate(g *ir.Graph, x ir.Value, heads int) ir.Value {
	if a == (Angles{}) {
		return x
	}
	return g.Rope(x, a.cos, a.sin, heads, true)
}
