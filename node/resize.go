package node

import (
	"context"
	"math"

	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// methods are the interpolations that nodes offer, in the order of the newer ones.
var methods = []string{"nearest-exact", "bilinear", "area", "bicubic", "lanczos"}

// registerResize registers the nodes that fit pictures and masks to a size.
func registerResize(reg *workflow.Registry, _ *Env) {
	image := workflow.Link("image", workflow.TypeImage)
	register := func(class, name, category, about string, inputs []workflow.Input, run func(context.Context, *workflow.Call, *media.Image) (*media.Image, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: category, Description: about,
			Inputs:  append([]workflow.Input{image}, inputs...),
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
	length := func(name string) workflow.Input { return workflow.Int(name, 512, 1, maxResolution) }
	register("ImageScaleToTotalPixels", "Scale Image to Total Pixels", "image/upscaling", "Gives pictures a number of pixels, at the same aspect ratio.",
		[]workflow.Input{workflow.Combo("upscale_method", methods...), workflow.Float("megapixels", 1, 0.01, 16, 0.01), workflow.Int("resolution_steps", 1, 1, 256)},
		func(ctx context.Context, c *workflow.Call, m *media.Image) (*media.Image, error) {
			by := math.Sqrt(c.Float("megapixels") * 1024 * 1024 / float64(m.Width*m.Height))
			step := c.Int("resolution_steps")
			side := func(n int) int { return round(float64(n)*by/float64(step)) * step }
			return resize(ctx, c, m, side(m.Height), side(m.Width), false)
		})
	register("ImageScaleToMaxDimension", "Scale Image to Max Dimension", "image/upscaling", "Gives the longer side of pictures a length.",
		[]workflow.Input{workflow.Combo("upscale_method", "area", "lanczos", "bilinear", "nearest-exact", "bicubic"), workflow.Int("largest_size", 512, 0, maxResolution)},
		func(ctx context.Context, c *workflow.Call, m *media.Image) (*media.Image, error) {
			w, h := bySide(m.Width, m.Height, c.Int("largest_size"), true)
			return resize(ctx, c, m, h, w, false)
		})
	register("ResizeAndPadImage", "Resize And Pad Image", "image/transform", "Fits pictures into a size and fills the rest.",
		[]workflow.Input{length("target_width"), length("target_height"), workflow.Combo("padding_color", "white", "black"),
			workflow.Combo("interpolation", "area", "bicubic", "nearest-exact", "bilinear", "lanczos")}, fit)
	register("FluxKontextImageScale", "FluxKontextImageScale", "model/conditioning/flux", "Gives pictures the size nearest in aspect ratio of those that FLUX.1 Kontext knows.", nil,
		func(ctx context.Context, c *workflow.Call, m *media.Image) (*media.Image, error) {
			w, h := kontextSize(m.Width, m.Height)
			return resized(ctx, c, m, h, w, resample.Lanczos, true)
		})
	crop := workflow.Combo("crop", "disabled", "center").Or("center")
	pixels := func(name string) workflow.Input { return workflow.Int(name, 512, 0, maxResolution) }
	both := workflow.Type("IMAGE,MASK")
	reg.Register(workflow.Schema{
		Class: "ResizeImageMaskNode", Name: "Resize Image/Mask", Category: "image/transform",
		Description: "Changes the size of pictures or masks.",
		Inputs: []workflow.Input{
			workflow.Link("input", both),
			workflow.Switch("resize_type",
				workflow.Case{Choice: "scale dimensions", Inputs: []workflow.Input{pixels("width"), pixels("height"), crop}},
				workflow.Case{Choice: "scale by multiplier", Inputs: []workflow.Input{workflow.Float("multiplier", 1, 0.01, 8, 0.01)}},
				workflow.Case{Choice: "scale longer dimension", Inputs: []workflow.Input{pixels("longer_size")}},
				workflow.Case{Choice: "scale shorter dimension", Inputs: []workflow.Input{pixels("shorter_size")}},
				workflow.Case{Choice: "scale width", Inputs: []workflow.Input{pixels("width")}},
				workflow.Case{Choice: "scale height", Inputs: []workflow.Input{pixels("height")}},
				workflow.Case{Choice: "scale total pixels", Inputs: []workflow.Input{workflow.Float("megapixels", 1, 0.01, 16, 0.01)}},
				workflow.Case{Choice: "match size", Inputs: []workflow.Input{workflow.Link("match", both), crop}},
				workflow.Case{Choice: "scale to multiple", Inputs: []workflow.Input{workflow.Int("multiple", 8, 1, maxResolution)}},
			),
			workflow.Combo("scale_method", methods...).Or("area"),
		},
		Outputs: []workflow.Output{{Type: both, Name: "resized", Of: []string{"input"}}},
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			out, err := resizeEither(ctx, c)
			return []any{out}, err
		},
	})
	ratios := []struct {
		name          string
		width, height float64
	}{
		{"1:1 (Square)", 1, 1}, {"2:3 (Portrait Photo)", 2, 3}, {"3:2 (Photo)", 3, 2}, {"3:4 (Portrait Standard)", 3, 4},
		{"4:3 (Standard)", 4, 3}, {"9:16 (Portrait Widescreen)", 9, 16}, {"16:9 (Widescreen)", 16, 9}, {"21:9 (Ultrawide)", 21, 9},
	}
	var names []string
	for _, r := range ratios {
		names = append(names, r.name)
	}
	reg.Register(workflow.Schema{
		Class: "ResolutionSelector", Name: "Resolution Selector", Category: "utilities",
		Description: "Gives a width and height of an aspect ratio and a number of pixels.",
		Inputs:      []workflow.Input{workflow.Combo("aspect_ratio", names...), workflow.Float("megapixels", 1, 0.1, 16, 0.1), workflow.Int("multiple", 8, 8, 128).By(4)},
		Outputs:     []workflow.Output{{Type: workflow.TypeInt, Name: "width"}, {Type: workflow.TypeInt, Name: "height"}},
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			for _, r := range ratios {
				if r.name == c.String("aspect_ratio") {
					by := math.Sqrt(c.Float("megapixels") * 1024 * 1024 / (r.width * r.height))
					side := func(n float64) int64 {
						return int64(round(n*by/float64(c.Int("multiple"))) * c.Int("multiple"))
					}
					return []any{side(r.width), side(r.height)}, nil
				}
			}
			return nil, nil
		},
	})
}

// bySide returns the size of pictures whose longer or shorter side gets a length.
func bySide(width, height, length int, longer bool) (w, h int) {
	switch {
	case width == height:
		return length, length
	case (height > width) == longer:
		return round(float64(width) / float64(height) * float64(length)), length
	default:
		return length, round(float64(height) / float64(width) * float64(length))
	}
}

// kontextSizes are the widths of the sizes that FLUX.1 Kontext was trained with,
// up to the square; each has a height, and the other way round.
var kontextSizes = [][2]int{
	{672, 1568}, {688, 1504}, {720, 1456}, {752, 1392}, {800, 1328}, {832, 1248}, {880, 1184}, {944, 1104}, {1024, 1024},
	{1104, 944}, {1184, 880}, {1248, 832}, {1328, 800}, {1392, 752}, {1456, 720}, {1504, 688}, {1568, 672},
}

// kontextSize returns the size whose aspect ratio is nearest.
func kontextSize(width, height int) (w, h int) {
	best := math.Inf(1)
	for _, s := range kontextSizes {
		if d := math.Abs(float64(width)/float64(height) - float64(s[0])/float64(s[1])); d < best {
			best, w, h = d, s[0], s[1]
		}
	}
	return w, h
}

func fit(ctx context.Context, c *workflow.Call, m *media.Image) (*media.Image, error) {
	w, h := c.Int("target_width"), c.Int("target_height")
	by := min(float64(w)/float64(m.Width), float64(h)/float64(m.Height))
	in, err := resized(ctx, c, m, int(float64(m.Height)*by), int(float64(m.Width)*by), resample.Method(c.String("interpolation")), false)
	if err != nil {
		return nil, err
	}
	around := float32(0)
	if c.String("padding_color") == "white" {
		around = 1
	}
	left, top, rows := (w-in.Width)/2, (h-in.Height)/2, read(in)
	return draft{size: size{m.Batch, h, w, m.Channels}, from: []raster{in}, row: func(b, y int, dst []float32) {
		for i := range dst {
			dst[i] = around
		}
		if y -= top; y >= 0 && y < in.Height {
			copy(dst[left*m.Channels:], rows(b, y))
		}
	}}.image(ctx, c)
}

// resizeEither changes the size of pictures or of masks.
func resizeEither(ctx context.Context, c *workflow.Call) (any, error) {
	picture, isImage := c.Value("input").(*media.Image)
	var mask *media.Mask
	width, height := 0, 0
	if isImage {
		width, height = picture.Width, picture.Height
	} else {
		var err error
		if mask, err = Input[*media.Mask](c, "input"); err != nil {
			return nil, err
		}
		width, height = mask.Width, mask.Height
	}
	w, h, center, err := newSize(c, width, height)
	if err != nil {
		return nil, err
	}
	method := resample.Method(c.String("scale_method"))
	multiple := 0
	if c.String("resize_type") == "scale to multiple" {
		multiple = c.Int("resize_type.multiple")
	}
	kind := c.String("resize_type")
	free := kind == "scale dimensions" || kind == "scale width" || kind == "scale height" // which may say 0 for no change
	if w == width && h == height && multiple > 0 || w == 0 && h == 0 && free {
		return c.Value("input"), nil
	}
	if isImage {
		out, err := resized(ctx, c, picture, h, w, method, center)
		if err != nil || multiple == 0 {
			return out, err
		}
		w, h := width/multiple*multiple, height/multiple*multiple
		return crop(ctx, c, out, (out.Width-w)/2, (out.Height-h)/2, w, h)
	}
	out, err := resizedMask(ctx, c, mask, h, w, method, center)
	if err != nil || multiple == 0 {
		return out, err
	}
	w, h = width/multiple*multiple, height/multiple*multiple
	x, y, in := (out.Width-w)/2, (out.Height-h)/2, readMask(out)
	return draft{size: size{out.Batch, h, w, 1}, from: []raster{out}, row: func(b, row int, dst []float32) { copy(dst, in(b, y+row)[x:]) }}.mask(ctx, c)
}

// newSize returns the size that a node is told for pictures of a size, and
// whether sides that are too long are cut. Two zeros stand for no change.
func newSize(c *workflow.Call, width, height int) (w, h int, center bool, err error) {
	name := func(input string) string { return "resize_type." + input }
	keep := func(w, h int) (int, int) { // a side of 0 follows the other
		if w == 0 && h > 0 {
			w = max(1, round(float64(width)*float64(h)/float64(height)))
		} else if h == 0 && w > 0 {
			h = max(1, round(float64(height)*float64(w)/float64(width)))
		}
		return w, h
	}
	switch c.String("resize_type") {
	case "scale dimensions":
		w, h = keep(c.Int(name("width")), c.Int(name("height")))
		center = c.String(name("crop")) == "center"
	case "scale by multiplier":
		by := c.Float(name("multiplier"))
		w, h = round(float64(width)*by), round(float64(height)*by)
	case "scale longer dimension":
		w, h = bySide(width, height, c.Int(name("longer_size")), true)
	case "scale shorter dimension":
		w, h = bySide(width, height, c.Int(name("shorter_size")), false)
	case "scale width":
		w, h = keep(c.Int(name("width")), 0)
	case "scale height":
		w, h = keep(0, c.Int(name("height")))
	case "scale total pixels":
		by := math.Sqrt(math.Floor(c.Float(name("megapixels"))*1024*1024) / float64(width*height))
		w, h = round(float64(width)*by), round(float64(height)*by)
	case "match size":
		center = c.String(name("crop")) == "center"
		if m, ok := c.Value(name("match")).(*media.Image); ok {
			return m.Width, m.Height, center, nil
		}
		m, err := Input[*media.Mask](c, name("match"))
		if err != nil {
			return 0, 0, false, err
		}
		w, h = m.Width, m.Height
	case "scale to multiple":
		w, h = cover(width, height, c.Int(name("multiple")))
	}
	return w, h, center, nil
}

// cover returns the smallest size of the same aspect ratio that covers the largest
// multiple within a size; the size itself where there is none.
func cover(width, height, multiple int) (w, h int) {
	w, h = width/multiple*multiple, height/multiple*multiple
	if w == 0 || h == 0 || w == width && h == height {
		return width, height
	}
	across, down := float64(w)/float64(width), float64(h)/float64(height)
	if across >= down {
		return w, max(h, int(math.Ceil(float64(height)*across)))
	}
	return max(w, int(math.Ceil(float64(width)*down))), h
}
