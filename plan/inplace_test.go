package plan

import (
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestShareMemory tells which results are written over an operand.
func TestShareMemory(t *testing.T) {
	for _, test := range []struct {
		name   string
		shares bool
		build  func(g *ir.Graph, x ir.Value) ir.Value
	}{
		{"elementwise", true, func(g *ir.Graph, x ir.Value) ir.Value { return g.SiLU(x) }},
		{"norm", true, func(g *ir.Graph, x ir.Value) ir.Value { return g.LayerNorm(x, ir.None, ir.None, 1e-5) }},
		{"rotation", true, func(g *ir.Graph, x ir.Value) ir.Value { return g.Rotate(x, 4) }},
		{"softmax", true, func(g *ir.Graph, x ir.Value) ir.Value { return g.Softmax(x) }},
		{"linear reads rows again", false, func(g *ir.Graph, x ir.Value) ir.Value {
			return g.Linear(x, g.Weight("w", dtype.F32, 8, 8), ir.None)
		}},
		{"transposed operand", false, func(g *ir.Graph, x ir.Value) ir.Value { return g.SiLU(g.Permute(x, 1, 0)) }},
		{"part of an operand", false, func(g *ir.Graph, x ir.Value) ir.Value { return g.SiLU(g.Slice(x, 0, 0, 4)) }},
		{"norm that a step needs the input of", false, func(g *ir.Graph, x ir.Value) ir.Value {
			return g.Add(g.LayerNorm(x, ir.None, ir.None, 1e-5), x)
		}},
	} {
		g := ir.New(test.name)
		x := g.Input("x", dtype.F32, 8, 8)
		g.Output("out", test.build(g, x))
		c := compileUntil(t, g, Options{}, "arena")
		out := c.draft.outputs[0].window.of
		if shares := shareMemory(c.draft)[out] == x; shares != test.shares {
			t.Errorf("%s: the result is written over the operand: %v, want %v", test.name, shares, test.shares)
		}
		if shares := c.arena.offsets[out] == c.arena.offsets[x]; shares != test.shares {
			t.Errorf("%s: both are in one place: %v, want %v", test.name, shares, test.shares)
		}
	}
	// An operand that is needed later stays.
	g := ir.New("later")
	x := g.Input("x", dtype.F32, 8, 8)
	y := g.SiLU(x)
	g.Output("out", g.Add(g.Linear(y, g.Weight("w", dtype.F32, 8, 8), ir.None), x))
	if c := compileUntil(t, g, Options{}, "arena"); shareMemory(c.draft)[y] != y {
		t.Error("an operand is overwritten that is needed later")
	}
}
