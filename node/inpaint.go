package node

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// registerInpaint registers the nodes that give a model a picture beside the
// latents that are sampled.
func registerInpaint(reg *workflow.Registry, env *Env) {
	register := func(class, category, about string, run func(ctx context.Context, c *workflow.Call, v *pipeline.VAE, m *media.Image) (beside, start *Latent, mask *media.Mask, err error), inputs ...workflow.Input) {
		positive, negative := workflow.Link("positive", workflow.TypeConditioning), workflow.Link("negative", workflow.TypeConditioning)
		reg.Register(workflow.Schema{
			Class: class, Category: category, Description: about,
			Inputs: append([]workflow.Input{positive, negative, workflow.Link("vae", workflow.TypeVAE), workflow.Link("pixels", workflow.TypeImage)}, inputs...),
			Outputs: []workflow.Output{
				{Type: workflow.TypeConditioning, Name: "positive"}, {Type: workflow.TypeConditioning, Name: "negative"}, {Type: workflow.TypeLatent, Name: "latent"},
			},
			Prepare: preparing("vae", (*pipeline.VAE).PrefetchEncoder),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				v, err := Input[*pipeline.VAE](c, "vae")
				if err != nil {
					return nil, err
				}
				m, err := picturesOf(c, "pixels")
				if err != nil {
					return nil, err
				}
				prompts, err := promptsOf(c, "positive", "negative")
				if err != nil {
					return nil, err
				}
				beside, start, mask, err := run(ctx, c, v, m)
				if err != nil {
					return nil, err
				}
				var out []any
				for _, p := range prompts {
					conds := slices.Clone(p.Conditioning)
					for i := range conds {
						conds[i].beside(beside.Tensor, mask)
					}
					out = append(out, conds)
				}
				return append(out, start), nil
			},
		})
	}
	register("InpaintModelConditioning", "model/conditioning", "Gives a model that paints in masks the picture without what is masked, and the mask.",
		func(ctx context.Context, c *workflow.Call, v *pipeline.VAE, m *media.Image) (beside, start *Latent, mask *media.Mask, err error) {
			if mask, err = Input[*media.Mask](c, "mask"); err != nil {
				return nil, nil, nil, err
			}
			grey, mask, err := masked(ctx, c, v, m, mask)
			if err != nil {
				return nil, nil, nil, err
			}
			if beside, err = encode(ctx, c, v, grey); err != nil {
				return nil, nil, nil, err
			}
			if start, err = encode(ctx, c, v, m); err != nil {
				return nil, nil, nil, err
			}
			if c.Bool("noise_mask") {
				start.NoiseMask = mask
			}
			return beside, start, mask, nil
		}, workflow.Link("mask", workflow.TypeMask), workflow.Bool("noise_mask", true).Tip("Lets sampling change only what the mask marks."))
	register("InstructPixToPixConditioning", "model/conditioning/instructpix2pix", "Gives a model that follows a picture that picture.",
		func(ctx context.Context, c *workflow.Call, v *pipeline.VAE, m *media.Image) (beside, start *Latent, mask *media.Mask, err error) {
			if beside, err = encode(ctx, c, v, m); err != nil {
				return nil, nil, nil, err
			}
			format := v.Format()
			frames, height, width := format.Pixels(beside.Shape)
			return beside, empty(format, beside.Batch, frames, height, width), nil, nil
		})
}

// beside puts a picture, and perhaps a mask, in the place of those that a model is
// given beside the latents that are sampled.
func (c *Cond) beside(picture latent.Tensor, mask *media.Mask) {
	c.latents(model.Concat, []latent.Tensor{picture})
	c.ConcatMask = mask
}

// besides returns the latents that a model is given beside those of a size: a
// picture and, with a mask, as many channels as a value of the latents has pixels.
func (c *Cond) besides(ctx context.Context, format latent.Format, l *Latent) ([]latent.Tensor, error) {
	picture := &Latent{Tensor: c.Latents[model.Concat][0]}
	if picture.Height != l.Height || picture.Width != l.Width {
		resized, err := picture.resized(ctx, l.Height, l.Width, resample.Bilinear, true)
		if err != nil {
			return nil, err
		}
		picture = resized
	}
	out := []latent.Tensor{picture.Tensor}
	if picture.Channels == format.Channels {
		out[0] = format.In(out[0])
	}
	if c.ConcatMask == nil {
		return out, nil
	}
	down, right := format.Stride.Height, format.Stride.Width
	channels := latent.Tensor{Shape: latent.Picture(1, down*right, l.Height, l.Width)}
	if c.ConcatMask.Planned() || l.planned() {
		return append(out, channels), nil
	}
	if c.ConcatMask.Batch != 1 {
		return nil, fmt.Errorf("a batch of %d masks beside the text: expected one at a time", c.ConcatMask.Batch)
	}
	mask, err := c.ConcatMask.Resize(ctx, l.Height*down, l.Width*right, resample.Bilinear, true)
	if err != nil {
		return nil, err
	}
	channels = latent.New(channels.Shape)
	row := make([]float32, mask.Width)
	for y := range mask.Height {
		mask.Row(row, 0, y)
		for x, v := range row {
			channels.Data[((y%down*right+x%right)*l.Height+y/down)*l.Width+x/right] = v
		}
	}
	return append(out, channels), nil
}

// masked returns pictures that are grey where a mask marks them, so that nothing
// of it shows in their latents, and the mask in their size. Edges that are no
// multiple of the autoencoder's stride are cut off both.
func masked(ctx context.Context, c *workflow.Call, v *pipeline.VAE, m *media.Image, mask *media.Mask) (*media.Image, *media.Mask, error) {
	area := int64(m.Height) * int64(m.Width)
	if err := c.Need(ctx, mask.ResizeMemory(m.Height, m.Width)+4*area*int64(3*m.Batch+3*mask.Batch)); err != nil {
		return nil, nil, err
	}
	mask, err := mask.Resize(ctx, m.Height, m.Width, resample.Bilinear, false)
	if err != nil {
		return nil, nil, err
	}
	f := v.Factor()
	height, width := m.Height/f*f, m.Width/f*f
	top, left := m.Height%f/2, m.Width%f/2
	if m.Planned() || mask.Planned() {
		return media.PlanImage(m.Batch, height, width, 3), media.PlanMask(mask.Batch, height, width), nil
	}
	cut := make([]float32, mask.Batch*height*width)
	row := make([]float32, m.Width)
	for b := range mask.Batch {
		for y := range height {
			mask.Row(row, b, top+y)
			copy(cut[(b*height+y)*width:], row[left:left+width])
		}
	}
	grey := make([]float32, m.Batch*height*width*3)
	pixels := make([]float32, m.Width*m.Channels)
	for b := range m.Batch {
		for y := range height {
			m.Row(pixels, b, top+y)
			for x := range width {
				keep := 1 - rounded(cut[(b%mask.Batch*height+y)*width+x])
				for k := range 3 {
					grey[((b*height+y)*width+x)*3+k] = (pixels[(left+x)*m.Channels+k]-0.5)*keep + 0.5
				}
			}
		}
	}
	return media.NewImage(m.Batch, height, width, 3, grey), media.NewMask(mask.Batch, height, width, cut), nil
}

// rounded rounds halves to even, as PyTorch does.
func rounded(v float32) float32 { return float32(math.RoundToEven(float64(v))) }

// encodeForInpaint encodes pictures that are grey where they are masked, and grows
// the mask that sampling changes.
func encodeForInpaint(ctx context.Context, c *workflow.Call, v *pipeline.VAE, m *media.Image, mask *media.Mask) (*Latent, error) {
	grey, mask, err := masked(ctx, c, v, m, mask)
	if err != nil {
		return nil, err
	}
	l, err := encode(ctx, c, v, grey)
	if err != nil {
		return nil, err
	}
	if l.NoiseMask = mask; mask.Planned() {
		return l, nil
	}
	marked := slices.Clone(mask.Pix())
	for i, v := range marked {
		marked[i] = rounded(v)
	}
	l.NoiseMask = media.NewMask(mask.Batch, mask.Height, mask.Width, grow(marked, mask.Batch, mask.Height, mask.Width, c.Int("grow_mask_by")))
	return l, nil
}

// grow marks all that lies within a square of the given width around what is
// marked in values of the shape [batch, height, width]. A square of even width
// reaches one further up and left.
func grow(marked []float32, batch, height, width, by int) []float32 {
	if by == 0 {
		return marked
	}
	before := by / 2 // the padding of the convolution that ComfyUI grows with
	out := make([]float32, len(marked))
	for b := range batch {
		for y := range height {
			for x := range width {
				if marked[(b*height+y)*width+x] == 0 {
					continue
				}
				// This value is under the square of each place from here on.
				for v := max(y-(by-1)+before, 0); v <= min(y+before, height-1); v++ {
					for u := max(x-(by-1)+before, 0); u <= min(x+before, width-1); u++ {
						out[(b*height+v)*width+u] = 1
					}
				}
			}
		}
	}
	return out
}
