package nn_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/hadamard"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A random makes weights and remembers their numbers.
type random struct {
	*rand.Rand
	weights eval.Weights
	numbers map[string][]float32
}

func (r *random) fill(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func (r *random) add(name string, shape ...int) {
	r.set(name, r.fill(ir.Shape(shape).Elems()), shape...)
}

func (r *random) set(name string, x []float32, shape ...int) {
	raw := make([]byte, 4*len(x))
	dtype.FromF32(raw, x, dtype.F32)
	r.weights[name], r.numbers[name] = eval.Weight{DType: dtype.F32, Shape: shape, Bytes: raw}, x
}

// A source is weights with adapters on one of them.
type source struct {
	eval.Weights
	on       string
	adapters []nn.Adapter
}

func (s source) Adapters(weight string) []nn.Adapter {
	if weight == s.on {
		return s.adapters
	}
	return nil
}

// merged returns the weight w[n,k·taps] with an adapter in it: what the side
// path must be equal to.
func (r *random) merged(w []float32, n, k, taps int, a nn.Adapter, strength float32) []float32 {
	out := append([]float32{}, w...)
	down, up, mid := r.numbers[a.Down], r.numbers[a.Up], r.numbers[a.Mid]
	rank := r.weights[a.Down].Shape[0]
	rows := n
	if a.Rows > 0 {
		rows = a.Rows
	}
	if a.Mid != "" { // down[rank,k] and mid[rank,rank,taps] make a kernel
		full := make([]float32, rank*k*taps)
		for i := range rank {
			for j := range k {
				for t := range taps {
					for q := range rank {
						full[(i*k+j)*taps+t] += mid[(i*rank+q)*taps+t] * down[q*k+j]
					}
				}
			}
		}
		down = full
	}
	for i := range rows {
		for j := range k * taps {
			for q := range rank {
				out[(a.From+i)*k*taps+j] += strength * a.Scale * up[i*rank+q] * down[q*k*taps+j]
			}
		}
	}
	return out
}

// TestAdapters compares side paths, on all rows and on some, with weights that
// the adapters were merged into.
func TestAdapters(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const n, k, rank = 12, 7, 3
	x2, x4 := []int{2, 5, k}, []int{2, k, 6, 5}
	kernel := ir.ConvOptions{Pad: []int{1}, Stride: []int{2}}
	tests := []struct {
		name     string
		size     int // of the kernel, 0 for a linear layer
		stored   int // ones after the shape of the matrices
		from     int
		rows     int
		mid      bool
		adapters int
	}{
		{"linear", 0, 0, 0, 0, false, 1},
		{"two", 0, 0, 0, 0, false, 2},
		{"all rows named", 0, 0, 0, n, false, 1},
		{"first rows", 0, 0, 0, 4, false, 1},
		{"middle rows", 0, 0, 4, 4, false, 2},
		{"last rows", 0, 0, 8, 4, false, 1},
		{"matrices stored as kernels", 0, 2, 0, 0, false, 1},
		{"conv", 3, 2, 0, 0, false, 2},
		{"conv 1×1", 1, 2, 0, 0, false, 1},
		{"conv 1×1 from matrices", 1, 0, 0, 0, false, 1},
		{"conv in three", 3, 2, 0, 0, true, 1},
		{"some channels of a conv", 3, 2, 4, 4, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &random{rand.New(rand.NewPCG(seed, 1)), eval.Weights{}, map[string][]float32{}}
			taps, rows := max(tt.size*tt.size, 1), n
			base := []int{n, k}
			if tt.size > 0 {
				base = append(base, tt.size, tt.size)
			}
			ones := []int{1, 1}[:tt.stored]
			r.add("layer.weight", base...)
			r.add("layer.bias", n)
			if tt.rows > 0 {
				rows = tt.rows
			}
			inputs := map[string]any{"x": r.fill(ir.Shape(x2).Elems())}
			if tt.size > 0 {
				inputs["x"] = r.fill(ir.Shape(x4).Elems())
			}
			w := r.numbers["layer.weight"]
			src := source{r.weights, "at.layer.weight", nil}
			for i := range tt.adapters {
				a := nn.Adapter{Down: fmt.Sprint("down", i), Up: fmt.Sprint("up", i), From: tt.from, Rows: tt.rows, Scale: 0.5, Strength: fmt.Sprint("s", i)}
				down := append([]int{rank, k}, ones...)
				if tt.size > 1 && !tt.mid {
					down = []int{rank, k, tt.size, tt.size}
				}
				r.add(a.Down, down...)
				r.add(a.Up, append([]int{rows, rank}, ones...)...)
				if tt.mid {
					a.Mid = fmt.Sprint("mid", i)
					r.add(a.Mid, rank, rank, tt.size, tt.size)
				}
				strength := 0.3 + float32(i)
				inputs[a.Strength] = []float32{strength}
				w = r.merged(w, n, k, taps, a, strength)
				src.adapters = append(src.adapters, a)
			}
			for _, part := range []string{"weight", "bias"} {
				r.set("at.layer."+part, r.numbers["layer."+part], r.weights["layer."+part].Shape...)
			}
			r.set("layer.weight", w, base...)
			out := eval.Build(t, src, r.weights, inputs, func(s nn.Scope) {
				for name, scope := range map[string]nn.Scope{"side path": s.Sub("at."), "merged": s} {
					if tt.size > 0 {
						s.Graph().Output(name, scope.Conv("layer", s.Graph().Input("x", dtype.F32, x4...), n, tt.size, kernel))
					} else {
						s.Graph().Output(name, scope.Linear("layer", s.Graph().Input("x", dtype.F32, x2...), n))
					}
				}
			})
			golden.Check(t, tt.name, out["side path"], out["merged"], 1e-5)
		})
	}
}

func TestMissing(t *testing.T) {
	g := ir.New("model")
	s := nn.NewScope(g, eval.Weights{}).Sub("a.")
	s.Linear("proj", g.Input("x", dtype.F32, 2, 1), 3)
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "no tensor a.proj.weight") {
		t.Errorf("got %v, want an error that names the tensor", err)
	}
}

// A quantized source is weights of which some are stored as other numbers.
type quantized struct {
	eval.Weights
	packings map[string]nn.Packing
}

func (q quantized) Packing(weight string) (nn.Packing, bool) {
	p, ok := q.packings[weight]
	return p, ok
}

// TestQuantized compares layers of quantized weights, with biases and LoRAs, with
// those of the weights that they stand for.
func TestQuantized(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const n, k, group = 12, 32, 16
	kernel := ir.ConvOptions{Pad: []int{1}}
	for name, p := range map[string]nn.Packing{
		"one scale":         {Scale: "one"},
		"a scale for a row": {Scale: "rows"},
		"rotated":           {Scale: "rows", Rotation: group},
		"smoothed":          {Scale: "one", Smooth: "smooth", Rotation: group},
		"without a scale":   {Rotation: group},
	} {
		t.Run(name, func(t *testing.T) {
			r := &random{rand.New(rand.NewPCG(seed, 1)), eval.Weights{}, map[string][]float32{}}
			r.add("one", 1)
			r.add("rows", n, 1)
			r.add("smooth", k)
			r.add("bias", n)
			r.add("stored.weight", n, k)
			r.add("kernels.weight", n, 3, 3, 3)
			meant := func(stored string, columns int) []float32 {
				w := append([]float32{}, r.numbers[stored]...)
				if p.Rotation > 0 {
					hadamard.Rotate(w, p.Rotation)
				}
				for i := range w {
					if p.Scale != "" {
						w[i] *= r.numbers[p.Scale][min(i/columns, len(r.numbers[p.Scale])-1)]
					}
					if p.Smooth != "" {
						w[i] *= r.numbers["smooth"][i%columns]
					}
				}
				return w
			}
			r.set("meant.weight", meant("stored.weight", k), n, k)
			packings := map[string]nn.Packing{"stored.weight": p}
			conv := p.Rotation == 0 && p.Smooth == ""
			if conv {
				packings["kernels.weight"] = p
				r.set("meant kernels.weight", meant("kernels.weight", 27), n, 3, 3, 3)
			}
			for _, layer := range []string{"stored", "meant", "kernels", "meant kernels"} {
				r.set(layer+".bias", r.numbers["bias"], n)
			}
			inputs := map[string]any{"x": r.fill(5 * k), "picture": r.fill(2 * 3 * 5 * 4), "ids": []int32{3, 0, 11, 3}}
			out := eval.Build(t, quantized{r.weights, packings}, r.weights, inputs, func(s nn.Scope) {
				g := s.Graph()
				for _, layer := range []string{"stored", "meant"} {
					g.Output(layer, s.Linear(layer, g.Input("x", dtype.F32, 5, k), n))
					g.Output(layer+" table", s.Embedding(layer, g.Input("ids", dtype.I32, 4), n, k))
				}
				if conv {
					for _, layer := range []string{"kernels", "meant kernels"} {
						g.Output(layer, s.Conv(layer, g.Input("picture", dtype.F32, 2, 3, 5, 4), n, 3, kernel))
					}
				}
			})
			golden.Check(t, "linear", out["stored"], out["meant"], 1e-5)
			golden.Check(t, "table", out["stored table"], out["meant table"], 1e-5)
			if conv {
				golden.Check(t, "conv", out["kernels"], out["meant kernels"], 1e-5)
			}
		})
	}
}

// TestQuantizedElsewhere reads a quantized weight where only plain numbers can
// be, and one whose scale is missing.
func TestQuantizedElsewhere(t *testing.T) {
	src := quantized{eval.Weights{"norm.weight": {DType: dtype.F8E4M3, Shape: ir.Shape{4}}, "norm.bias": {DType: dtype.F32, Shape: ir.Shape{4}}},
		map[string]nn.Packing{"norm.weight": {Scale: "gone"}}}
	audit := nn.Check(src, func(s nn.Scope) {
		s.LayerNorm("norm", s.Graph().Input("x", dtype.F32, 2, 4), 1e-5)
	})
	if err := audit.Err(); err == nil || !strings.Contains(err.Error(), "tensor norm.weight is quantized, which only the weights of linear layers") {
		t.Errorf("got %v", err)
	}
}

// TestPadded checks a matrix that has more rows and columns in the file.
func TestPadded(t *testing.T) {
	for _, test := range []struct {
		shape ir.Shape
		fits  bool
	}{{ir.Shape{3, 5}, true}, {ir.Shape{16, 16}, true}, {ir.Shape{34, 36}, true}, {ir.Shape{35, 5}, false}, {ir.Shape{3, 37}, false}, {ir.Shape{2, 5}, false}} {
		src := quantized{eval.Weights{"l.weight": {DType: dtype.NVFP4, Shape: test.shape}}, map[string]nn.Packing{"l.weight": {Padded: true}}}
		audit := nn.Check(src, func(s nn.Scope) { s.Project("l", s.Graph().Input("x", dtype.F32, 2, 5), 3) })
		if err := audit.Err(); (err == nil) != test.fits {
			t.Errorf("%v: %v", test.shape, err)
		}
	}
}
