package gguf

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-run/weir/dtype"
)

// TestQuantize quantizes random numbers: they come back nearly as they were.
func TestQuantize(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for dt, limit := range map[dtype.DType]float64{dtype.Q8_0: 0.01, dtype.Q4_K: 0.12} {
		x := make([]float32, 16*dtype.MaxBlock)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		raw, y := Quantize(dt, x), make([]float32, len(x))
		dtype.ToF32(y, raw, dt)
		var diff, norm float64
		for i := range x {
			diff += math.Pow(float64(x[i]-y[i]), 2)
			norm += math.Pow(float64(x[i]), 2)
		}
		if e := math.Sqrt(diff / norm); !(e < limit) {
			t.Errorf("%v: relative error %.3g, limit %.3g", dt, e, limit)
		}
	}
}
