package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/workflow"
)

// registerLatentShapes registers the nodes that cut, turn and join latents.
func registerLatentShapes(register func(class, name, category, about string, inputs []workflow.Input, run func(ctx context.Context, c *workflow.Call) (*Latent, error)),
	samples, first, second workflow.Input, env *Env) {
	// moved registers a node that moves values: run returns the new shape and, for
	// a place in it, the place that its value comes from.
	type moves func(c *workflow.Call, l *Latent) (s latent.Shape, from func(at place) place, err error)
	moved := func(class, name, category, about string, inputs []workflow.Input, run moves) {
		register(class, name, category, about, append([]workflow.Input{samples}, inputs...), func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			shape, from, err := run(c, in)
			if err != nil {
				return nil, err
			}
			if err := in.needs(ctx, c, shape); err != nil {
				return nil, err
			}
			return in.made(shape, func(out latent.Tensor) { move(in.Tensor, out, from) }), nil
		})
	}
	pixels := func(name string, def, least int64) workflow.Input {
		return workflow.Int(name, def, least, maxResolution).By(8)
	}
	moved("LatentCrop", "Crop Latent", "/transform", "Cuts a window out of latents.",
		[]workflow.Input{pixels("width", 512, 64), pixels("height", 512, 64), pixels("x", 0, 0), pixels("y", 0, 0)},
		func(c *workflow.Call, l *Latent) (latent.Shape, func(place) place, error) {
			stride, s := l.stride(), l.Shape
			x, y := min(c.Int("x")/stride.Width, l.Width-8), min(c.Int("y")/stride.Height, l.Height-8)
			if x < 0 || y < 0 {
				return s, nil, fmt.Errorf("latents of %d×%d: expected at least 8×8 to cut a window out", l.Width, l.Height)
			}
			s.Width, s.Height = min(c.Int("width")/stride.Width, l.Width-x), min(c.Int("height")/stride.Height, l.Height-y)
			if s.Width < 1 || s.Height < 1 {
				return s, nil, fmt.Errorf("a window of %d×%d latents: expected at least one", s.Width, s.Height)
			}
			return s, func(at place) place { return place{at.t, at.y + y, at.x + x} }, nil
		})
	moved("LatentFlip", "Flip Latent", "/transform", "Mirrors latents.", []workflow.Input{workflow.Combo("flip_method", "x-axis: vertically", "y-axis: horizontally")},
		func(c *workflow.Call, l *Latent) (latent.Shape, func(place) place, error) {
			if strings.HasPrefix(c.String("flip_method"), "x") {
				return l.Shape, func(at place) place { return place{at.t, l.Height - 1 - at.y, at.x} }, nil
			}
			return l.Shape, func(at place) place { return place{at.t, at.y, l.Width - 1 - at.x} }, nil
		})
	rotations := []string{"none", "90 degrees", "180 degrees", "270 degrees"}
	moved("LatentRotate", "Rotate Latent", "/transform", "Turns latents clockwise.", []workflow.Input{workflow.Combo("rotation", rotations...)},
		func(c *workflow.Call, l *Latent) (latent.Shape, func(place) place, error) {
			s, h, w := l.Shape, l.Height-1, l.Width-1
			turn := slices.Index(rotations, c.String("rotation"))
			if turn%2 == 1 {
				s.Height, s.Width = s.Width, s.Height
			}
			return s, func(at place) place {
				return [...]place{at, {at.t, h - at.x, at.y}, {at.t, h - at.y, w - at.x}, {at.t, at.x, w - at.y}}[turn]
			}, nil
		})
	moved("LatentCut", "", "/advanced", "Cuts a part out of latents along one dimension. A negative index counts from the end.",
		[]workflow.Input{workflow.Combo("dim", "x", "y", "t"), workflow.Int("index", 0, -maxResolution, maxResolution), workflow.Int("amount", 1, 1, maxResolution)},
		func(c *workflow.Call, l *Latent) (latent.Shape, func(place) place, error) {
			s := l.Shape
			size := dimension(&s, c.String("dim"))
			index, amount := c.Int("index"), c.Int("amount")
			if index < 0 {
				index = max(index+*size, 0)
			}
			index = min(index, *size-1)
			*size = min(*size-index, amount)
			return s, func(at place) place { *at.along(c.String("dim")) += index; return at }, nil
		})
	register("LatentCutToBatch", "", "/advanced", "Cuts latents into slices along one dimension, which become a batch. What is left at the end is dropped.",
		[]workflow.Input{samples, workflow.Combo("dim", "t", "x", "y"), workflow.Int("slice_size", 1, 1, maxResolution)},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			in, err := Input[*Latent](c, "samples")
			if err != nil {
				return nil, err
			}
			s, dim := in.Shape, c.String("dim")
			size := dimension(&s, dim)
			slice := min(*size, c.Int("slice_size"))
			n := *size / slice
			*size, s.Batch = slice, in.Batch*n
			if s.Batch > maxBatch {
				return nil, fmt.Errorf("a batch of %d latents: expected at most %d", s.Batch, maxBatch)
			}
			if err := in.needs(ctx, c, s); err != nil {
				return nil, err
			}
			out := in.made(s, func(out latent.Tensor) {
				for i := range out.Batch {
					move(in.At(i/n), out.At(i), func(at place) place { *at.along(dim) += i % n * slice; return at })
				}
			})
			if n > 1 {
				out.BatchIndex = nil // of the whole latents
			}
			return out, nil
		})
	register("LatentConcat", "", "/advanced", "Puts latents beside others.", []workflow.Input{first, second, workflow.Combo("dim", "x", "-x", "y", "-y", "t", "-t")},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			a, b, err := twoLatents(ctx, env, c, "samples1", "samples2")
			if err != nil {
				return nil, err
			}
			dim, last := strings.CutPrefix(c.String("dim"), "-")
			s, other := a.Shape, b.Shape
			*dimension(&s, dim) += *dimension(&other, dim)
			rest, expected := b.Shape, a.Shape
			*dimension(&rest, dim), *dimension(&expected, dim) = 0, 0
			if rest.Batch = a.Batch; rest != expected {
				return nil, fmt.Errorf("latents of %v do not fit beside those of %v along %s: they differ in another dimension", b.Shape, a.Shape, dim)
			}
			x, y := a, b
			if last {
				x, y = b, a
			}
			middle := *dimension(&x.Shape, dim)
			return a.made(s, func(out latent.Tensor) {
				move(x.Tensor, out, func(at place) place { return at })
				move(y.Tensor, out, func(at place) place { *at.along(dim) -= middle; return at })
			}), nil
		})
	register("LatentComposite", "Latent Composite", "", "Puts latents into others, with soft edges.",
		[]workflow.Input{
			workflow.Link("samples_to", workflow.TypeLatent), workflow.Link("samples_from", workflow.TypeLatent),
			pixels("x", 0, 0), pixels("y", 0, 0), pixels("feather", 0, 0),
		},
		func(ctx context.Context, c *workflow.Call) (*Latent, error) {
			to, from, err := twoLatents(ctx, env, c, "samples_to", "samples_from")
			if err != nil {
				return nil, err
			}
			if from.Batch != to.Batch && from.Batch != 1 || from.Time != to.Time {
				return nil, fmt.Errorf("%d latents of %d frames to put into %d of %d: expected one or as many, of as many frames", from.Batch, from.Time, to.Batch, to.Time)
			}
			stride := to.stride()
			x, y := c.Int("x")/stride.Width, c.Int("y")/stride.Height
			return to.made(to.Shape, func(out latent.Tensor) {
				copy(out.Data, to.Data)
				inset(out, from.Tensor, x, y, c.Int("feather")/stride.Width)
			}), nil
		})
}

// A place is where a value is within one channel.
type place struct{ t, y, x int }

// along returns the coordinate of a dimension.
func (p *place) along(dim string) *int {
	return map[string]*int{"x": &p.x, "y": &p.y, "t": &p.t}[dim]
}

// dimension returns the size of a dimension.
func dimension(s *latent.Shape, dim string) *int {
	return map[string]*int{"x": &s.Width, "y": &s.Height, "t": &s.Time}[dim]
}

// move fills out with the values of in at the places that from returns. Places
// outside of in are left as they are.
func move(in, out latent.Tensor, from func(at place) place) {
	for t := range out.Time {
		for y := range out.Height {
			for x := range out.Width {
				f := from(place{t, y, x})
				if f.t < 0 || f.t >= in.Time || f.y < 0 || f.y >= in.Height || f.x < 0 || f.x >= in.Width {
					continue
				}
				to, at := (t*out.Height+y)*out.Width+x, (f.t*in.Height+f.y)*in.Width+f.x
				for plane := range out.Batch * out.Channels {
					out.Data[plane*out.Volume()+to] = in.Data[plane%(in.Batch*in.Channels)*in.Volume()+at]
				}
			}
		}
	}
}

// inset puts latents into others at a place, with edges that fade over
// feather values where they are not the edges of both.
func inset(out, from latent.Tensor, x, y, feather int) {
	height, width := min(from.Height, out.Height-y), min(from.Width, out.Width-x)
	fade := func(i, n int, before, after bool) float32 {
		w := float32(1)
		if before && i < feather {
			w *= float32(1/float64(feather)) * float32(i+1)
		}
		if after && n-1-i < feather {
			w *= float32(1/float64(feather)) * float32(n-i)
		}
		return w
	}
	for v := range max(height, 0) {
		row := fade(v, height, y != 0, y+height < out.Height)
		for u := range max(width, 0) {
			w := row * fade(u, width, x != 0, x+width < out.Width)
			for plane := range out.Batch * out.Channels * out.Time {
				to := &out.Data[(plane*out.Height+y+v)*out.Width+x+u]
				new := from.Data[(plane%(from.Batch*from.Channels*from.Time)*from.Height+v)*from.Width+u]
				*to = new*w + *to*(1-w)
			}
		}
	}
}
