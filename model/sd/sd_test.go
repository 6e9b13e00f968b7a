package sd

import (
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
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
	if c.Factor() != 4 || c.Latent != 4 || c.Image != 3 || !c.Encoder || !c.Decoder || !c.Quant || !c.PostQuant {
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
