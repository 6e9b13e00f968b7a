package nn_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/dtype"
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
