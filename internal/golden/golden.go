// Package golden reads the results of reference implementations that the
// scripts in testdata/golden wrote, for tests to compare with.
package golden

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/weir-run/weir/weights"
)

// Dir returns the folder of the goldens.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "testdata", "golden")
}

// A File is a golden that belongs to a test.
type File struct {
	*weights.File
	t testing.TB
}

// Open opens the golden NAME.safetensors until the test ends.
func Open(t testing.TB, name string) File {
	t.Helper()
	f, err := weights.Open(t.Context(), filepath.Join(Dir(), name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return File{f, t}
}

// F32 returns a tensor as float32 numbers, whatever its dtype.
func (f File) F32(name string) []float32 {
	f.t.Helper()
	ref, ok := f.Lookup(name)
	if !ok {
		f.t.Fatalf("%s has no tensor %s", f.Path(), name)
	}
	values, err := ref.ReadF32(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	return values
}

// I32 returns a tensor of small integers.
func (f File) I32(name string) []int32 {
	f.t.Helper()
	values := f.F32(name)
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}

// Shape returns the shape of a tensor.
func (f File) Shape(name string) []int {
	f.t.Helper()
	ref, ok := f.Lookup(name)
	if !ok {
		f.t.Fatalf("%s has no tensor %s", f.Path(), name)
	}
	return ref.Shape
}

// Check fails the test when the relative error of got, the norm of the
// difference over the norm of what is wanted, is above the limit.
func Check(t testing.TB, what string, got, want []float32, limit float64) {
	t.Helper()
	e, err := RelativeError(got, want)
	switch {
	case err != nil:
		t.Errorf("%s: %v", what, err)
	case !(e <= limit):
		t.Errorf("%s: relative error %.3g, limit %.3g", what, e, limit)
	default:
		t.Logf("%s: relative error %.3g", what, e)
	}
}

// RelativeError returns the norm of the difference over the norm of want.
func RelativeError(got, want []float32) (float64, error) {
	if len(got) != len(want) {
		return 0, fmt.Errorf("%d values, want %d", len(got), len(want))
	}
	var diff, norm float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		norm += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(diff / norm), nil
}
