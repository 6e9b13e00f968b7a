package node

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/imaging"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// registerCompositing registers the nodes that lay pictures over each other.
func registerCompositing(reg *workflow.Registry, _ *Env) {
	image := func(name string) workflow.Input { return workflow.Link(name, workflow.TypeImage) }
	mask := func(name string) workflow.Input { return workflow.Link(name, workflow.TypeMask) }
	place := func(name string) workflow.Input { return workflow.Int(name, 0, 0, maxResolution) }
	one := func(run func(context.Context, *workflow.Call) (*media.Image, error)) func(context.Context, *workflow.Call) ([]any, error) {
		return func(ctx context.Context, c *workflow.Call) ([]any, error) {
			out, err := run(ctx, c)
			return []any{out}, err
		}
	}
	reg.Register(workflow.Schema{
		Class: "ImageCompositeMasked", Name: "Image Composite Masked", Category: "image/compositing",
		Description: "Lays pictures over others where a mask marks it, or everywhere.",
		Inputs: []workflow.Input{image("destination"), image("source"), place("x"), place("y"),
			workflow.Bool("resize_source", false), mask("mask").Opt()},
		Outputs: workflow.Outputs(workflow.TypeImage), Run: one(composite),
	})
	reg.Register(workflow.Schema{
		Class: "JoinImageWithAlpha", Name: "Join Image with Alpha", Category: "image/compositing",
		Description: "Makes transparent what a mask marks.",
		Inputs:      []workflow.Input{image("image"), mask("alpha")},
		Outputs:     workflow.Outputs(workflow.TypeImage), Run: one(joinAlpha),
	})
	reg.Register(workflow.Schema{
		Class: "SplitImageWithAlpha", Name: "Split Image with Alpha", Category: "image/compositing",
		Description: "Gives the colours of pictures, and what is transparent in them as masks.",
		Inputs:      []workflow.Input{image("image")},
		Outputs:     workflow.Outputs(workflow.TypeImage, workflow.TypeMask), Run: splitAlpha,
	})
	var names, blends []string
	for _, p := range imaging.Composites {
		names = append(names, p.Name)
	}
	for _, b := range imaging.Blends {
		blends = append(blends, b.Name)
	}
	reg.Register(workflow.Schema{
		Class: "PorterDuffImageComposite", Name: "Porter-Duff Image Composite", Category: "image/compositing",
		Description: "Lays pictures with masks of what is transparent over others.",
		Inputs: []workflow.Input{image("source"), mask("source_alpha"), image("destination"), mask("destination_alpha"),
			workflow.Combo("mode", names...).Or("DST")},
		Outputs: workflow.Outputs(workflow.TypeImage, workflow.TypeMask), Run: porterDuff,
	})
	reg.Register(workflow.Schema{
		Class: "ImageBlend", Name: "Blend Images", Category: "image/filters",
		Description: "Mixes pictures.",
		Inputs: []workflow.Input{image("image1"), image("image2"), workflow.Float("blend_factor", 0.5, 0, 1, 0.01),
			workflow.Combo("blend_mode", blends...)},
		Outputs: workflow.Outputs(workflow.TypeImage), Run: one(blend),
	})
}

// pair returns two pictures, the second with the channels of the first.
func pair(ctx context.Context, c *workflow.Call, first, second string) (a, b *media.Image, err error) {
	if a, err = Input[*media.Image](c, first); err != nil {
		return nil, nil, err
	}
	if b, err = Input[*media.Image](c, second); err != nil {
		return nil, nil, err
	}
	b, err = alpha(ctx, c, b, a.Channels)
	return a, b, err
}

func composite(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	below, above, err := pair(ctx, c, "destination", "source")
	if err != nil {
		return nil, err
	}
	if c.Bool("resize_source") {
		if above, err = resized(ctx, c, above, below.Height, below.Width, resample.Bilinear, false); err != nil {
			return nil, err
		}
	}
	from, over := read(below), read(above)
	d := draft{size: sizeOf(below), from: []raster{below, above}}
	share := func(int, int) []float32 { return nil }
	if c.Has("mask") {
		m, err := Input[*media.Mask](c, "mask")
		if err != nil {
			return nil, err
		}
		if m, err = resizedMask(ctx, c, m, above.Height, above.Width, resample.Bilinear, false); err != nil {
			return nil, err
		}
		d.from = append(d.from, m)
		rows := readMask(m)
		share = func(b, y int) []float32 { return rows(b%m.Batch, y) }
	}
	x, y, n := min(c.Int("x"), below.Width), c.Int("y"), below.Channels
	d.row = func(b, row int, dst []float32) {
		copy(dst, from(b, row))
		if row -= y; row < 0 || row >= above.Height {
			return
		}
		source, mask := over(b%above.Batch, row), share(b, row)
		for i := range min(above.Width, below.Width-x) {
			to, from := dst[(x+i)*n:][:n], source[i*n:][:n]
			if mask == nil {
				copy(to, from)
				continue
			}
			for k := range to {
				to[k] = mask[i]*from[k] + (1-mask[i])*to[k]
			}
		}
	}
	return d.image(ctx, c)
}

func joinAlpha(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	m, err := picturesOf(c, "image")
	if err != nil {
		return nil, err
	}
	mask, err := Input[*media.Mask](c, "alpha")
	if err != nil {
		return nil, err
	}
	if mask, err = resizedMask(ctx, c, mask, m.Height, m.Width, resample.Bilinear, false); err != nil {
		return nil, err
	}
	in, clear := read(m), readMask(mask)
	return draft{size: size{max(m.Batch, mask.Batch), m.Height, m.Width, 4}, from: []raster{m, mask}, row: func(b, y int, dst []float32) {
		row := in(b%m.Batch, y)
		for x, v := range clear(b%mask.Batch, y) {
			copy(dst[4*x:][:3], row[x*m.Channels:])
			dst[4*x+3] = 1 - v
		}
	}}.image(ctx, c)
}

func splitAlpha(ctx context.Context, c *workflow.Call) ([]any, error) {
	m, err := picturesOf(c, "image")
	if err != nil {
		return nil, err
	}
	colours, err := alpha(ctx, c, m, 3)
	if err != nil {
		return nil, err
	}
	in := read(m)
	mask, err := draft{size: size{m.Batch, m.Height, m.Width, 1}, from: []raster{m}, row: func(b, y int, dst []float32) {
		row := in(b, y)
		for x := range dst {
			if m.Channels > 3 {
				dst[x] = 1 - row[x*m.Channels+3]
			}
		}
	}}.mask(ctx, c)
	return []any{colours, mask}, err
}

func porterDuff(ctx context.Context, c *workflow.Call) ([]any, error) {
	source, err := Input[*media.Image](c, "source")
	if err != nil {
		return nil, err
	}
	dest, err := Input[*media.Image](c, "destination")
	if err != nil {
		return nil, err
	}
	if source.Channels != dest.Channels {
		return nil, fmt.Errorf("input source: pictures of %d channels, the destination has %d", source.Channels, dest.Channels)
	}
	h, w, n := dest.Height, dest.Width, dest.Channels
	masks := make([]*media.Mask, 2)
	for i, name := range []string{"source_alpha", "destination_alpha"} {
		if masks[i], err = Input[*media.Mask](c, name); err != nil {
			return nil, err
		}
		if masks[i].Height != h || masks[i].Width != w {
			if masks[i], err = resizedMask(ctx, c, masks[i], h, w, resample.Bicubic, true); err != nil {
				return nil, err
			}
		}
	}
	if source.Height != h || source.Width != w {
		if source, err = resized(ctx, c, source, h, w, resample.Bicubic, true); err != nil {
			return nil, err
		}
	}
	var of func(s, d imaging.Pixel) imaging.Pixel
	for _, p := range imaging.Composites {
		if p.Name == c.String("mode") {
			of = p.Of
		}
	}
	batch := min(source.Batch, dest.Batch, masks[0].Batch, masks[1].Batch)
	from := []raster{source, dest, masks[0], masks[1]}
	rows := []func(b, y int) []float32{read(source), read(dest), readMask(masks[0]), readMask(masks[1])}
	row := func(b, y int, pixel func(x, k int, p imaging.Pixel)) {
		s, d, sa, da := rows[0](b, y), rows[1](b, y), rows[2](b, y), rows[3](b, y)
		for x := range w {
			as, ad := 1-sa[x], 1-da[x]
			for k := range n {
				pixel(x, k, of(imaging.Pixel{Value: s[x*n+k] * as, Alpha: as}, imaging.Pixel{Value: d[x*n+k] * ad, Alpha: ad}))
			}
		}
	}
	out, err := draft{size: size{batch, h, w, n}, from: from, row: func(b, y int, dst []float32) {
		row(b, y, func(x, k int, p imaging.Pixel) { dst[x*n+k] = p.Straight() })
	}}.image(ctx, c)
	if err != nil {
		return nil, err
	}
	mask, err := draft{size: size{batch, h, w, 1}, from: from, row: func(b, y int, dst []float32) {
		row(b, y, func(x, _ int, p imaging.Pixel) { dst[x] = 1 - p.Alpha })
	}}.mask(ctx, c)
	return []any{out, mask}, err
}

func blend(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	a, b, err := pair(ctx, c, "image1", "image2")
	if err != nil {
		return nil, err
	}
	if sizeOf(a) != sizeOf(b) {
		if b, err = resized(ctx, c, b, a.Height, a.Width, resample.Bicubic, true); err != nil {
			return nil, err
		}
	}
	if a.Batch != b.Batch && a.Batch != 1 && b.Batch != 1 {
		return nil, fmt.Errorf("input image2: %d pictures, expected 1 or %d, as many as image1", b.Batch, a.Batch)
	}
	var of func(below, above float32) float32
	for _, mode := range imaging.Blends {
		if mode.Name == c.String("blend_mode") {
			of = mode.Of
		}
	}
	share := float32(c.Float("blend_factor"))
	below, above := read(a), read(b)
	return draft{size: size{max(a.Batch, b.Batch), a.Height, a.Width, a.Channels}, from: []raster{a, b}, row: func(i, y int, dst []float32) {
		copy(dst, below(i%a.Batch, y))
		for k, v := range above(i%b.Batch, y) {
			dst[k] = min(max(dst[k]*(1-share)+of(dst[k], v)*share, 0), 1)
		}
	}}.image(ctx, c)
}
