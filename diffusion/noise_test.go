package diffusion

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
)

// TestRandnIsTorchs compares bits.
func TestRandnIsTorchs(t *testing.T) {
	f := golden.Open(t, "noise")
	for _, ref := range f.Refs() {
		var seed uint64
		var n int
		if strings.HasPrefix(ref.Name, "sequence") {
			continue
		}
		if _, err := fmt.Sscanf(ref.Name, "%d.%d", &seed, &n); err != nil {
			t.Fatal(err)
		}
		same(t, ref.Name, Randn(seed, n), f.F32(ref.Name))
	}
	g := NewGenerator(7)
	for i, n := range []int{3, 40, 1, 16, 5, 64} {
		out := make([]float32, n)
		g.Normal(t.Context(), out)
		name := fmt.Sprint("sequence.", i)
		same(t, name, out, f.F32(name))
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	wrong := 0
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			if wrong++; wrong == 1 {
				t.Errorf("%s: number %d is %v, want %v", what, i, got[i], want[i])
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d numbers differ", what, wrong, len(want))
	}
}

func TestFMA32(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	number := func() float32 { return float32(math.Ldexp(r.Float64()-0.5, r.IntN(50)-25)) }
	for range 100000 {
		x, y, z := number(), number(), number()
		exact := new(big.Float).SetPrec(300).Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y)))
		want, _ := exact.Add(exact, big.NewFloat(float64(z))).Float32()
		if got := fma32(x, y, z); got != want {
			t.Fatalf("fma32(%v, %v, %v) = %v, want %v", x, y, z, got, want)
		}
	}
}

func BenchmarkRandn(b *testing.B) {
	out := make([]float32, 4*64*64)
	b.SetBytes(int64(4 * len(out)))
	for b.Loop() {
		NewGenerator(1).Normal(b.Context(), out)
	}
}

// expiring is a context that is cancelled when it has been looked at so often.
type expiring struct {
	context.Context
	looks int
}

func (c *expiring) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

func TestDrawingStops(t *testing.T) {
	const drawn = 3
	for name, source := range map[string]Source{"cpu": CPU, "cuda": CUDA, "cuda with one block": 256} {
		whole, cut := make([]float32, 8*drawnAtOnce), make([]float32, 8*drawnAtOnce)
		source.generator(5).Normal(t.Context(), whole)
		ctx := &expiring{t.Context(), drawn}
		source.generator(5).Normal(ctx, cut)
		written := 0
		for i, v := range cut {
			if v != 0 {
				written++
				if v != whole[i] {
					t.Fatalf("%s: number %d is %v, %v without an end", name, i, v, whole[i])
				}
			}
		}
		if written == 0 || written > 4*drawn*drawnAtOnce {
			t.Errorf("%s: %d of %d numbers were drawn between %d looks at the context", name, written, len(cut), drawn)
		}
	}
}
