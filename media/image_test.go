package media

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-run/weir/resample"
)

// TestFormsAgree compares pictures that are kept in bytes with the same values
// kept as float32, in everything that is done with them.
func TestFormsAgree(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, channels := range []int{1, 3, 4} {
		for _, f := range []form{inBytes, inNegatives} {
			small := Image{newRaster(2, 5, 7, channels, f)}
			for i := range small.bytes {
				small.bytes[i] = uint8(r.Uint32())
			}
			large := NewImage(2, 5, 7, channels, small.Pix())
			if small.Size()*4 != large.Size() {
				t.Errorf("%d bytes and %d", small.Size(), large.Size())
			}
			same := func(what string, a, b *Image) {
				t.Helper()
				if a.Width != b.Width || a.Height != b.Height || a.Channels != b.Channels || !slices.Equal(a.Pix(), b.Pix()) {
					t.Errorf("%d channels, form %d: %s differ", channels, f, what)
				}
			}
			same("negatives", inverted(t, &small), inverted(t, large))
			same("second pictures", small.Picture(1), large.Picture(1))
			same("channels", &Image{small.Channel(channels - 1).raster}, &Image{large.Channel(channels - 1).raster})
			for _, method := range []resample.Method{resample.Nearest, resample.Bilinear, resample.Area, resample.Bicubic, resample.Lanczos} {
				a, err := small.Resize(t.Context(), 9, 4, method, true)
				if err != nil {
					t.Fatal(err)
				}
				b, err := large.Resize(t.Context(), 9, 4, method, true)
				if err != nil {
					t.Fatal(err)
				}
				same(string(method), a, b)
				planned, err := (&Image{raster{Batch: 2, Height: 5, Width: 7, Channels: channels, form: f}}).Resize(t.Context(), 9, 4, method, true)
				if err != nil || !planned.Planned() || planned.Size() != a.Size() || planned.Height != 9 || planned.Width != 4 {
					t.Errorf("%s is planned as %+v of %d bytes, is %d: %v", method, planned, planned.Size(), a.Size(), err)
				}
			}
		}
	}
}

func inverted(t *testing.T, m *Image) *Image {
	t.Helper()
	out, err := m.Inverted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPicturesStop cancels before what is done with whole pictures.
func TestPicturesStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := NewImage(1, 4, 4, 3, nil)
	_, inverted := m.Inverted(ctx)
	_, planar := m.Planar(ctx, 0, 3)
	_, resized := m.Resize(ctx, 2, 2, resample.Area, false)
	for i, err := range []error{inverted, planar, resized, m.SetPlanar(ctx, 0, m.Pix())} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := m.SetPlanar(t.Context(), 0, make([]float32, 7)); err == nil {
		t.Error("values of another size were taken")
	}
}
