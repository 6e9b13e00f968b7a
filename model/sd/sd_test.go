package sd

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/model/nn"
)

// TestUNet compares tiny denoisers with those of diffusers, with two prompts
// at a time and at sizes that are odd at every resolution. The float16 weights
// of the goldens are those that the reference computed with, so they must give
// the same results as they are and in float32.
func TestUNet(t *testing.T) {
	families := map[string]string{"unet_sd15": SD1, "unet_sdxl": SDXL, "unet_sdxl_heads": SDXL}
	for file, family := range families {
		t.Run(file, func(t *testing.T) {
			f := golden.Open(t, file)
			half := eval.Read(t, f.File)
			c, err := detectUNet(newSource(half, f.Metadata()))
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []string{"even", "odd"} {
				x := f.Shape("x." + size)
				inputs := map[string]any{"x": f.F32("x." + size), "t": f.F32("t"), "context": f.F32("context")}
				if family == SDXL {
					inputs["pooled"], inputs["sizes"] = f.F32("pooled"), f.F32("sizes")
				}
				build := func(s nn.Scope) { UNet(s.Sub(UNetPrefix), c, x[0], x[2], x[3], f.Shape("context")[1]) }
				full := half.F32()
				golden.Check(t, size+" in float32", eval.Build(t, full, full, inputs, build)["y"], f.F32("y."+size), 1e-4)
				golden.Check(t, size+" in float16", eval.Build(t, half, half, inputs, build)["y"], f.F32("y."+size), 1e-3)
			}
		})
	}
}

// TestVAE compares both halves of the autoencoder with diffusers', at sizes
// that are odd in the middle, and on inputs of almost one value.
func TestVAE(t *testing.T) {
	f := golden.Open(t, "vae")
	w := eval.Read(t, f.File)
	c, err := DetectVAE(w, VAEPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if c.Factor() != 4 || c.Latent != 4 || c.Image != 3 || !c.Encoder || !c.Decoder || c.Quant != "quant_conv" || c.PostQuant != "post_quant_conv" {
		t.Errorf("detected %+v", c)
	}
	for _, kind := range []string{"plain", "faint"} {
		x, z := f.Shape("x."+kind), f.Shape("z."+kind)
		out := eval.Build(t, w, w, map[string]any{"x": f.F32("x." + kind)}, func(s nn.Scope) { Encode(s.Sub(VAEPrefix), c, x[0], x[2], x[3]) })
		golden.Check(t, kind+" mean", out["z"], f.F32("mean."+kind), 1e-4)
		out = eval.Build(t, w, w, map[string]any{"z": f.F32("z." + kind)}, func(s nn.Scope) { Decode(s.Sub(VAEPrefix), c, z[0], z[2], z[3]) })
		golden.Check(t, kind+" picture", out["y"], f.F32("y."+kind), 1e-4)
	}
}

// TestFluxVAE compares the autoencoders of FLUX.1, without convolutions at the
// latent, and of FLUX.2, whose latents are packed and whose decoder has other
// widths than the encoder.
func TestFluxVAE(t *testing.T) {
	for _, tt := range []struct {
		file string
		want VAEConfig
	}{
		{"vae_flux1", VAEConfig{Latent: 16, Image: 3, Down: []int{32, 32, 32}, Up: []int{32, 32, 32}, DownBlocks: 1, UpBlocks: 2, Encoder: true, Decoder: true}},
		{"vae_flux2", VAEConfig{Latent: 4, Image: 3, Down: []int{32, 64}, Up: []int{32, 32}, DownBlocks: 1, UpBlocks: 2, Encoder: true, Decoder: true,
			Quant: "encoder.quant_conv", PostQuant: "decoder.post_quant_conv", Packed: true}},
	} {
		f := golden.Open(t, tt.file)
		w := eval.Read(t, f.File)
		c, err := DetectVAE(w, VAEPrefix)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, c); d != "" {
			t.Errorf("%s is detected as another: %s", tt.file, d)
		}
		if c.Factor() != 4 || c.Channels() != 16 {
			t.Errorf("%s: latents of %d channels at 1/%d, want 16 at 1/4", tt.file, c.Channels(), c.Factor())
		}
		x, z := f.Shape("x"), f.Shape("z")
		out := eval.Build(t, w, w, map[string]any{"x": f.F32("x")}, func(s nn.Scope) { Encode(s.Sub(VAEPrefix), c, x[0], x[2], x[3]) })
		golden.Check(t, tt.file+" mean", out["z"], f.F32("mean"), 1e-4)
		out = eval.Build(t, w, w, map[string]any{"z": f.F32("z")}, func(s nn.Scope) { Decode(s.Sub(VAEPrefix), c, z[0], z[2], z[3]) })
		golden.Check(t, tt.file+" picture", out["y"], f.F32("y"), 1e-4)
	}
}

// TestPublishedVAEs reads every tensor of the published autoencoders.
func TestPublishedVAEs(t *testing.T) {
	for name, want := range map[string]struct{ channels, factor, narrow int }{
		"ae": {16, 8, 128}, "flux2-vae": {128, 16, 128}, "flux2-vae-small-decoder": {128, 16, 96},
	} {
		w := published.Tensors(t, name, VAEPrefix)
		c, err := DetectVAE(w, VAEPrefix)
		if err != nil {
			t.Fatal(err)
		}
		if c.Channels() != want.channels || c.Factor() != want.factor || c.Up[0] != want.narrow || c.Down[0] != 128 {
			t.Errorf("%s is detected as %+v", name, c)
		}
		published.Complete(t, w, c.Check(w, VAEPrefix))
	}
}
