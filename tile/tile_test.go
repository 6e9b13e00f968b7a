package tile

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
)

// planar returns a picture of zeros.
func planar(channels, height, width int) latent.Tensor {
	return latent.New(latent.Picture(1, channels, height, width))
}

// double enlarges each pixel, so that tiling changes nothing.
func double(_ context.Context, p latent.Tensor) (latent.Tensor, error) {
	out := planar(p.Channels, 2*p.Height, 2*p.Width)
	for c := range p.Channels {
		for y := range out.Height {
			for x := range out.Width {
				out.Data[(c*out.Height+y)*out.Width+x] = p.Data[(c*p.Height+y/2)*p.Width+x/2]
			}
		}
	}
	return out, nil
}

func TestPointwiseFunctionIsUnchangedByTiles(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		in := planar(1+r.IntN(3), 1+r.IntN(40), 1+r.IntN(40))
		for i := range in.Data {
			in.Data[i] = r.Float32()
		}
		overlap := r.IntN(6)
		g := Grid{overlap + 1 + r.IntN(20), overlap + 1 + r.IntN(20), overlap, 2}
		calls := 0
		got, err := g.Run(t.Context(), in, double, func() { calls++ })
		if err != nil {
			t.Fatal(err)
		}
		want, _ := double(t.Context(), in)
		if e, err := golden.RelativeError(got.Data, want.Data); err != nil || !(e < 1e-6) {
			t.Fatalf("%d×%d in %+v: error %v, %v", in.Width, in.Height, g, e, err)
		}
		if want := g.Tiles(in.Height, in.Width); calls != want {
			t.Errorf("%d tiles, Tiles says %d", calls, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, test := range []struct {
		size, tile, overlap int
		want                []int
	}{
		{64, 64, 16, []int{0}},
		{65, 64, 16, []int{0, 48}},
		{128, 64, 16, []int{0, 48, 96}},
		{112, 64, 16, []int{0, 48}},
		{10, 4, 1, []int{0, 3, 6}},
	} {
		if got := places(test.size, test.tile, test.overlap); !slices.Equal(got, test.want) {
			t.Errorf("places(%d, %d, %d) = %v, want %v", test.size, test.tile, test.overlap, got, test.want)
		}
	}
}

// TestRamp compares the join of two tiles of different values with the ramps
// worked out by hand.
func TestRamp(t *testing.T) {
	in := planar(1, 1, 6) // two tiles of 4 that overlap by 2
	n := float32(0)
	got, err := Grid{1 + 2, 4, 2, 1}.Run(t.Context(), in, func(_ context.Context, p latent.Tensor) (latent.Tensor, error) {
		n++
		out := planar(1, p.Height, p.Width)
		for i := range out.Data {
			out.Data[i] = n
		}
		return out, nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The ramps are 1/2, 1, 1, 1/2 from 0 and from 2.
	want := []float32{1, 1, (1 + 2*0.5) / 1.5, (0.5 + 2) / 1.5, 2, 2}
	for i := range want {
		if math.Abs(float64(got.Data[i]-want[i])) > 1e-6 {
			t.Errorf("got %v, want %v", got.Data, want)
			break
		}
	}
}

func TestErrors(t *testing.T) {
	in := planar(1, 8, 8)
	if _, err := (Grid{4, 4, 4, 1}).Run(t.Context(), in, double, nil); err == nil {
		t.Error("tiles that overlap wholly must be refused")
	}
	broken := errors.New("broken")
	if _, err := (Grid{4, 4, 1, 1}).Run(t.Context(), in, func(context.Context, latent.Tensor) (latent.Tensor, error) { return latent.Tensor{}, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := (Grid{4, 4, 1, 1}).Run(ctx, in, func(_ context.Context, p latent.Tensor) (latent.Tensor, error) { cancel(); return p, nil }, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestOddResultsAreRefused has functions return pictures that do not fit
// together, as networks with odd kernels do.
func TestOddResultsAreRefused(t *testing.T) {
	for name, odd := range map[string]func(p latent.Tensor, calls int) latent.Tensor{
		"too few values": func(p latent.Tensor, _ int) latent.Tensor {
			return latent.Tensor{Shape: latent.Picture(1, p.Channels, 2*p.Height, 2*p.Width), Data: p.Data}
		},
		"too many values": func(p latent.Tensor, _ int) latent.Tensor {
			return latent.Tensor{Shape: latent.Picture(1, 1, 2*p.Height, 2*p.Width), Data: make([]float32, 5000)}
		},
		"not enlarged":     func(p latent.Tensor, _ int) latent.Tensor { return p },
		"enlarged one way": func(p latent.Tensor, _ int) latent.Tensor { return planar(1, 2*p.Height, 3*p.Width) },
		"of no size":       func(p latent.Tensor, _ int) latent.Tensor { return planar(1, 0, 0) },
		"no channels":      func(p latent.Tensor, _ int) latent.Tensor { return planar(0, 2*p.Height, 2*p.Width) },
		"more channels":    func(p latent.Tensor, calls int) latent.Tensor { return planar(calls, 2*p.Height, 2*p.Width) },
	} {
		calls := 0
		_, err := Grid{8, 8, 2, 2}.Run(t.Context(), planar(1, 20, 20), func(_ context.Context, p latent.Tensor) (latent.Tensor, error) {
			calls++
			return odd(p, calls), nil
		}, nil)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
