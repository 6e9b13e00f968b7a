package plan

import (
	"fmt"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestWindows compares the strides of views with those counted by hand, of a
// value of the shape 4×6.
func TestWindows(t *testing.T) {
	w := whole(1, ir.Shape{4, 6})
	reshaped := func(w window, shape ...int) string {
		r, ok := w.reshape(shape)
		if !ok {
			return "no"
		}
		return fmt.Sprint(r.offset, r.shape, r.strides)
	}
	for i, test := range []struct{ got, want string }{
		{reshaped(w, 2, 2, 6), "0 [2 2 6] [12 6 1]"},
		{reshaped(w, 24), "0 [24] [1]"},
		{reshaped(w, 8, 3), "0 [8 3] [3 1]"},
		{reshaped(w.permute([]int{1, 0}), 24), "no"},
		{reshaped(w.permute([]int{1, 0}), 3, 2, 4), "0 [3 2 4] [2 1 6]"},
		{reshaped(w.permute([]int{1, 0}), 1, 6, 4, 1), "0 [1 6 4 1] [6 1 6 6]"},
		{reshaped(w.slice(1, 2, 5), 4, 3, 1), "2 [4 3 1] [6 1 1]"},
		{reshaped(w.slice(1, 2, 5), 12), "no"},
		{reshaped(w.slice(0, 1, 3), 12), "6 [12] [1]"},
		{reshaped(w.slice(0, 1, 2).expand(ir.Shape{3, 6}), 3, 2, 3), "6 [3 2 3] [0 3 1]"},
	} {
		if test.got != test.want {
			t.Errorf("case %d: %s, want %s", i, test.got, test.want)
		}
	}
}

// TestViewsCostNothing plans a transposed head split, which kernels read where
// it is, and a transposed value under another shape, which must be copied once.
func TestViewsCostNothing(t *testing.T) {
	g := ir.New("views")
	x := g.Input("x", dtype.F32, 1, 6, 8)
	h := g.Permute(g.Reshape(x, 1, 6, 2, 4), 0, 2, 1, 3)
	g.Output("y", g.Linear(h, g.Weight("w", dtype.F32, 3, 4), ir.None))
	if s := compileUntil(t, g, Options{}, "views").draft; len(s.ops) != 1 || s.ops[0].Kind != ir.Linear {
		t.Errorf("%d operations, want the layer alone", len(s.ops))
	}
	flat := g.Reshape(h, 1, 2, 24)
	g.Output("z", g.Linear(flat, g.Weight("v", dtype.F32, 3, 24), ir.None))
	g.Output("norm", g.LayerNorm(flat, ir.None, ir.None, 1e-5))
	s := compileUntil(t, g, Options{}, "views").draft
	copies := 0
	for _, op := range s.ops {
		if op.Kind == ir.Elementwise && len(op.Steps) == 0 {
			copies++
		}
	}
	if copies != 1 || len(s.ops) != 4 {
		t.Errorf("%d operations, %d of them copies, want 4 and 1", len(s.ops), copies)
	}
}
