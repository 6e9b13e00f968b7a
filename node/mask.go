package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-run/weir/imaging"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// registerMasks registers the nodes that make and change masks.
func registerMasks(reg *workflow.Registry, _ *Env) {
	register := func(class, name, about string, inputs []workflow.Input, run func(context.Context, *workflow.Call) (*media.Mask, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "image/mask", Description: about, Inputs: inputs,
			Outputs: workflow.Outputs(workflow.TypeMask),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				out, err := run(ctx, c)
				return []any{out}, err
			},
		})
	}
	mask, image := workflow.Link("mask", workflow.TypeMask), workflow.Link("image", workflow.TypeImage)
	length := func(name string) workflow.Input { return workflow.Int(name, 512, 1, maxResolution) }
	place := func(name string) workflow.Input { return workflow.Int(name, 0, 0, maxResolution) }
	share := func(name string, def float64) workflow.Input { return workflow.Float(name, def, 0, 1, 0.01) }
	register("SolidMask", "Create Solid Mask", "Makes a mask of one value.",
		[]workflow.Input{share("value", 1), length("width"), length("height")},
		func(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
			v := float32(c.Float("value"))
			return draft{size: size{1, c.Int("height"), c.Int("width"), 1}, row: func(_, _ int, dst []float32) {
				for i := range dst {
					dst[i] = v
				}
			}}.mask(ctx, c)
		})
	register("InvertMask", "Invert Mask", "Marks what was not marked.", []workflow.Input{mask},
		eachValue(func(*workflow.Call) func(float32) float32 { return func(v float32) float32 { return 1 - v } }))
	register("ThresholdMask", "Threshold Mask", "Marks fully what is above a value, and nothing else.", []workflow.Input{mask, share("value", 0.5)},
		eachValue(func(c *workflow.Call) func(float32) float32 {
			limit := float32(c.Float("value"))
			return func(v float32) float32 {
				if v > limit {
					return 1
				}
				return 0
			}
		}))
	register("CropMask", "Crop Mask", "Cuts a rectangle out of masks.",
		[]workflow.Input{mask, place("x"), place("y"), length("width"), length("height")},
		func(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
			m, err := Input[*media.Mask](c, "mask")
			if err != nil {
				return nil, err
			}
			x, y := c.Int("x"), c.Int("y")
			if x >= m.Width || y >= m.Height {
				return nil, fmt.Errorf("nothing is left of a mask of %d×%d from %d, %d on", m.Width, m.Height, x, y)
			}
			in := readMask(m)
			return draft{size: size{m.Batch, min(c.Int("height"), m.Height-y), min(c.Int("width"), m.Width-x), 1}, from: []raster{m},
				row: func(b, row int, dst []float32) { copy(dst, in(b, y+row)[x:]) }}.mask(ctx, c)
		})
	register("FeatherMask", "Feather Mask", "Lets masks fade at their sides.",
		[]workflow.Input{mask, place("left"), place("top"), place("right"), place("bottom")}, feather)
	register("GrowMask", "Grow Mask", "Grows what is marked, or shrinks it.",
		[]workflow.Input{mask, workflow.Int("expand", 0, -maxResolution, maxResolution), workflow.Bool("tapered_corners", true)},
		func(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
			m, err := Input[*media.Mask](c, "mask")
			if err != nil {
				return nil, err
			}
			in := readMask(m)
			return draft{size: sizeOfMask(m), from: []raster{m}, extra: 8 * int64(m.Height) * int64(m.Width),
				plane: func(ctx context.Context, b int, dst []float32) error {
					for y := range m.Height {
						copy(dst[y*m.Width:], in(b, y))
					}
					out, err := imaging.Grow(ctx, dst, m.Height, m.Width, c.Int("expand"), c.Bool("tapered_corners"))
					copy(dst, out)
					return err
				}}.mask(ctx, c)
		})
	register("MaskComposite", "Combine Masks", "Combines a mask with another that is laid over it.",
		[]workflow.Input{workflow.Link("destination", workflow.TypeMask), workflow.Link("source", workflow.TypeMask), place("x"), place("y"),
			workflow.Combo("operation", "multiply", "add", "subtract", "and", "or", "xor")}, combineMasks)
	register("ImageToMask", "Convert Image to Mask", "Gives a channel of pictures as masks.",
		[]workflow.Input{image, workflow.Combo("channel", "red", "green", "blue", "alpha")},
		func(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
			m, err := Input[*media.Image](c, "image")
			if err != nil {
				return nil, err
			}
			i := slices.Index([]string{"red", "green", "blue", "alpha"}, c.String("channel"))
			if i >= m.Channels {
				return nil, fmt.Errorf("input image: pictures of %d channels have no %s", m.Channels, c.String("channel"))
			}
			if err := c.Need(ctx, m.Size()/int64(m.Channels)); err != nil {
				return nil, err
			}
			return m.Channel(i), nil
		})
	register("ImageColorToMask", "Convert Image Color to Mask", "Marks what has a colour, given as 65536·red + 256·green + blue.",
		[]workflow.Input{image, workflow.Int("color", 0, 0, 0xFFFFFF)},
		func(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
			m, err := picturesOf(c, "image")
			if err != nil {
				return nil, err
			}
			colour := c.Int("color")
			in := read(m)
			return draft{size: size{m.Batch, m.Height, m.Width, 1}, from: []raster{m}, row: func(b, y int, dst []float32) {
				row := in(b, y)
				for x := range dst {
					sum := 0
					for _, v := range row[x*m.Channels:][:3] {
						sum = sum<<8 | int(half(min(max(v, 0), 1)*255))
					}
					dst[x] = 0
					if sum == colour {
						dst[x] = 1
					}
				}
			}}.mask(ctx, c)
		})
	register("BatchMasksNode", "Batch Masks", "Puts masks into one batch. Those of another size are made as large as the first.",
		[]workflow.Input{workflow.Several("masks", workflow.Link("mask", workflow.TypeMask), 1, workflow.Numbered("mask", 50)...)}, batchMasks)
	reg.Register(workflow.Schema{
		Class: "MaskToImage", Name: "Convert Mask to Image", Category: "image/mask",
		Description: "Makes grey pictures of masks.", Inputs: []workflow.Input{mask}, Outputs: workflow.Outputs(workflow.TypeImage),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			m, err := Input[*media.Mask](c, "mask")
			if err != nil {
				return nil, err
			}
			out, err := greyOf(ctx, c, m)
			return []any{out}, err
		},
	})
}

// greyOf makes grey pictures of masks.
func greyOf(ctx context.Context, c *workflow.Call, m *media.Mask) (*media.Image, error) {
	in := readMask(m)
	return draft{size: size{m.Batch, m.Height, m.Width, 3}, from: []raster{m}, row: func(b, y int, dst []float32) {
		for x, v := range in(b, y) {
			dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
		}
	}}.image(ctx, c)
}

// eachValue returns the Run of a node that changes each value of a mask.
func eachValue(of func(*workflow.Call) func(float32) float32) func(context.Context, *workflow.Call) (*media.Mask, error) {
	return func(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
		m, err := Input[*media.Mask](c, "mask")
		if err != nil {
			return nil, err
		}
		f, in := of(c), readMask(m)
		return draft{size: sizeOfMask(m), from: []raster{m}, row: func(b, y int, dst []float32) {
			for x, v := range in(b, y) {
				dst[x] = f(v)
			}
		}}.mask(ctx, c)
	}
}

func feather(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
	m, err := Input[*media.Mask](c, "mask")
	if err != nil {
		return nil, err
	}
	left, right := min(c.Int("left"), m.Width), min(c.Int("right"), m.Width)
	top, bottom := min(c.Int("top"), m.Height), min(c.Int("bottom"), m.Height)
	in := readMask(m)
	return draft{size: sizeOfMask(m), from: []raster{m}, row: func(b, y int, dst []float32) {
		copy(dst, in(b, y))
		for x := range left {
			dst[x] *= float32(float64(x+1) / float64(left))
		}
		for x := range right {
			dst[m.Width-1-x] *= float32(float64(x+1) / float64(right))
		}
		rows := []float32{}
		if y < top {
			rows = append(rows, float32(float64(y+1)/float64(top)))
		}
		if up := m.Height - 1 - y; up < bottom {
			rows = append(rows, float32(float64(up+1)/float64(bottom)))
		}
		for _, by := range rows {
			for x := range dst {
				dst[x] *= by
			}
		}
	}}.mask(ctx, c)
}

func combineMasks(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
	below, err := Input[*media.Mask](c, "destination")
	if err != nil {
		return nil, err
	}
	above, err := Input[*media.Mask](c, "source")
	if err != nil {
		return nil, err
	}
	if above.Batch != 1 && above.Batch != below.Batch {
		return nil, fmt.Errorf("input source: %d masks, expected 1 or %d, as many as the destination", above.Batch, below.Batch)
	}
	marked := func(v float32) bool { return half(v) != 0 }
	one := func(v bool) float32 {
		if v {
			return 1
		}
		return 0
	}
	of := map[string]func(a, b float32) float32{
		"multiply": func(a, b float32) float32 { return a * b },
		"add":      func(a, b float32) float32 { return a + b },
		"subtract": func(a, b float32) float32 { return a - b },
		"and":      func(a, b float32) float32 { return one(marked(a) && marked(b)) },
		"or":       func(a, b float32) float32 { return one(marked(a) || marked(b)) },
		"xor":      func(a, b float32) float32 { return one(marked(a) != marked(b)) },
	}[c.String("operation")]
	x, y := c.Int("x"), c.Int("y")
	from, over := readMask(below), readMask(above)
	return draft{size: sizeOfMask(below), from: []raster{below, above}, row: func(b, row int, dst []float32) {
		copy(dst, from(b, row))
		if row -= y; row >= 0 && row < above.Height {
			for i, v := range over(b%above.Batch, row) {
				if x+i < len(dst) {
					dst[x+i] = of(dst[x+i], v)
				}
			}
		}
		for i, v := range dst {
			dst[i] = min(max(v, 0), 1)
		}
	}}.mask(ctx, c)
}

func batchMasks(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
	d := draft{}
	var rows []func(b, y int) []float32
	var owner, first []int
	for i, in := range c.Several("masks") {
		m, err := Input[*media.Mask](c, in.Name)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			d.size = sizeOfMask(m)
			d.batch = 0
		} else if m.Height != d.height || m.Width != d.width {
			if m, err = resizedMask(ctx, c, m, d.height, d.width, resample.Bilinear, true); err != nil {
				return nil, err
			}
		}
		d.from = append(d.from, m)
		rows = append(rows, readMask(m))
		for range m.Batch {
			owner, first = append(owner, i), append(first, d.batch)
		}
		d.batch += m.Batch
	}
	d.row = func(b, y int, dst []float32) { copy(dst, rows[owner[b]](b-first[b], y)) }
	return d.mask(ctx, c)
}

// resizedMask returns masks at another size.
func resizedMask(ctx context.Context, c *workflow.Call, m *media.Mask, height, width int, method resample.Method, crop bool) (*media.Mask, error) {
	if height < 1 || width < 1 {
		return nil, fmt.Errorf("cannot resize a mask to %d×%d", width, height)
	}
	if err := c.Need(ctx, 4*int64(m.Batch)*int64(height)*int64(width)+m.ResizeMemory(height, width)); err != nil {
		return nil, err
	}
	return m.Resize(ctx, height, width, method, crop)
}
