package plan

import (
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestSplitGates splits a projection, and with a side path the last layer of
// that, and leaves alone what is needed whole.
func TestSplitGates(t *testing.T) {
	for _, test := range []struct {
		name    string
		linears int // after the pass
		build   func(g *ir.Graph, x, y ir.Value) ir.Value
	}{
		{"gate", 2, func(g *ir.Graph, x, y ir.Value) ir.Value {
			p := g.Split(y, -1, 2)
			return g.Mul(p[0], g.GELU(p[1]))
		}},
		{"gate first", 2, func(g *ir.Graph, x, y ir.Value) ir.Value {
			p := []ir.Value{g.Slice(y, 1, 4, 8), g.Slice(y, 1, 0, 4)}
			return g.Mul(p[0], g.GELU(p[1]))
		}},
		{"gate and side path", 5, func(g *ir.Graph, x, y ir.Value) ir.Value {
			side := g.Linear(g.Linear(x, g.Weight("a", dtype.F32, 2, 6), ir.None), g.Weight("b", dtype.F32, 8, 2), ir.None)
			p := g.Split(g.Add(y, side), -1, 2)
			return g.Mul(p[0], g.GELU(p[1]))
		}},
		{"three parts", 3, func(g *ir.Graph, x, y ir.Value) ir.Value {
			p := []ir.Value{g.Slice(y, 1, 2, 4), g.Slice(y, 1, 0, 2), g.Slice(y, 1, 4, 8)}
			return g.Mul(g.Add(p[0], p[1]), g.Slice(p[2], 1, 1, 3))
		}},
		{"a part that is cut again", 3, func(g *ir.Graph, x, y ir.Value) ir.Value {
			p := g.Split(g.Slice(y, 1, 2, 8), -1, 2)
			return g.Concat(1, g.Mul(p[0], g.GELU(p[1])), g.Slice(y, 1, 0, 2))
		}},
		{"parts that leave a gap", 1, func(g *ir.Graph, x, y ir.Value) ir.Value {
			p := []ir.Value{g.Slice(y, 1, 0, 2), g.Slice(y, 1, 2, 4), g.Slice(y, 1, 4, 6)}
			return g.Add(g.Mul(p[0], p[1]), p[2])
		}},
		{"parts that overlap", 1, func(g *ir.Graph, x, y ir.Value) ir.Value {
			return g.Mul(g.Slice(y, 1, 0, 5), g.Slice(y, 1, 3, 8))
		}},
		{"rows", 1, func(g *ir.Graph, x, y ir.Value) ir.Value {
			p := g.Split(y, 0, 2)
			return g.Mul(p[0], p[1])
		}},
		{"needed whole too", 1, func(g *ir.Graph, x, y ir.Value) ir.Value {
			p := g.Split(y, -1, 2)
			return g.Concat(1, y, g.Mul(p[0], p[1]))
		}},
	} {
		g := ir.New(test.name)
		x := g.Input("x", dtype.F32, 4, 6)
		y := g.Linear(x, g.Weight("w", dtype.F32, 8, 6), g.Weight("bias", dtype.F32, 8))
		g.Output("out", test.build(g, x, y))
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		n := 0
		s := compileUntil(t, g, Options{}, "gates")
		for _, op := range s.graph.Ops {
			if op.Kind == ir.Linear {
				n++
			}
		}
		if n != test.linears {
			t.Errorf("%s: %d linear operations, want %d", test.name, n, test.linears)
		}
	}
}
