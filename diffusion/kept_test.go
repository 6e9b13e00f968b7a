package diffusion

import (
	"slices"
	"testing"

	"github.com/weir-run/weir/latent"
)

// TestKeptNoise compares the noise on what an inpainting keeps with PyTorch's
// generator of the next seed, which ComfyUI draws it from for ddim.
func TestKeptNoise(t *testing.T) {
	shape := latent.Picture(1, 4, 2, 3)
	if got := (Noise{Seed: 7}).kept(t.Context(), shape); !slices.Equal(got, Randn(8, shape.Elems())) {
		t.Errorf("got %v", got)
	}
}
