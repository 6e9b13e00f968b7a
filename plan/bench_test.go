package plan

import (
	"fmt"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// transformerGraph returns a graph of at least n operations: a diffusion
// transformer with modulation and rotary positions.
func transformerGraph(n int) *ir.Graph {
	g := ir.New("transformer")
	const width, heads = 512, 8
	x := g.Input("x", dtype.F32, 1, 1024, width)
	emb := g.Input("emb", dtype.F32, 1, 1, width)
	cos, sin := g.Input("cos", dtype.F32, 1024, width/heads/2), g.Input("sin", dtype.F32, 1024, width/heads/2)
	linear := func(name string, x ir.Value, n int) ir.Value {
		return g.Linear(x, g.Weight(name+".weight", dtype.BF16, n, g.Shape(x)[2]), g.Weight(name+".bias", dtype.BF16, n))
	}
	for i := 0; len(g.Ops) < n; i++ {
		name := fmt.Sprint("blocks.", i)
		g.In(name, func() {
			m := g.Split(linear(name+".mod", g.SiLU(emb), 6*width), -1, 6)
			y := g.Modulate(g.LayerNorm(x, ir.None, ir.None, 1e-6), m[0], m[1])
			qkv := g.Split(linear(name+".qkv", y, 3*width), -1, 3)
			q, k := g.Rope(qkv[0], cos, sin, heads, true), g.Rope(qkv[1], cos, sin, heads, true)
			a := g.Attention(q, k, qkv[2], ir.AttentionOptions{Heads: heads})
			x = g.Add(x, g.Mul(linear(name+".out", a, width), m[2]))
			y = g.Modulate(g.LayerNorm(x, ir.None, ir.None, 1e-6), m[3], m[4])
			y = g.Unary(ir.GELUTanh, linear(name+".ff1", y, 4*width))
			x = g.Add(x, g.Mul(linear(name+".ff2", y, width), m[5]))
		})
	}
	g.Output("y", x)
	return g
}

// BenchmarkCompile plans graphs of 5,000 operations; the design allows 50 ms.
// The last needs more memory than it is given, so that every block is tiled.
func BenchmarkCompile(b *testing.B) {
	for _, test := range []struct {
		name  string
		g     *ir.Graph
		limit int64
	}{
		{"transformer", transformerGraph(5000), 0},
		{"chains", manyChains(5000), 0},
		{"transformer in tiles", transformerGraph(5000), 13 << 20},
	} {
		b.Run(test.name, func(b *testing.B) {
			var p *Program
			for b.Loop() {
				var err error
				if p, err = Compile(test.g, Options{Arena: test.limit}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(test.g.Ops)), "ops")
			b.ReportMetric(float64(p.Arena)/(1<<20), "MiB")
			b.ReportMetric(float64(p.Regions), "regions")
		})
	}
}

// manyChains returns a graph of about n operations that no fusion shortens and
// in which many values live at once: chains of convolutions of many sizes that
// are only joined at the end.
func manyChains(n int) *ir.Graph {
	g := ir.New("chains")
	x := g.Input("x", dtype.F32, 1, 4, 32, 32)
	var ends []ir.Value
	for i := range n / 10 {
		y := g.Resample(x, ir.Nearest, 32, 1+i%64)
		for j := range 9 {
			y = g.Resample(y, ir.Nearest, 32, 1+(i*7+j)%64)
		}
		ends = append(ends, y)
	}
	g.Output("y", g.Concat(3, ends...))
	return g
}
