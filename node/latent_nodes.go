package node

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// registerLatentNodes registers the nodes that do arithmetic on latents and batches
// of them, and those that move their values.
func registerLatentNodes(reg *workflow.Registry, env *Env) {
	register := func(class, name, category, about string, inputs []workflow.Input, run func(ctx context.Context, c *workflow.Call) (*Latent, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "model/latent" + category, Description: about, Inputs: inputs,
			Outputs: workflow.Outputs(workflow.TypeLatent),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				out, err := run(ctx, c)
				return []any{out}, err
			},
		})
	}
	samples, first, second := workflow.Link("samples", workflow.TypeLatent), workflow.Link("samples1", workflow.TypeLatent), workflow.Link("samples2", workflow.TypeLatent)
	// binary registers a node that mixes two latents, of which the second gets the
	// size of the first.
	binary := func(class, category, about string, method resample.Method, mix func(c *workflow.Call, a, b, out latent.Tensor), inputs ...workflow.Input) {
		register(class, "", category, about, append([]workflow.Input{first, second}, inputs...), func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			a, b, err := twoLatents(ctx, env, c, "samples1", "samples2")
			if err != nil {
				return nil, err
			}
			if b, err = b.like(ctx, c, a, method, true); err != nil {
				return nil, err
			}
			return a.made(a.Shape, func(out latent.Tensor) { mix(c, a.Tensor, b.Tensor, out) }), nil
		})
	}
	each := func(f func(c *workflow.Call) func(x, y float32) float32) func(c *workflow.Call, a, b, out latent.Tensor) {
		return func(c *workflow.Call, a, b, out latent.Tensor) {
			f := f(c)
			for i, x := range a.Data {
				out.Data[i] = f(x, b.Data[i])
			}
		}
	}
	binary("LatentAdd", "/advanced", "Adds latents.", resample.Bilinear, each(func(*workflow.Call) func(x, y float32) float32 {
		return func(x, y float32) float32 { return x + y }
	}))
	binary("LatentSubtract", "/advanced", "Takes latents from others.", resample.Bilinear, each(func(*workflow.Call) func(x, y float32) float32 {
		return func(x, y float32) float32 { return x - y }
	}))
	binary("LatentBlend", "", "Mixes latents.", resample.Bicubic, each(func(c *workflow.Call) func(x, y float32) float32 {
		w := c.Float("blend_factor")
		return func(x, y float32) float32 { return x*float32(w) + y*float32(1-w) }
	}), workflow.Float("blend_factor", 0.5, 0, 1, 0.01))
	binary("LatentInterpolate", "/advanced", "Mixes the directions and the lengths of latents.", resample.Bilinear, interpolate, workflow.Float("ratio", 1, 0, 1, 0.01))
	register("LatentMultiply", "", "/advanced", "Multiplies latents.", []workflow.Input{samples, workflow.Float("multiplier", 1, -10, 10, 0.01)},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil || in.Empty { // zeros stay zeros
				return in, err
			}
			if err := c.Need(ctx, in.Bytes()); err != nil {
				return nil, err
			}
			by := float32(c.Float("multiplier"))
			return in.made(in.Shape, func(out latent.Tensor) {
				for i, v := range in.Data {
					out.Data[i] = v * by
				}
			}), nil
		})
	register("LatentBatch", "Batch Latents (DEPRECATED)", "/batch", "Puts latents behind others in one batch.", []workflow.Input{first, second},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			a, b, err := twoLatents(ctx, env, c, "samples1", "samples2")
			if err != nil {
				return nil, err
			}
			if b, err = b.like(ctx, c, a, resample.Bilinear, false); err != nil {
				return nil, err
			}
			shape := a.Shape
			shape.Batch += b.Batch
			if err := c.Need(ctx, shape.Bytes()); err != nil {
				return nil, err
			}
			out := a.made(shape, func(out latent.Tensor) { copy(out.Data[copy(out.Data, a.Data):], b.Data) })
			out.BatchIndex = slices.Concat(a.places(), b.places())
			return out, nil
		})
	register("LatentBatchSeedBehavior", "", "/advanced", "Gives all latents of a batch the same noise, or each its own.",
		[]workflow.Input{samples, workflow.Combo("seed_behavior", "random", "fixed").Or("fixed")},
		func(_ context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			out := *in
			if out.BatchIndex = nil; c.String("seed_behavior") == "fixed" {
				out.BatchIndex = slices.Repeat(in.places()[:1], in.Batch)
			}
			return &out, nil
		})
	register("LatentFromBatch", "Latent From Batch", "/batch", "Takes latents out of a batch. A negative index counts from the end.",
		[]workflow.Input{samples, workflow.Int("batch_index", 0, -maxResolution, maxResolution), workflow.Int("length", 1, 1, 64)},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			from := c.Int("batch_index")
			if from < 0 {
				from += in.Batch
			}
			from = max(0, min(in.Batch-1, from))
			return in.part(ctx, c, from, min(in.Batch-from, c.Int("length")))
		})
	register("RepeatLatentBatch", "Repeat Latent Batch", "/batch", "Repeats a batch of latents.",
		[]workflow.Input{samples, workflow.Int("amount", 1, 1, 64)},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			amount, shape := c.Int("amount"), in.Shape
			if shape.Batch *= amount; shape.Batch > maxBatch {
				return nil, fmt.Errorf("a batch of %d latents: expected at most %d", shape.Batch, maxBatch)
			}
			if err := in.needs(ctx, c, shape); err != nil {
				return nil, err
			}
			out := in.made(shape, func(out latent.Tensor) {
				for i := range amount {
					copy(out.Data[i*len(in.Data):], in.Data)
				}
			})
			if b := in.BatchIndex; b != nil {
				offset := slices.Max(b) - slices.Min(b) + 1
				out.BatchIndex = nil
				for i := range amount {
					for _, x := range b {
						out.BatchIndex = append(out.BatchIndex, x+i*offset)
					}
				}
			}
			return out, nil
		})
	registerLatentShapes(register, samples, first, second, env)
}

// maxBatch bounds the latents of a batch, of which no memory is taken while they
// are empty.
const maxBatch = 1 << 16

// places returns which place in its first batch each latent had.
func (l *Latent) places() []int {
	if l.BatchIndex != nil {
		return l.BatchIndex
	}
	out := make([]int, l.Batch)
	for i := range out {
		out[i] = i
	}
	return out
}

// made returns the latent with another shape, whose values fill writes unless it
// is empty or planned.
func (l *Latent) made(s latent.Shape, fill func(out latent.Tensor)) *Latent {
	out := *l
	out.Tensor = latent.Tensor{Shape: s}
	if l.Data != nil {
		out.Tensor = latent.New(s)
		fill(out.Tensor)
	}
	return &out
}

// needs makes room for values of a shape, which empty latents have none of.
func (l *Latent) needs(ctx context.Context, c *workflow.Call, s latent.Shape) error {
	if l.Empty {
		return nil
	}
	return c.Need(ctx, s.Bytes())
}

// twoLatents returns two linked latents with values. An empty one has the format
// of the other.
func twoLatents(ctx context.Context, env *Env, c *workflow.Call, first, second string) (a, b *Latent, err error) {
	if a, err = Input[*Latent](c, first); err != nil {
		return nil, nil, err
	}
	if b, err = Input[*Latent](c, second); err != nil {
		return nil, nil, err
	}
	if b.Empty {
		b, err = b.of(latent.Format{Channels: a.Channels, Stride: a.stride()})
	} else {
		a, err = a.of(latent.Format{Channels: b.Channels, Stride: b.stride()})
	}
	if err != nil {
		return nil, nil, err
	}
	if a.Channels != b.Channels {
		return nil, nil, fmt.Errorf("latents of %d channels and of %d come from different kinds of models", a.Channels, b.Channels)
	}
	// The result, and what is filled, resized and repeated for it.
	if err := c.Need(ctx, 3*a.Bytes()+2*b.Bytes()); err != nil {
		return nil, nil, err
	}
	return a.filled(env.Engine.Planning()), b.filled(env.Engine.Planning()), nil
}

// like returns the latent in the size of another and, if it is to be so, with as
// many in the batch: its own, repeated.
func (l *Latent) like(ctx context.Context, c *workflow.Call, to *Latent, method resample.Method, batch bool) (out *Latent, err error) {
	if l.Time != to.Time {
		return nil, fmt.Errorf("latents of %d frames and of %d: expected as many", to.Time, l.Time)
	}
	if out = l; l.Height != to.Height || l.Width != to.Width {
		if out, err = l.resize(ctx, c, to.Height, to.Width, method, true); err != nil {
			return nil, err
		}
	}
	if !batch || out.Batch == to.Batch {
		return out, nil
	}
	s := out.Shape
	s.Batch = to.Batch
	in := out
	return in.made(s, func(t latent.Tensor) {
		for i := range s.Batch {
			copy(t.At(i).Data, in.At(i%in.Batch).Data)
		}
	}), nil
}

// interpolate mixes the directions of the values at each place over the channels,
// and their lengths.
func interpolate(c *workflow.Call, a, b, out latent.Tensor) {
	ratio, volume := c.Float("ratio"), a.Volume()
	at := make([]int, a.Channels)
	length := func(v func(i int) float64) float64 {
		var total float64
		for i := range at {
			total += v(i) * v(i)
		}
		return math.Sqrt(total)
	}
	over := func(v, length float64) float64 {
		if length == 0 {
			return 0
		}
		return v / length
	}
	for item := range a.Batch {
		for place := range volume {
			for i := range at {
				at[i] = (item*a.Channels+i)*volume + place
			}
			x, y := length(func(i int) float64 { return float64(a.Data[at[i]]) }), length(func(i int) float64 { return float64(b.Data[at[i]]) })
			mixed := func(i int) float64 {
				return over(float64(a.Data[at[i]]), x)*ratio + over(float64(b.Data[at[i]]), y)*(1-ratio)
			}
			z := length(mixed)
			for i, k := range at {
				out.Data[k] = float32(over(mixed(i), z) * (x*ratio + y*(1-ratio)))
			}
		}
	}
}

// part returns a range of the batch with its masks.
func (l *Latent) part(ctx context.Context, c *workflow.Call, from, n int) (*Latent, error) {
	shape := l.Shape
	shape.Batch = n
	if err := l.needs(ctx, c, shape); err != nil {
		return nil, err
	}
	out := l.made(shape, func(out latent.Tensor) { copy(out.Data, l.Data[from*l.Item():]) })
	out.BatchIndex = l.places()[from : from+n]
	m := l.NoiseMask
	if m == nil || m.Batch == 1 {
		return out, nil
	}
	if m.Planned() {
		out.NoiseMask = media.PlanMask(n, m.Height, m.Width)
		return out, nil
	}
	if err := c.Need(ctx, 4*int64(n)*int64(m.Height)*int64(m.Width)); err != nil {
		return nil, err
	}
	values := make([]float32, n*m.Height*m.Width)
	for i := range n {
		for y := range m.Height {
			m.Row(values[(i*m.Height+y)*m.Width:][:m.Width], (from+i)%m.Batch, y)
		}
	}
	out.NoiseMask = media.NewMask(n, m.Height, m.Width, values)
	return out, nil
}
