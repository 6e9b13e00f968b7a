package media

import (
	"slices"
	"testing"

	"github.com/weir-run/weir/resample"
)

// TestCropIsNotSquare crops a square to pictures that are not: the middle columns
// for one that is higher than wide, the middle rows for one that is wider.
func TestCropIsNotSquare(t *testing.T) {
	in := make([]float32, 8*8)
	for i := range in {
		in[i] = float32(10*(i/8) + i%8) // the row and the column
	}
	for _, test := range []struct {
		height, width int
		want          []float32
	}{
		{4, 2, []float32{13, 15, 33, 35, 53, 55, 73, 75}},
		{2, 4, []float32{31, 33, 35, 37, 51, 53, 55, 57}},
	} {
		got, err := ResizePlanes(t.Context(), in, 1, 8, 8, test.height, test.width, resample.Nearest, true)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%d×%d: %v, want %v", test.width, test.height, got, test.want)
		}
	}
}
