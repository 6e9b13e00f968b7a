package dit

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/model/nn"
)

// TestCut compares tokens with the values at their places, and joins them again.
func TestCut(t *testing.T) {
	for _, tt := range []struct {
		patch                          Patch
		batch, channels, height, width int
	}{{Patch{2, true}, 2, 3, 4, 6}, {Patch{2, false}, 2, 3, 4, 6}, {Patch{2, true}, 1, 2, 3, 5}, {Patch{2, false}, 1, 2, 5, 3}, {Patch{1, false}, 2, 3, 3, 2}, {Patch{4, false}, 1, 1, 1, 6}} {
		name := fmt.Sprint(tt)
		x := make([]float32, tt.batch*tt.channels*tt.height*tt.width)
		for i := range x {
			x[i] = float32(i)
		}
		rows, columns := tt.patch.Grid(tt.height, tt.width)
		out := eval.Build(t, eval.Weights{}, eval.Weights{}, map[string]any{"x": x}, func(s nn.Scope) {
			g := s.Graph()
			tokens := tt.patch.Cut(g, g.Input("x", dtype.F32, tt.batch, tt.channels, tt.height, tt.width))
			g.Output("tokens", tokens)
			g.Output("again", tt.patch.Join(g, tokens, tt.height, tt.width))
		})
		if !slices.Equal(out["again"], x) {
			t.Errorf("%s: joining gives another latent", name)
		}
		p := tt.patch.Size
		i := 0
		for b := range tt.batch {
			for token := range rows * columns {
				for f := range tt.channels * p * p {
					c, dy, dx := f/(p*p), f/p%p, f%p
					if tt.patch.ChannelsLast {
						c, dy, dx = f%tt.channels, f/tt.channels/p, f/tt.channels%p
					}
					y, x := (token/columns*p+dy)%tt.height, (token%columns*p+dx)%tt.width
					if want := float32(((b*tt.channels+c)*tt.height+y)*tt.width + x); out["tokens"][i] != want {
						t.Fatalf("%s: feature %d of token %d is value %v, want %v", name, f, token, out["tokens"][i], want)
					}
					i++
				}
			}
		}
	}
}

// TestTables has positions and angles that are known.
func TestTables(t *testing.T) {
	at := slices.Concat(Line(Position{1}, 0, 2), Grid(Position{3, 0, 0.5}, 2, 3))
	want := []Position{{1}, {2}, {3, 0, 0.5}, {3, 0, 1.5}, {3, 0, 2.5}, {3, 1, 0.5}, {3, 1, 1.5}, {3, 1, 2.5}}
	if !slices.Equal(at, want) {
		t.Errorf("positions %v, want %v", at, want)
	}
	a := Axes{Dims: []int{2, 4, 2}, Theta: 100}
	cos, sin := a.Tables(at)
	for i, p := range want {
		for j, angle := range []float64{p[0], p[1], p[1] / 10, p[2]} {
			if c, s := cos[i*4+j], sin[i*4+j]; c != float32(math.Cos(angle)) || s != float32(math.Sin(angle)) {
				t.Errorf("position %v, pair %d: %v, %v, want those of the angle %v", p, j, c, s, angle)
			}
		}
	}
	if len(cos) != 32 || len(sin) != 32 || a.HeadDim() != 8 {
		t.Errorf("tables of %d and %d values for heads of %d", len(cos), len(sin), a.HeadDim())
	}
}
