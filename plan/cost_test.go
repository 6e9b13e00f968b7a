package plan

import (
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestCosts compares with the arithmetic counted by hand: two for each product
// and sum, and the bytes that are read and written.
func TestCosts(t *testing.T) {
	for _, test := range []struct {
		name              string
		arithmetic, words float64 // of four bytes
		build             func(g *ir.Graph) ir.Value
	}{
		// 64 to 256 features of 10 rows.
		{"linear", 2 * 10 * 64 * 256, 10*64 + 256*64 + 10*256, func(g *ir.Graph) ir.Value {
			return g.Linear(g.Input("x", dtype.F32, 10, 64), g.Weight("w", dtype.F32, 256, 64), ir.None)
		}},
		// 3×3 over 8×6 pixels, of 5 to 7 channels.
		{"convolution", 2 * 8 * 6 * 7 * 5 * 9, 5*8*6 + 7*5*9 + 7*8*6, func(g *ir.Graph) ir.Value {
			return g.Conv(g.Input("x", dtype.F32, 1, 5, 8, 6), g.Weight("w", dtype.F32, 7, 5, 3, 3), ir.None, ir.ConvOptions{Pad: []int{1}})
		}},
		// The same in 2 groups: each channel sees half of the others.
		{"convolution in groups", 2 * 8 * 6 * 8 * 3 * 9, 6*8*6 + 8*3*9 + 8*8*6, func(g *ir.Graph) ir.Value {
			return g.Conv(g.Input("x", dtype.F32, 1, 6, 8, 6), g.Weight("w", dtype.F32, 8, 3, 3, 3), ir.None, ir.ConvOptions{Pad: []int{1}, Groups: 2})
		}},
		// 10 queries on 20 keys, 4 heads of 8 features: scores, then values.
		{"attention", 2 * 4 * 10 * 20 * (8 + 8), 10*32 + 20*32 + 20*32 + 10*32, func(g *ir.Graph) ir.Value {
			return g.Attention(g.Input("q", dtype.F32, 1, 10, 32), g.Input("k", dtype.F32, 1, 20, 32), g.Input("v", dtype.F32, 1, 20, 32), ir.AttentionOptions{Heads: 4})
		}},
		// Four rows of a table are read, not all of it.
		{"embedding", 8 * 4 * 16, 2 * 4 * 16, func(g *ir.Graph) ir.Value {
			return g.Embedding(g.Input("ids", dtype.I32, 4), g.Weight("w", dtype.F32, 5000, 16))
		}},
		{"reduction", 10 * 64, 10*64 + 64, func(g *ir.Graph) ir.Value {
			return g.Reduce(g.Input("x", dtype.F32, 10, 64), ir.Mean, 0)
		}},
		{"elementwise", 9 * 10 * 64, 2 * 10 * 64, func(g *ir.Graph) ir.Value { return g.SiLU(g.Input("x", dtype.F32, 10, 64)) }},
	} {
		g := ir.New(test.name)
		g.Output("y", test.build(g))
		p := compile(t, g, Options{})
		if got, want := p.Costs(), test.arithmetic+balance*4*test.words; len(got) != 1 || got[0] != want {
			t.Errorf("%s costs %v, want %v", test.name, got, want)
		}
	}
}
