package node

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/imaging"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/workflow"
)

// registerFilters registers the nodes that blur pictures, sharpen them and find
// their edges.
func registerFilters(reg *workflow.Registry, _ *Env) {
	register := func(class, name, about string, inputs []workflow.Input, run func(context.Context, *workflow.Call, *media.Image) (*media.Image, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "image/filters", Description: about,
			Inputs:  append([]workflow.Input{workflow.Link("image", workflow.TypeImage)}, inputs...),
			Outputs: workflow.Outputs(workflow.TypeImage),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				m, err := Input[*media.Image](c, "image")
				if err != nil {
					return nil, err
				}
				out, err := run(ctx, c, m)
				return []any{out}, err
			},
		})
	}
	register("ImageBlur", "Blur Image", "Blurs pictures.",
		[]workflow.Input{workflow.Int("blur_radius", 1, 1, 31), workflow.Float("sigma", 1, 0.1, 10, 0.1)},
		func(ctx context.Context, c *workflow.Call, m *media.Image) (*media.Image, error) {
			return filter(ctx, c, m, "blur_radius", func(ctx context.Context, plane []float32) ([]float32, error) {
				return imaging.Blur(ctx, plane, m.Height, m.Width, c.Int("blur_radius"), c.Float("sigma"))
			})
		})
	register("ImageSharpen", "Sharpen Image", "Sharpens pictures.",
		[]workflow.Input{workflow.Int("sharpen_radius", 1, 1, 31), workflow.Float("sigma", 1, 0.1, 10, 0.01), workflow.Float("alpha", 1, 0, 5, 0.01)},
		func(ctx context.Context, c *workflow.Call, m *media.Image) (*media.Image, error) {
			return filter(ctx, c, m, "sharpen_radius", func(ctx context.Context, plane []float32) ([]float32, error) {
				return imaging.Sharpen(ctx, plane, m.Height, m.Width, c.Int("sharpen_radius"), c.Float("sigma"), c.Float("alpha"))
			})
		})
	threshold := func(name string, def float64) workflow.Input { return workflow.Float(name, def, 0.01, 0.99, 0.01) }
	register("Canny", "Detect Edges (Canny)", "Draws the edges of pictures white on black.",
		[]workflow.Input{threshold("low_threshold", 0.4), threshold("high_threshold", 0.8)}, canny)
}

// filter applies f to each channel of each picture.
func filter(ctx context.Context, c *workflow.Call, m *media.Image, radius string, f func(context.Context, []float32) ([]float32, error)) (*media.Image, error) {
	if r := c.Int(radius); r >= m.Height || r >= m.Width {
		return nil, fmt.Errorf("input %s: %d is not smaller than the sides of the picture, %d×%d", radius, r, m.Width, m.Height)
	}
	area := m.Height * m.Width
	return draft{size: sizeOf(m), from: []raster{m}, extra: 4 * int64(m.Channels+2) * int64(area), plane: func(ctx context.Context, b int, dst []float32) error {
		planes, err := m.Planar(ctx, b, m.Channels)
		if err != nil {
			return err
		}
		for k := range m.Channels {
			out, err := f(ctx, planes[k*area:][:area])
			if err != nil {
				return err
			}
			for i, v := range out {
				dst[i*m.Channels+k] = v
			}
		}
		return nil
	}}.image(ctx, c)
}

func canny(ctx context.Context, c *workflow.Call, m *media.Image) (*media.Image, error) {
	if err := channelsOf("image", m, 1, 3); err != nil {
		return nil, err
	}
	if m.Height < 3 || m.Width < 3 {
		return nil, fmt.Errorf("input image: a picture of %d×%d is too small for edges, the least is 3×3", m.Width, m.Height)
	}
	low, high := c.Float("low_threshold"), c.Float("high_threshold")
	if low > high {
		return nil, fmt.Errorf("input low_threshold: %v is above the high threshold, %v", low, high)
	}
	area := m.Height * m.Width
	return draft{size: size{m.Batch, m.Height, m.Width, 3}, from: []raster{m}, extra: 4 * int64(m.Channels+11) * int64(area), plane: func(ctx context.Context, b int, dst []float32) error {
		planes, err := m.Planar(ctx, b, m.Channels)
		if err != nil {
			return err
		}
		grey := planes[:area]
		if m.Channels == 3 {
			for i := range grey {
				grey[i] = 0.299*planes[i] + 0.587*planes[area+i] + 0.114*planes[2*area+i]
			}
		}
		out, err := imaging.Canny(ctx, grey, m.Height, m.Width, low, high)
		for i, v := range out {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
		return err
	}}.image(ctx, c)
}
