package pipeline

import (
	"path/filepath"
	"testing"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// TestNotSquare runs each network on what is wider than high, and the other way
// around, whole and in tiles, and compares with the graph of the model, which
// has goldens of its own: height and width are not exchanged on the way.
func TestNotSquare(t *testing.T) {
	read := func(path string) eval.Weights {
		f, err := weights.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return eval.Read(t, f)
	}
	file := read(emoji)
	e := newEngine(t, Options{})
	c := open(t, e, emoji)
	unet, vae := c.Model.Config().(*sd.Config).UNet, c.VAE.Autoencoder.(sd.Autoencoder).VAEConfig
	cond := encode(t, c, "red apple")
	path := filepath.Join(golden.Dir(), "srvgg_x2.safetensors")
	upscaler, err := e.Upscaler(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	large := read(path)
	for _, size := range [][2]int{{8, 20}, {20, 8}} {
		h, w := size[0], size[1]
		shape := latent.Picture(1, 4, h, w)
		x := diffusion.Randn(5, shape.Elems())
		want := eval.Build(t, file, file, map[string]any{"x": x, "t": []float32{500}, "context": cond.Embed},
			func(s nn.Scope) { sd.UNet(s.Sub(sd.UNetPrefix), unet, 1, h, w, cond.Tokens) })["y"]
		golden.Check(t, "denoiser", predict(t, c, shape, cond)[0], want, 1e-5)

		want = eval.Build(t, file, file, map[string]any{"z": x}, func(s nn.Scope) { sd.Decode(s.Sub(sd.VAEPrefix), vae, 1, h, w) })["y"]
		for i, v := range want {
			want[i] = min(max((v+1)/2, 0), 1)
		}
		l := latent.Tensor{Shape: latent.Picture(1, 4, h, w), Data: x}
		m, err := c.VAE.Decode(t.Context(), l, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := c.VAE.Factor()
		if m.Height != h*f || m.Width != w*f {
			t.Fatalf("latents of %d×%d became a picture of %d×%d", w, h, m.Width, m.Height)
		}
		golden.Check(t, "decoder", planes(t, m), want, 1e-5)
		// Tiles blend, and norms see one tile alone: nearly the same.
		tiled, err := c.VAE.DecodeTiled(t.Context(), l, Tiling{Size: 12 * f, Overlap: 4 * f}, nil)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "decoder in tiles", planes(t, tiled), want, 0.1)

		picture := planes(t, m)
		in := make([]float32, len(picture))
		for i, v := range picture {
			in[i] = 2*v - 1
		}
		want = eval.Build(t, file, file, map[string]any{"x": in}, func(s nn.Scope) { sd.Encode(s.Sub(sd.VAEPrefix), vae, 1, h*f, w*f) })["z"]
		encoded, err := c.VAE.Encode(t.Context(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		if encoded.Height != h || encoded.Width != w {
			t.Fatalf("a picture of %d×%d became latents of %d×%d", m.Width, m.Height, encoded.Width, encoded.Height)
		}
		golden.Check(t, "encoder", encoded.Data, want, 1e-5)

		small := media.NewImage(1, h, w, 3, diffusion.Randn(6, 3*h*w))
		network, err := esrgan.Detect(large)
		if err != nil {
			t.Fatal(err)
		}
		want = eval.Build(t, large, large, map[string]any{"x": planes(t, small)}, func(s nn.Scope) { esrgan.Upscale(s, network, 1, h, w) })["y"]
		for i, v := range want {
			want[i] = min(max(v, 0), 1)
		}
		big, err := upscaler.Upscale(t.Context(), small, nil)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "upscaler", planes(t, big), want, 1e-5)
	}
}

// planes returns the colours of a picture in the shape [3, height, width].
func planes(t *testing.T, m *media.Image) []float32 {
	t.Helper()
	out, err := m.Planar(t.Context(), 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
