package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/ir"
)

// benchmark runs an operation on operands of small random numbers and reports
// how fast that is, given its number of floating point operations.
func benchmark(b *testing.B, op ir.Op, flops float64, out ir.Shape, in ...device.Tensor) {
	d := New(Options{})
	defer d.Close()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range in {
		t := &in[i]
		t.Strides = t.Shape.Strides()
		values := make([]float32, t.Shape.Elems())
		for i := range values {
			values[i] = random.Float32() - 0.5
		}
		raw := make([]byte, len(values)*t.DType.Size())
		if t.DType.IsQuantized() {
			raw = gguf.Quantize(t.DType, values)
		} else {
			dtype.FromF32(raw, values, t.DType)
		}
		var err error
		if t.Buffer, err = d.Map(raw); err != nil {
			b.Fatal(err)
		}
	}
	args := device.Args{Out: newOutput(b, d, out), In: in}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Run(ctx, &op, args).Wait(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*flops/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func f32(shape ...int) device.Tensor { return device.Tensor{DType: dtype.F32, Shape: shape} }

func f16(shape ...int) device.Tensor { return device.Tensor{DType: dtype.F16, Shape: shape} }

// BenchmarkLinear has the sizes of Stable Diffusion 1.5 at 512×512.
func BenchmarkLinear(b *testing.B) {
	for _, s := range [][3]int{{4096, 320, 320}, {1024, 640, 640}, {256, 1280, 5120}, {77, 768, 320}, {2, 1280, 1280}} {
		m, k, n := s[0], s[1], s[2]
		for _, dt := range []dtype.DType{dtype.F16, dtype.I8, dtype.F8E4M3, dtype.Q8_0, dtype.Q4_K} {
			b.Run(fmt.Sprintf("%dx%dx%d/%v", m, k, n, dt), func(b *testing.B) {
				w := device.Tensor{DType: dt, Shape: ir.Shape{n, k}}
				benchmark(b, ir.Op{Kind: ir.Linear}, 2*float64(m)*float64(k)*float64(n), ir.Shape{m, n}, f32(m, k), w)
			})
		}
	}
}

// BenchmarkRotate is the input of a layer of 4096 features, and the layer.
func BenchmarkRotate(b *testing.B) {
	const m, n = 256, 4096
	b.Run("rotate", func(b *testing.B) {
		benchmark(b, ir.Op{Kind: ir.Rotate, Attrs: ir.Attrs{Dim: 256}}, 4*m*n*2, ir.Shape{m, n}, f32(m, n))
	})
	b.Run("linear", func(b *testing.B) {
		w := device.Tensor{DType: dtype.I8, Shape: ir.Shape{n, n}}
		benchmark(b, ir.Op{Kind: ir.Linear}, 2*m*n*n, ir.Shape{m, n}, f32(m, n), w)
	})
}

func BenchmarkConv(b *testing.B) {
	for _, s := range []struct{ in, out, size, window int }{{320, 320, 64, 3}, {1280, 1280, 16, 3}, {320, 320, 64, 1}} {
		b.Run(fmt.Sprintf("%dto%d_%dx%d_%d", s.in, s.out, s.size, s.size, s.window), func(b *testing.B) {
			a := ir.Attrs{Groups: 1, Stride: []int{1, 1}, Dilation: []int{1, 1}, PadBefore: []int{s.window / 2, s.window / 2}, PadAfter: []int{s.window / 2, s.window / 2}}
			flops := 2 * float64(s.in*s.out*s.size*s.size*s.window*s.window)
			benchmark(b, ir.Op{Kind: ir.Conv, Attrs: a}, flops, ir.Shape{1, s.out, s.size, s.size},
				f32(1, s.in, s.size, s.size), f16(s.out, s.in, s.window, s.window))
		})
	}
}

func BenchmarkAttention(b *testing.B) {
	for _, s := range []struct{ queries, keys, heads, depth int }{{4096, 4096, 8, 40}, {4096, 77, 8, 40}, {4096, 4096, 1, 512}} {
		b.Run(fmt.Sprintf("%dx%dx%dx%d", s.queries, s.keys, s.heads, s.depth), func(b *testing.B) {
			width := s.heads * s.depth
			a := ir.Attrs{Heads: s.heads, KVHeads: s.heads, Scale: 0.1}
			benchmark(b, ir.Op{Kind: ir.Attention, Attrs: a}, 4*float64(s.queries*s.keys*width), ir.Shape{1, s.queries, width},
				f32(1, s.queries, width), f32(1, s.keys, width), f32(1, s.keys, width))
		})
	}
}

// BenchmarkElementwise counts an element of the result as an operation.
func BenchmarkElementwise(b *testing.B) {
	shape := ir.Shape{1, 320, 64, 64}
	for _, f := range []ir.Func{ir.Add, ir.SiLU, ir.GELU} {
		b.Run(f.String(), func(b *testing.B) {
			op := ir.Op{Kind: ir.Elementwise, Steps: []ir.Step{{Func: f, Operand: 1}}}
			benchmark(b, op, float64(shape.Elems()), shape, f32(shape...), f32(shape...))
		})
	}
	b.Run("transpose", func(b *testing.B) {
		d := New(Options{})
		defer d.Close()
		x, y := newOutput(b, d, ir.Shape{1, 4096, 320}), newOutput(b, d, ir.Shape{1, 320, 4096})
		x.Shape, x.Strides = y.Shape, []int{4096 * 320, 1, 320}
		op := &ir.Op{Kind: ir.Elementwise}
		for b.Loop() {
			if err := d.Run(b.Context(), op, device.Args{Out: y, In: []device.Tensor{x}}).Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*320*4096/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}

func BenchmarkNorm(b *testing.B) {
	b.Run("group", func(b *testing.B) {
		a := ir.Attrs{Groups: 32, Epsilon: 1e-5, HasWeight: true, HasBias: true}
		benchmark(b, ir.Op{Kind: ir.GroupNorm, Attrs: a}, 320*4096, ir.Shape{1, 320, 64, 64}, f32(1, 320, 64, 64), f16(320), f16(320))
	})
	b.Run("layer", func(b *testing.B) {
		a := ir.Attrs{Epsilon: 1e-5, HasWeight: true, HasBias: true}
		benchmark(b, ir.Op{Kind: ir.LayerNorm, Attrs: a}, 320*4096, ir.Shape{1, 4096, 320}, f32(1, 4096, 320), f16(320), f16(320))
	})
}
