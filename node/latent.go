package node

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// emptyDownscale and emptyChannels are those of empty latents until a model
// says otherwise.
const (
	emptyDownscale = 8
	emptyChannels  = 4
)

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
			return &Latent{
				Batch: c.Int("batch_size"), Channels: emptyChannels,
				Height: c.Int("height") / emptyDownscale, Width: c.Int("width") / emptyDownscale,
				Empty: true, Downscale: emptyDownscale,
			}, nil
		})
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
			scale := in.downscale()
			return in.resize(ctx, c, h/scale, w/scale, resample.Method(c.String("upscale_method")), c.String("crop") == "center")
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

// downscale returns how many pixels a value of the latent stands for in each
// direction.
func (l *Latent) downscale() int {
	if l.Downscale == 0 {
		return emptyDownscale
	}
	return l.Downscale
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
	if err := c.Need(ctx, out.Size()+4*(l.values()+out.values())/int64(l.Batch)); err != nil {
		return nil, err
	}
	out.Samples = nil
	if l.planned() {
		return &out, nil
	}
	n := l.Channels * l.Height * l.Width
	out.Samples = make([]float32, 0, l.Batch*l.Channels*height*width)
	for b := range l.Batch {
		data, err := media.ResizePlanes(ctx, l.Samples[b*n:(b+1)*n], l.Channels, l.Height, l.Width, height, width, method, crop)
		if err != nil {
			return nil, err
		}
		out.Samples = append(out.Samples, data...)
	}
	return &out, nil
}

// of returns an empty latent with a model's number of channels and the factor
// of its autoencoder, and any other as it is.
func (l *Latent) of(channels, factor int) (*Latent, error) {
	if !l.Empty {
		return l, nil
	}
	out := *l
	out.Channels, out.Downscale = channels, factor
	out.Height, out.Width = l.Height*l.downscale()/factor, l.Width*l.downscale()/factor
	if out.Height < 1 || out.Width < 1 {
		return nil, fmt.Errorf("a picture of %d×%d is smaller than one value of the latent, %d×%d", l.Width*l.downscale(), l.Height*l.downscale(), factor, factor)
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
		out.Samples = make([]float32, out.Batch*out.Channels*out.Height*out.Width)
	}
	return &out
}
