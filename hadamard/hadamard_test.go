package hadamard

import (
	"math"
	"math/rand/v2"
	"testing"
)

// element returns the element (i, j) of the matrix of n rows, by its definition.
func element(n, i, j int) float64 {
	four := [4][4]float64{{1, 1, 1, -1}, {1, 1, -1, 1}, {1, -1, 1, 1}, {-1, 1, 1, 1}}
	x := 1.0
	for ; n > 1; n, i, j = n/4, i/4, j/4 {
		x *= four[i%4][j%4] / 2
	}
	return x
}

// TestRotate compares with the product of matrices, in double precision.
func TestRotate(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{4, 16, 64, 256, 1024} {
		x := make([]float32, 3*n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		got := append([]float32{}, x...)
		Rotate(got, n)
		for i := range got {
			var want float64
			for j := range n {
				want += element(n, i%n, j) * float64(x[i/n*n+j])
			}
			if math.Abs(float64(got[i])-want) > 1e-5 {
				t.Fatalf("group of %d, element %d: got %v, want %v", n, i, got[i], want)
			}
		}
		Rotate(got, n)
		for i := range got {
			if math.Abs(float64(got[i]-x[i])) > 1e-5 {
				t.Fatalf("group of %d, element %d: rotated twice it is %v, was %v", n, i, got[i], x[i])
			}
		}
	}
}

func TestFits(t *testing.T) {
	for n := range 3 * MaxGroup {
		want := n == 4 || n == 16 || n == 64 || n == 256 || n == 1024
		if Fits(n) != want {
			t.Errorf("Fits(%d) = %v", n, !want)
		}
	}
	for _, n := range []int{0, -4, 2, 8, 4096} {
		if Fits(n) {
			t.Errorf("Fits(%d) = true", n)
		}
	}
}

func BenchmarkRotate(b *testing.B) {
	x := make([]float32, 4096)
	b.SetBytes(4 * int64(len(x)))
	for b.Loop() {
		Rotate(x, 256)
	}
}
