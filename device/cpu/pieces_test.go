package cpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestPieces makes results in random pieces of rows, as a planner does with
// activations that need too much memory: they are the same bits, whatever the
// threads and wherever the pieces begin.
func TestPieces(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const batch, rows, keys, width = 2, 301, 601, 72
	gelu := []ir.Step{{Func: ir.GELU}, {Func: ir.Add, Operand: 3}, {Func: ir.SiLU}}
	for _, test := range []struct {
		op    ir.Op
		last  int     // features of the result
		in    [][]int // shapes of the operands
		batch []int   // the dimension of each operand that goes along with batches
		rows  []int   // and with rows; -1 for none
	}{
		{ir.Op{Kind: ir.Linear, Attrs: ir.Attrs{HasBias: true}, Steps: gelu}, 130,
			[][]int{{batch, rows, width}, {130, width}, {130}, {batch, rows, 130}}, []int{0, -1, -1, 0}, []int{1, -1, -1, 1}},
		{ir.Op{Kind: ir.Attention, Attrs: ir.Attrs{Heads: 3, KVHeads: 3, Scale: 0.2}, Steps: gelu}, width,
			[][]int{{batch, rows, width}, {batch, keys, width}, {batch, keys, width}, {batch, rows, width}}, []int{0, 0, 0, 0}, []int{1, -1, -1, 1}},
		{ir.Op{Kind: ir.Attention, Attrs: ir.Attrs{Heads: 3, KVHeads: 1, Scale: 0.2, HasMask: true}}, width,
			[][]int{{batch, rows, width}, {batch, keys, 24}, {batch, keys, 24}, {batch, 3, rows, keys}}, []int{0, 0, 0, 0}, []int{1, -1, -1, 2}},
		{ir.Op{Kind: ir.LayerNorm, Attrs: ir.Attrs{HasWeight: true, HasBias: true, Epsilon: 1e-5}, Steps: gelu}, width,
			[][]int{{batch, rows, width}, {width}, {width}, {batch, rows, width}}, []int{0, -1, -1, 0}, []int{1, -1, -1, 1}},
		{ir.Op{Kind: ir.RMSNorm, Attrs: ir.Attrs{HasWeight: true, Epsilon: 1e-5}}, width,
			[][]int{{batch, rows, width}, {width}}, []int{0, -1}, []int{1, -1}},
		{ir.Op{Kind: ir.Softmax}, width, [][]int{{batch, rows, width}}, []int{0}, []int{1}},
		{ir.Op{Kind: ir.Rotate, Attrs: ir.Attrs{Dim: 4}}, width, [][]int{{batch, rows, width}}, []int{0}, []int{1}},
		{ir.Op{Kind: ir.Rope, Attrs: ir.Attrs{Heads: 3}}, width,
			[][]int{{batch, rows, width}, {rows, 12}, {rows, 12}}, []int{0, -1, -1}, []int{1, 0, 0}},
		{ir.Op{Kind: ir.Elementwise, Steps: []ir.Step{{Func: ir.GELU}, {Func: ir.Mul, Operand: 1}, {Func: ir.Tanh}}}, width,
			[][]int{{batch, rows, width}, {batch, rows, width}}, []int{0, 0}, []int{1, 1}},
	} {
		for _, threads := range []int{1, 2} {
			r := &random{rand.New(rand.NewPCG(seed, uint64(threads))), New(Options{Threads: threads})}
			var in []device.Tensor
			for _, shape := range test.in {
				x, _ := r.tensor(t, ir.Contiguous, dtype.F32, 1, shape...)
				in = append(in, x)
			}
			whole, pieces := newOutput(t, r.d, ir.Shape{batch, rows, test.last}), newOutput(t, r.d, ir.Shape{batch, rows, test.last})
			cut := func(x device.Tensor, axis, from, to int) device.Tensor {
				if axis >= 0 {
					x.Shape = slices.Clone(x.Shape)
					x.Shape[axis] = to - from
					x.Offset += int64(4 * from * x.Strides[axis])
				}
				return x
			}
			run := func(out device.Tensor, in []device.Tensor) {
				if err := r.d.Run(t.Context(), &test.op, device.Args{Out: out, In: in}).Wait(t.Context()); err != nil {
					t.Fatalf("%v: %v", test.op.Kind, err)
				}
			}
			run(whole, in)
			for b := range batch {
				for from := 0; from < rows; {
					to := min(from+1+r.IntN(150), rows)
					var part []device.Tensor
					for i, x := range in {
						part = append(part, cut(cut(x, test.batch[i], b, b+1), test.rows[i], from, to))
					}
					run(cut(cut(pieces, 0, b, b+1), 1, from, to), part)
					from = to
				}
			}
			if !slices.Equal(contents(t, r.d, whole), contents(t, r.d, pieces)) {
				t.Errorf("%v with %d threads: the pieces are not the same bits", test.op.Kind, threads)
			}
			r.d.Close()
		}
	}
}
