package node

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// anyFormat is the format of empty latents until a model says otherwise.
var anyFormat = latent.Format{Name: "any", Channels: 4, Stride: latent.Stride{Time: 1, Height: 8, Width: 8}}

// empty returns latents of zeros for pictures of a size.
func empty(f latent.Format, batch, frames, height, width int) *Latent {
	return &Latent{Tensor: latent.Tensor{Shape: f.Of(batch, frames, height, width)}, Empty: true, Stride: f.Stride}
}

// registerLatents registers the nodes that make and change latents.
func registerLatents(reg *workflow.Registry, _ *Env) {
	register := func(class, name, about string, inputs []workflow.Input, run func(ctx context.Context, c *workflow.Call) (*Latent, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "latent", Description: about, Inputs: inputs,
			Outputs: workflow.Outputs(workflow.TypeLatent),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				out, err := run(ctx, c)
				return []any{out}, err
			},
		})
	}
	side := func(name string) workflow.Input { return workflow.Int(name, 512, 16, maxResolution).By(8) }
	register("EmptyLatentImage", "Empty Latent Image", "Says how large and how many the pictures are to be.",
		[]workflow.Input{side("width"), side("height"), workflow.Int("batch_size", 1, 1, 4096)},
		func(_ context.Context, c *workflow.Call) (*Latent, error) {
			return empty(anyFormat, c.Int("batch_size"), 1, c.Int("height"), c.Int("width")), nil
		})
	for _, e := range []struct {
		class, name string
		latent.Format
	}{{"EmptySD3LatentImage", "EmptySD3LatentImage", latent.SD3}, {"EmptyFlux2LatentImage", "Empty Flux 2 Latent", latent.Flux2}} {
		side := func(name string) workflow.Input { return workflow.Int(name, 1024, 16, maxResolution).By(16) }
		register(e.class, e.name, "Says how large and how many the pictures are to be.",
			[]workflow.Input{side("width"), side("height"), workflow.Int("batch_size", 1, 1, 4096)},
			func(_ context.Context, c *workflow.Call) (*Latent, error) {
				return empty(e.Format, c.Int("batch_size"), 1, c.Int("height"), c.Int("width")), nil
			})
	}
	samples := workflow.Link("samples", workflow.TypeLatent)
	register("SetLatentNoiseMask", "Set Latent Noise Mask", "Lets sampling change only what the mask marks.",
		[]workflow.Input{samples, workflow.Link("mask", workflow.TypeMask)},
		func(_ context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			mask, err := Input[*media.Mask](c, "mask")
			if err != nil {
				return nil, err
			}
			out := *in
			out.NoiseMask = mask
			return &out, nil
		})
	method := workflow.Combo("upscale_method", "nearest-exact", "bilinear", "area", "bicubic", "bislerp")
	target := func(name string) workflow.Input { return workflow.Int(name, 512, 0, maxResolution).By(8) }
	register("LatentUpscale", "Upscale Latent", "Changes the size of latents. A width or height of 0 keeps the aspect ratio.",
		[]workflow.Input{samples, method, target("width"), target("height"), workflow.Combo("crop", "disabled", "center")},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			w, h := c.Int("width"), c.Int("height")
			if w == 0 && h == 0 {
				return in, nil
			}
			if w == 0 {
				h = max(64, h)
				w = max(64, round(float64(in.Width)*float64(h)/float64(in.Height)))
			} else if h == 0 {
				w = max(64, w)
				h = max(64, round(float64(in.Height)*float64(w)/float64(in.Width)))
			} else {
				w, h = max(64, w), max(64, h)
			}
			stride := in.stride()
			return in.resize(ctx, c, h/stride.Height, w/stride.Width, resample.Method(c.String("upscale_method")), c.String("crop") == "center")
		})
	register("LatentUpscaleBy", "Upscale Latent By", "Changes the size of latents by a factor.",
		[]workflow.Input{samples, method, workflow.Float("scale_by", 1.5, 0.01, 8, 0.01)},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			by := c.Float("scale_by")
			return in.resize(ctx, c, round(float64(in.Height)*by), round(float64(in.Width)*by), resample.Method(c.String("upscale_method")), false)
		})
}

// round rounds halves to even, as Python does.
func round(v float64) int { return int(math.RoundToEven(v)) }

// stride returns what a value of the latent stands for.
func (l *Latent) stride() latent.Stride {
	if l.Stride == (latent.Stride{}) {
		return anyFormat.Stride
	}
	return l.Stride
}

// resize returns the latents at another size.
func (l *Latent) resize(ctx context.Context, c *workflow.Call, height, width int, method resample.Method, crop bool) (*Latent, error) {
	if height < 1 || width < 1 {
		return nil, fmt.Errorf("the latent would have a size of %d×%d", width, height)
	}
	out := *l
	out.Height, out.Width = height, width
	if l.Empty {
		return &out, nil
	}
	if err := c.Need(ctx, out.Size()+4*(l.Bytes()+out.Bytes())/int64(l.Batch)); err != nil {
		return nil, err
	}
	return l.resized(ctx, height, width, method, crop)
}

// resized is resize without a look at the memory.
func (l *Latent) resized(ctx context.Context, height, width int, method resample.Method, crop bool) (*Latent, error) {
	out := *l
	out.Height, out.Width = height, width
	out.Data = nil
	if l.planned() {
		return &out, nil
	}
	out.Data = make([]float32, 0, out.Elems())
	for b := range l.Batch {
		data, err := media.ResizePlanes(ctx, l.At(b).Data, l.Channels*l.Time, l.Height, l.Width, height, width, method, crop)
		if err != nil {
			return nil, err
		}
		out.Data = append(out.Data, data...)
	}
	return &out, nil
}

// of returns an empty latent in a format, and any other as it is.
func (l *Latent) of(f latent.Format) (*Latent, error) {
	if !l.Empty {
		return l, nil
	}
	frames, height, width := latent.Format{Stride: l.stride()}.Pixels(l.Shape)
	out := *l
	out.Shape, out.Stride = f.Of(l.Batch, frames, height, width), f.Stride
	if out.Height < 1 || out.Width < 1 {
		return nil, fmt.Errorf("a picture of %d×%d is smaller than one value of the latent, %d×%d", width, height, f.Stride.Width, f.Stride.Height)
	}
	return &out, nil
}

// filled returns an empty latent as zeros or, in planning, as a planned one, and
// any other as it is.
func (l *Latent) filled(planning bool) *Latent {
	if !l.Empty {
		return l
	}
	out := *l
	out.Empty = false
	if !planning {
		out.Tensor = latent.New(out.Shape)
	}
	return &out
}
