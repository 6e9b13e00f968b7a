package golden

import (
	"hash/fnv"
	"math"
	"strings"
)

// Hashed returns the weights of a tensor that no golden stores: they are computed
// from its name and shape, as in hashed.py. Matrices have rows of a length near 1,
// norms are around 1 and biases around 0.
func Hashed(name string, shape ...int) []float32 {
	h := fnv.New64a()
	h.Write([]byte(name))
	elements := 1
	for _, n := range shape {
		elements *= n
	}
	scale, shift := 0.25, 1.0
	if strings.HasSuffix(name, "bias") {
		shift = 0
	}
	if len(shape) > 1 {
		scale, shift = 1.75/math.Sqrt(float64(shape[len(shape)-1])), 0
	}
	values := make([]float32, elements)
	z := h.Sum64()
	for i := range values { // SplitMix64
		z += 0x9E3779B97F4A7C15
		x := (z ^ z>>30) * 0xBF58476D1CE4E5B9
		x = (x ^ x>>27) * 0x94D049BB133111EB
		x ^= x >> 31
		v := float64(x>>40)*0x1p-23 - 1
		values[i] = float32(v*scale + shift)
	}
	return values
}
