package merge

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/weights"
)

// BenchmarkReadAt merges the largest kind of weight of SDXL's UNet, 10240×1280
// in float16, with factors of rank 16.
func BenchmarkReadAt(b *testing.B) {
	const n, k, rank = 10240, 1280, 16
	r := rand.New(rand.NewPCG(1, 2))
	random := func(name string, dt dtype.DType, shape ...int) weights.Tensor {
		v := make([]float32, shape[0]*shape[1])
		for i := range v {
			v[i] = float32(r.NormFloat64() * 0.1)
		}
		return weights.F32(name, dt, shape, v)
	}
	path := filepath.Join(b.TempDir(), "all.safetensors")
	err := weights.Write(b.Context(), path, nil, []weights.Tensor{
		random("w", dtype.F16, n, k), random("a", dtype.F16, n, rank), random("b", dtype.F16, rank, k),
		random("first", dtype.F16, 16, 16), random("second", dtype.F16, n/16, k/16),
		random("rows", dtype.F16, n, 1), random("columns", dtype.F16, 1, k),
	})
	if err != nil {
		b.Fatal(err)
	}
	set, err := weights.OpenSet(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer set.Close()
	ref, _ := set.Lookup("w")
	low := lora.Factor{A: "a", B: "b"}
	for name, c := range map[string]lora.Change{
		"LoRA":          {First: low, Scale: 1},
		"DoRA":          {First: low, Scale: 1, Magnitude: "rows"},
		"DoRA, columns": {First: low, Scale: 1, Magnitude: "columns", Columns: true},
		"LoHa":          {First: low, Second: low, Product: lora.Hadamard, Scale: 1},
		"LoKr":          {First: lora.Factor{Whole: "first"}, Second: lora.Factor{Whole: "second"}, Product: lora.Kronecker, Scale: 1},
	} {
		b.Run(name, func(b *testing.B) {
			raw := make([]byte, ref.Length)
			b.SetBytes(ref.Length)
			b.ReportAllocs()
			for b.Loop() {
				if err := New(ref, []Change{{c, set, 0.8}}, 0, plenty).ReadAt(b.Context(), raw, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
