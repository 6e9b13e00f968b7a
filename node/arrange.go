package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// registerArrange registers the nodes that cut pictures, turn them and put them
// side by side or into batches.
func registerArrange(reg *workflow.Registry, _ *Env) {
	image := workflow.Link("image", workflow.TypeImage)
	register := func(class, name, category, about string, inputs []workflow.Input, run func(context.Context, *workflow.Call) (*media.Image, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: category, Description: about, Inputs: inputs,
			Outputs: workflow.Outputs(workflow.TypeImage),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				out, err := run(ctx, c)
				return []any{out}, err
			},
		})
	}
	length := func(name string) workflow.Input { return workflow.Int(name, 512, 1, maxResolution) }
	place := func(name string) workflow.Input { return workflow.Int(name, 0, 0, maxResolution) }
	register("ImageCrop", "Crop Image", "image/transform", "Cuts a rectangle out of pictures.",
		[]workflow.Input{image, length("width"), length("height"), place("x"), place("y")}, cropImage)
	register("ImageFlip", "Flip Image", "image/transform", "Turns pictures upside down or left to right.",
		[]workflow.Input{image, workflow.Combo("flip_method", "x-axis: vertically", "y-axis: horizontally")}, flip)
	register("ImageRotate", "Rotate Image", "image/transform", "Turns pictures clockwise.",
		[]workflow.Input{image, workflow.Combo("rotation", "none", "90 degrees", "180 degrees", "270 degrees")}, rotate)
	register("ImageStitch", "Stitch Images", "image/transform", "Puts a picture beside another, above or below it.",
		[]workflow.Input{
			workflow.Link("image1", workflow.TypeImage), workflow.Combo("direction", "right", "down", "left", "up"),
			workflow.Bool("match_image_size", true), workflow.Int("spacing_width", 0, 0, 1024).By(2),
			workflow.Combo("spacing_color", "white", "black", "red", "green", "blue"), workflow.Link("image2", workflow.TypeImage).Opt(),
		}, stitch)
	register("RepeatImageBatch", "Repeat Image Batch", "image/batch", "Repeats a batch.",
		[]workflow.Input{image, workflow.Int("amount", 1, 1, 4096)},
		func(ctx context.Context, c *workflow.Call) (*media.Image, error) {
			m, err := Input[*media.Image](c, "image")
			if err != nil {
				return nil, err
			}
			return pick(ctx, c, m, 0, m.Batch*c.Int("amount"))
		})
	register("ImageFromBatch", "Get Image from Batch", "image/batch", "Takes pictures out of a batch. A negative index counts from the end.",
		[]workflow.Input{image, workflow.Int("batch_index", 0, -maxResolution, maxResolution), workflow.Int("length", 1, 1, 4096)},
		func(ctx context.Context, c *workflow.Call) (*media.Image, error) {
			m, err := Input[*media.Image](c, "image")
			if err != nil {
				return nil, err
			}
			first := c.Int("batch_index")
			if first < 0 {
				first += m.Batch
			}
			first = max(0, min(m.Batch-1, first))
			return pick(ctx, c, m, first, min(m.Batch-first, c.Int("length")))
		})
	register("ImageBatch", "Batch Images", "image/batch", "Puts two batches into one. Pictures of another size are made as large as the first.",
		[]workflow.Input{workflow.Link("image1", workflow.TypeImage), workflow.Link("image2", workflow.TypeImage)},
		func(ctx context.Context, c *workflow.Call) (*media.Image, error) {
			return batchImages(ctx, c, "image1", "image2")
		})
	register("BatchImagesNode", "Batch Images", "image/batch", "Puts batches into one. Pictures of another size are made as large as the first.",
		[]workflow.Input{workflow.Several("images", workflow.Link("image", workflow.TypeImage), 1, workflow.Numbered("image", 50)...)},
		func(ctx context.Context, c *workflow.Call) (*media.Image, error) {
			var names []string
			for _, in := range c.Several("images") {
				names = append(names, in.Name)
			}
			return batchImages(ctx, c, names...)
		})
	reg.Register(workflow.Schema{
		Class: "GetImageSize", Name: "Get Image Size", Category: "image",
		Description: "Gives the size of pictures and how many there are.",
		Inputs:      []workflow.Input{image},
		Outputs:     []workflow.Output{{Type: workflow.TypeInt, Name: "width"}, {Type: workflow.TypeInt, Name: "height"}, {Type: workflow.TypeInt, Name: "batch_size"}},
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			m, err := Input[*media.Image](c, "image")
			if err != nil {
				return nil, err
			}
			return []any{int64(m.Width), int64(m.Height), int64(m.Batch)}, nil
		},
	})
	registerPad(reg)
}

// pick returns n pictures from the first on; after the last comes the first again.
func pick(ctx context.Context, c *workflow.Call, m *media.Image, first, n int) (*media.Image, error) {
	in := read(m)
	return draft{size: size{n, m.Height, m.Width, m.Channels}, from: []raster{m},
		row: func(b, y int, dst []float32) { copy(dst, in((first+b)%m.Batch, y)) }}.image(ctx, c)
}

func cropImage(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	m, err := Input[*media.Image](c, "image")
	if err != nil {
		return nil, err
	}
	return crop(ctx, c, m, min(c.Int("x"), m.Width-1), min(c.Int("y"), m.Height-1), c.Int("width"), c.Int("height"))
}

// crop cuts a rectangle out of pictures, as far as they reach.
func crop(ctx context.Context, c *workflow.Call, m *media.Image, x, y, width, height int) (*media.Image, error) {
	in := read(m)
	s := size{m.Batch, min(height, m.Height-y), min(width, m.Width-x), m.Channels}
	return draft{size: s, from: []raster{m},
		row: func(b, row int, dst []float32) { copy(dst, in(b, y+row)[x*m.Channels:]) }}.image(ctx, c)
}

func flip(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	m, err := Input[*media.Image](c, "image")
	if err != nil {
		return nil, err
	}
	in := read(m)
	d := draft{size: sizeOf(m), from: []raster{m}}
	d.row = func(b, y int, dst []float32) { copy(dst, in(b, m.Height-1-y)) }
	if strings.HasPrefix(c.String("flip_method"), "y") {
		d.row = func(b, y int, dst []float32) {
			row, n := in(b, y), m.Channels
			for x := range m.Width {
				copy(dst[x*n:], row[(m.Width-1-x)*n:][:n])
			}
		}
	}
	return d.image(ctx, c)
}

func rotate(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	m, err := Input[*media.Image](c, "image")
	if err != nil {
		return nil, err
	}
	turns := slices.Index([]string{"none", "90 degrees", "180 degrees", "270 degrees"}, c.String("rotation"))
	if turns == 0 {
		return m, nil
	}
	d := draft{size: sizeOf(m), from: []raster{m}, extra: unpacked(m, sizeOf(m))}
	if turns != 2 {
		d.height, d.width = m.Width, m.Height
	}
	var pix []float32
	d.row = func(b, y int, dst []float32) {
		if pix == nil {
			pix = m.Pix()
		}
		for x := range d.width {
			u, v := m.Width-1-x, m.Height-1-y
			switch turns {
			case 1:
				u, v = y, m.Height-1-x
			case 3:
				u, v = m.Width-1-y, x
			}
			copy(dst[x*m.Channels:][:m.Channels], pix[((b*m.Height+v)*m.Width+u)*m.Channels:])
		}
	}
	return d.image(ctx, c)
}

// batchImages puts pictures into one batch. They get the most channels and the
// size of the first.
func batchImages(ctx context.Context, c *workflow.Call, names ...string) (*media.Image, error) {
	channels := 0
	var all []*media.Image
	for _, name := range names {
		m, err := Input[*media.Image](c, name)
		if err != nil {
			return nil, err
		}
		channels = max(channels, m.Channels)
		all = append(all, m)
	}
	d := draft{}
	var rows []func(b, y int) []float32
	var owner, first []int
	for i, m := range all {
		m, err := alpha(ctx, c, m, channels)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			d.size = sizeOf(m)
			d.batch = 0
		} else if m.Height != d.height || m.Width != d.width {
			if m, err = resized(ctx, c, m, d.height, d.width, resample.Bilinear, true); err != nil {
				return nil, err
			}
		}
		d.from = append(d.from, m)
		rows = append(rows, read(m))
		for range m.Batch {
			owner, first = append(owner, i), append(first, d.batch)
		}
		d.batch += m.Batch
	}
	d.row = func(b, y int, dst []float32) { copy(dst, rows[owner[b]](b-first[b], y)) }
	return d.image(ctx, c)
}

// stitch puts a second picture beside a first.
func stitch(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	a, err := Input[*media.Image](c, "image1")
	if err != nil || !c.Has("image2") {
		return a, err
	}
	z, err := Input[*media.Image](c, "image2")
	if err != nil {
		return nil, err
	}
	direction := c.String("direction")
	across := direction == "left" || direction == "right"
	match := c.Bool("match_image_size")
	if match {
		h, w := a.Height, int(float64(a.Height)*(float64(z.Width)/float64(z.Height)))
		if !across {
			h, w = int(float64(a.Width)/(float64(z.Width)/float64(z.Height))), a.Width
		}
		if z, err = resized(ctx, c, z, h, w, resample.Lanczos, false); err != nil {
			return nil, err
		}
	}
	channels := max(a.Channels, z.Channels)
	colour := map[string][3]float32{"white": {1, 1, 1}, "black": {}, "red": {1, 0, 0}, "green": {0, 1, 0}, "blue": {0, 0, 1}}[c.String("spacing_color")]
	around := float32(0)
	if c.String("spacing_color") == "white" {
		around = 1
	}
	gap := c.Int("spacing_width")
	gap += gap % 2
	parts := []*media.Image{a, z}
	if direction == "left" || direction == "up" {
		parts = []*media.Image{z, a}
	}
	long, wide := max(a.Height, z.Height), a.Width+gap+z.Width
	if !across {
		long, wide = a.Height+gap+z.Height, max(a.Width, z.Width)
	}
	d := draft{size: size{max(a.Batch, z.Batch), long, wide, channels}, from: []raster{a, z}}
	rows := []func(b, y int) []float32{read(parts[0]), read(parts[1])}
	// put writes a row of a part, padded to length on both sides, to dst.
	put := func(dst []float32, i, b, y, length int) {
		m := parts[i]
		left := (length - m.Width) / 2
		for x := range length {
			to := dst[x*channels:][:channels]
			for k := range to {
				to[k] = 1
			}
			for k := range m.Channels { // opacity that is added stands for the padding too
				to[k] = around
			}
		}
		if y < 0 || y >= m.Height {
			return
		}
		row := rows[i](min(b, m.Batch-1), y)
		for x := range m.Width {
			copy(dst[(left+x)*channels:][:channels], row[x*m.Channels:][:m.Channels])
		}
	}
	space := func(dst []float32) {
		for x := range len(dst) / channels {
			to := dst[x*channels:][:channels]
			for k := range to {
				if k < 3 {
					to[k] = colour[k]
				} else {
					to[k] = 1
				}
			}
		}
	}
	d.row = func(b, y int, dst []float32) {
		if across {
			at := 0
			for i, m := range parts {
				put(dst[at:][:m.Width*channels], i, b, y-(long-m.Height)/2, m.Width)
				at += m.Width * channels
				if i == 0 {
					space(dst[at:][:gap*channels])
					at += gap * channels
				}
			}
			return
		}
		first := parts[0].Height
		switch {
		case y < first:
			put(dst, 0, b, y, wide)
		case y < first+gap:
			space(dst)
		default:
			put(dst, 1, b, y-first-gap, wide)
		}
	}
	return d.image(ctx, c)
}

// registerPad registers the node that makes room around pictures.
func registerPad(reg *workflow.Registry) {
	side := func(name string) workflow.Input { return workflow.Int(name, 0, 0, maxResolution).By(8) }
	reg.Register(workflow.Schema{
		Class: "ImagePadForOutpaint", Name: "Pad Image for Outpainting", Category: "image/transform",
		Description: "Makes room around pictures, and a mask of it that fades into them.",
		Inputs: []workflow.Input{workflow.Link("image", workflow.TypeImage), side("left"), side("top"), side("right"), side("bottom"),
			workflow.Int("feathering", 40, 0, maxResolution)},
		Outputs: workflow.Outputs(workflow.TypeImage, workflow.TypeMask),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			m, err := Input[*media.Image](c, "image")
			if err != nil {
				return nil, err
			}
			left, top, right, bottom := c.Int("left"), c.Int("top"), c.Int("right"), c.Int("bottom")
			height, width := m.Height+top+bottom, m.Width+left+right
			in := read(m)
			out, err := draft{size: size{m.Batch, height, width, m.Channels}, from: []raster{m}, row: func(b, y int, dst []float32) {
				for i := range dst {
					dst[i] = 0.5
				}
				if y -= top; y >= 0 && y < m.Height {
					copy(dst[left*m.Channels:], in(b, y))
				}
			}}.image(ctx, c)
			if err != nil {
				return nil, err
			}
			by := c.Int("feathering")
			soft := by > 0 && by*2 < m.Height && by*2 < m.Width
			mask, err := draft{size: size{1, height, width, 1}, from: []raster{m}, row: func(_, y int, dst []float32) {
				y -= top
				for at := range dst {
					x := at - left
					if y < 0 || x < 0 || y >= m.Height || x >= m.Width {
						dst[at] = 1
						continue
					}
					d := m.Height // to the nearest side that grows
					if m.Width < d {
						d = m.Width
					}
					for _, s := range [][2]int{{top, y}, {bottom, m.Height - y}, {left, x}, {right, m.Width - x}} {
						if s[0] != 0 {
							d = min(d, s[1])
						}
					}
					if soft && d < by {
						v := float64(by-d) / float64(by)
						dst[at] = float32(v * v)
					}
				}
			}}.mask(ctx, c)
			if err != nil {
				return nil, err
			}
			return []any{out, mask}, nil
		},
	})
}

// channelsOf returns an error when pictures have another number of channels.
func channelsOf(name string, m *media.Image, want ...int) error {
	if slices.Contains(want, m.Channels) {
		return nil
	}
	return fmt.Errorf("input %s: pictures of %d channels, expected %v", name, m.Channels, want)
}
