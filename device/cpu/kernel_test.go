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

// TestSoftmaxFunctions compares with double precision.
func TestSoftmaxFunctions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		x := make([]float32, 1+r.IntN(60))
		for i := range x {
			x[i] = float32(r.NormFloat64() * math.Pow(10, float64(r.IntN(4))))
			if r.IntN(20) == 0 {
				x[i] = float32(math.Inf(-1))
			}
		}
		peak := float32(math.Inf(-1))
		for _, v := range x {
			peak = max(peak, v)
		}
		if got := kernel.maximum(x); got != peak {
			t.Fatalf("%s: the maximum of %v is %v", kernel.name, x, got)
		}
		if math.IsInf(float64(peak), -1) {
			continue
		}
		want, sum := make([]float64, len(x)), 0.0
		for i, v := range x {
			want[i] = math.Exp(float64(v - peak))
			sum += want[i]
		}
		got := kernel.exponentials(x, peak)
		if math.Abs(float64(got)-sum) > 1e-6*sum {
			t.Errorf("%s: the sum is %v, want %v", kernel.name, got, sum)
		}
		for i, w := range want {
			if math.Abs(float64(x[i])-w) > 3e-7*w+2e-38 {
				t.Fatalf("%s: element %d of %d is %v, want %v", kernel.name, i, len(x), x[i], w)
			}
		}
	}
	// What is no number stays so.
	bad := make([]float32, 9)
	bad[3] = float32(math.NaN())
	kernel.exponentials(bad, 0)
	if bad[3] == bad[3] || bad[0] != 1 {
		t.Errorf("%s: %v", kernel.name, bad)
	}
}
