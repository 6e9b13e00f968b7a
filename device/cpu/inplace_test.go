package cpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestInPlace has operations write over their first operand, as a planner lets
// them: the results are the same bits.
func TestInPlace(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := &random{rand.New(rand.NewPCG(seed, 0)), New(Options{Threads: 2})}
	defer r.d.Close()
	steps := []ir.Step{{Func: ir.SiLU}, {Func: ir.Mul, Operand: 1}}
	for _, op := range []ir.Op{
		{Kind: ir.Elementwise, Steps: steps},
		{Kind: ir.LayerNorm, Attrs: ir.Attrs{Epsilon: 1e-5}, Steps: steps},
		{Kind: ir.RMSNorm, Attrs: ir.Attrs{Epsilon: 1e-5}, Steps: steps},
		{Kind: ir.GroupNorm, Attrs: ir.Attrs{Epsilon: 1e-5, Groups: 2}, Steps: steps},
		{Kind: ir.Softmax, Steps: steps},
		{Kind: ir.Rotate, Attrs: ir.Attrs{Dim: 16}, Steps: steps},
	} {
		shape := ir.Shape{2, 6, 70, 96} // groups of several segments
		x, y := newOutput(t, r.d, shape), newOutput(t, r.d, shape)
		for _, v := range []device.Tensor{x, y} {
			values := make([]float32, shape.Elems())
			for i := range values {
				values[i] = float32(r.NormFloat64())
			}
			if err := r.d.Upload(t.Context(), v.Buffer, 0, dtype.BytesOf(values)).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		apart := newOutput(t, r.d, shape)
		for _, out := range []device.Tensor{apart, x} {
			if err := r.d.Run(t.Context(), &op, device.Args{Out: out, In: []device.Tensor{x, y}}).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(contents(t, r.d, apart), contents(t, r.d, x)) {
			t.Errorf("%v in place is not the same bits", op.Kind)
		}
	}
}
