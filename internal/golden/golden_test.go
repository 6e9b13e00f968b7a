package golden

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSums fails when a golden or the script that made it was changed without
// the other.
func TestSums(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(Dir(), SumsFile))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Sums()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("goldens and scripts have changed: run the scripts, then go run ./internal/golden/sums\n%s", d)
	}
}

func TestRelativeError(t *testing.T) {
	if e, err := RelativeError([]float32{3, 4.5}, []float32{3, 4}); err != nil || e != 0.1 {
		t.Errorf("got %v, %v, want 0.1", e, err)
	}
	if _, err := RelativeError([]float32{1}, []float32{1, 2}); err == nil {
		t.Error("lengths that differ must be an error")
	}
}
