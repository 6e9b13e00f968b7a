package cpu

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// TestMain runs all tests with each micro-kernel or, in short, with the
// fastest.
func TestMain(m *testing.M) {
	flag.Parse()
	all := microKernels()
	if testing.Short() {
		all = all[:1]
	}
	for _, k := range all {
		kernel = k
		fmt.Println("micro-kernel", k.name)
		if code := m.Run(); code != 0 {
			os.Exit(code)
		}
	}
}

// TestMicroKernel compares a panel's product with double precision, and looks
// at what lies beside it.
func TestMicroKernel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		k, ldc := r.IntN(40), kernel.columns+r.IntN(5)
		random := func(n int) []float32 {
			out := make([]float32, n)
			for i := range out {
				out[i] = float32(r.NormFloat64())
			}
			return out
		}
		a, b, c := random(k*kernel.rows), random(k*kernel.columns), random(kernel.rows*ldc)
		want := make([]float64, len(c))
		for i, v := range c {
			want[i] = float64(v)
		}
		for p := range k {
			for i := range kernel.rows {
				for j := range kernel.columns {
					want[i*ldc+j] += float64(a[p*kernel.rows+i]) * float64(b[p*kernel.columns+j])
				}
			}
		}
		kernel.run(a, b, c, ldc)
		for i := range c {
			if math.Abs(float64(c[i])-want[i]) > 1e-4 {
				t.Fatalf("%s, k %d: element %d is %v, want %v", kernel.name, k, i, c[i], want[i])
			}
		}
	}
}
