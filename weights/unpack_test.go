package weights

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// quantizedGolden opens the layers that comfy-kitchen has quantized.
func quantizedGolden(t *testing.T) *Set {
	t.Helper()
	s, err := OpenSet(t.Context(), filepath.Join("..", "testdata", "golden", "quantized.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	u, err := s.Unpacked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestUnpacked compares what quantized weights stand for with comfy-kitchen,
// which multiplies in another order: by a unit in the last place, and a rotation
// by the rounding of its sums.
func TestUnpacked(t *testing.T) {
	s := quantizedGolden(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	tested := 0
	for _, name := range s.Names() {
		layer, ok := strings.CutSuffix(name, ".values")
		if !ok {
			continue
		}
		tested++
		values, _ := s.Lookup(name)
		want, err := values.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		weight, _ := s.Lookup(layer + ".weight")
		if weight.Quant == nil {
			t.Fatalf("%s is not quantized", layer)
		}
		if weight.Quant.Padded {
			s = s.Shaped(map[string][]int{layer + ".weight": values.Shape})
			weight, _ = s.Lookup(layer + ".weight")
		}
		got, err := weight.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(weight.Shape, values.Shape) || len(got) != len(want) || weight.Length != weight.DType.Bytes(int64(len(want))) {
			t.Fatalf("%s has the shape %v, %d values and %d bytes, want %v", layer, weight.Shape, len(got), weight.Length, values.Shape)
		}
		limit, largest := 0x1p-23, 0.0
		for _, v := range want {
			largest = max(largest, math.Abs(float64(v)))
		}
		for i := range want {
			allowed := limit * math.Abs(float64(want[i]))
			if weight.Quant.Smooth != nil {
				allowed *= 2 // one product more
			}
			if weight.Quant.Rotation > 0 {
				allowed = 8 * limit * largest
			}
			if !(math.Abs(float64(got[i]-want[i])) <= allowed) {
				t.Fatalf("%s: element %d is %v, want %v", layer, i, got[i], want[i])
			}
		}
		// Some rows, and some bytes, are the same as in the whole.
		columns := weight.Shape[1]
		from := random.IntN(weight.Shape[0])
		n := 1 + random.IntN(weight.Shape[0]-from)
		var rows Rows
		if err := rows.Read(t.Context(), weight, from, n); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rows.Values, got[from*columns:(from+n)*columns]) {
			t.Errorf("%s: rows %d to %d are not those of the whole", layer, from, from+n)
		}
		whole := make([]byte, weight.Length)
		if err := weight.ReadAt(t.Context(), whole, 0); err != nil {
			t.Fatal(err)
		}
		begin := random.IntN(len(whole))
		part := make([]byte, random.IntN(len(whole)-begin))
		if err := weight.ReadAt(t.Context(), part, int64(begin)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(part, whole[begin:begin+len(part)]) {
			t.Errorf("%s: bytes %d to %d are not those of the whole", layer, begin, begin+len(part))
		}
	}
	if tested < 24 {
		t.Errorf("%d layers were compared, want all of the golden", tested)
	}
}
