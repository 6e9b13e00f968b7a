package plan

import (
	"fmt"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestFuse tells for small graphs which operations remain, with their steps.
func TestFuse(t *testing.T) {
	linear := func(g *ir.Graph, x ir.Value, name string) ir.Value {
		return g.Linear(x, g.Weight(name, dtype.F32, 8, 8), ir.None)
	}
	for _, test := range []struct {
		name, want string
		build      func(g *ir.Graph, x ir.Value) ir.Value
	}{
		{"activation and residual", "linear silu add", func(g *ir.Graph, x ir.Value) ir.Value {
			return g.Add(g.SiLU(linear(g, x, "w")), x)
		}},
		{"residual the other way around", "linear add", func(g *ir.Graph, x ir.Value) ir.Value {
			return g.Add(x, linear(g, x, "w"))
		}},
		{"a difference is not turned around", "linear; elementwise sub", func(g *ir.Graph, x ir.Value) ir.Value {
			return g.Sub(x, linear(g, x, "w"))
		}},
		{"a gate goes to the later layer", "linear; linear gelu mul", func(g *ir.Graph, x ir.Value) ir.Value {
			a, b := linear(g, x, "a"), linear(g, x, "b")
			return g.Mul(a, g.GELU(b))
		}},
		{"what is read twice stays", "linear; elementwise silu; elementwise gelu add", func(g *ir.Graph, x ir.Value) ir.Value {
			y := linear(g, x, "w")
			return g.Add(g.SiLU(y), g.GELU(y))
		}},
		{"through a reshape", "linear silu", func(g *ir.Graph, x ir.Value) ir.Value {
			return g.SiLU(g.Reshape(linear(g, x, "w"), 8, 2, 8))
		}},
		{"not through a slice", "linear; elementwise silu", func(g *ir.Graph, x ir.Value) ir.Value {
			return g.SiLU(g.Slice(linear(g, x, "w"), 1, 0, 4))
		}},
		{"past something small", "linear; linear add", func(g *ir.Graph, x ir.Value) ir.Value {
			y := linear(g, x, "w")
			return g.Add(y, linear(g, g.Slice(x, 0, 0, 1), "emb"))
		}},
		{"not past something large", "linear; linear; elementwise add; linear mul", func(g *ir.Graph, x ir.Value) ir.Value {
			y := linear(g, x, "w")
			z := g.Slice(linear(g, g.Concat(0, x, x), "z"), 0, 4, 20)
			return g.Mul(g.Add(y, g.Slice(z, 0, 0, 16)), linear(g, z, "v"))
		}},
	} {
		g := ir.New(test.name)
		x := g.Input("x", dtype.F32, 16, 8)
		g.Output("out", test.build(g, x))
		got := ""
		for _, op := range compileUntil(t, g, Options{}, "fusion").draft.ops {
			if op.Kind == ir.Concat {
				continue
			}
			if got != "" {
				got += "; "
			}
			got += op.Kind.String()
			for _, s := range op.Steps {
				got += fmt.Sprintf(" %s", s.Func)
			}
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
