package node

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// A raster is a picture or a mask that is read.
type raster interface {
	Planned() bool
	Pix() []float32
	Row(dst []float32, b, y int)
	Size() int64
}

// A size is that of a batch of pictures.
type size struct{ batch, height, width, channels int }

func sizeOf(m *media.Image) size    { return size{m.Batch, m.Height, m.Width, m.Channels} }
func sizeOfMask(m *media.Mask) size { return size{m.Batch, m.Height, m.Width, 1} }

// A draft is what a node makes of pictures and masks: a row at a time, in memory
// that was asked for, or nothing when an input is planned.
type draft struct {
	size
	from []raster
	// extra is memory beside the result.
	extra int64
	// row writes a row of a picture.
	row func(b, y int, dst []float32)
	// plane writes all of a picture, where rows are not made one by one.
	plane func(ctx context.Context, b int, dst []float32) error
}

// image makes the pictures of a draft.
func (d draft) image(ctx context.Context, c *workflow.Call) (*media.Image, error) {
	values, err := d.values(ctx, c)
	if values == nil || err != nil {
		return media.PlanImage(d.batch, d.height, d.width, d.channels), err
	}
	return media.NewImage(d.batch, d.height, d.width, d.channels, values), nil
}

// mask makes the masks of a draft of one channel.
func (d draft) mask(ctx context.Context, c *workflow.Call) (*media.Mask, error) {
	values, err := d.values(ctx, c)
	if values == nil || err != nil {
		return media.PlanMask(d.batch, d.height, d.width), err
	}
	return media.NewMask(d.batch, d.height, d.width, values), nil
}

// values makes the values of a draft, nil when an input is planned.
func (d draft) values(ctx context.Context, c *workflow.Call) ([]float32, error) {
	if d.height < 1 || d.width < 1 || d.batch < 1 {
		return nil, fmt.Errorf("the result would have a size of %d×%d", d.width, d.height)
	}
	if err := c.Need(ctx, media.PlanImage(d.batch, d.height, d.width, d.channels).Size()+d.extra); err != nil {
		return nil, err
	}
	for _, in := range d.from {
		if in.Planned() {
			return nil, nil
		}
	}
	n := d.width * d.channels
	values := make([]float32, d.batch*d.height*n)
	for b := range d.batch {
		if d.plane != nil {
			if err := d.plane(ctx, b, values[b*d.height*n:][:d.height*n]); err != nil {
				return nil, err
			}
			continue
		}
		for y := range d.height {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			d.row(b, y, values[(b*d.height+y)*n:][:n])
		}
	}
	return values, nil
}

// reader returns a function that reads rows of a raster whose rows have n values.
// A row stays as it is until the next is read.
func reader(m raster, n int) func(b, y int) []float32 {
	buffer := make([]float32, n)
	return func(b, y int) []float32 {
		m.Row(buffer, b, y)
		return buffer
	}
}

func read(m *media.Image) func(b, y int) []float32    { return reader(m, m.Width*m.Channels) }
func readMask(m *media.Mask) func(b, y int) []float32 { return reader(m, m.Width) }

// unpacked returns the memory that all values of a raster take beside it.
func unpacked(m raster, s size) int64 {
	if all := 4 * int64(s.batch) * int64(s.height) * int64(s.width) * int64(s.channels); m.Size() < all {
		return all
	}
	return 0
}

// resized returns pictures at another size.
func resized(ctx context.Context, c *workflow.Call, m *media.Image, height, width int, method resample.Method, crop bool) (*media.Image, error) {
	if height < 1 || width < 1 {
		return nil, fmt.Errorf("cannot resize a picture to %d×%d", width, height)
	}
	if err := c.Need(ctx, m.PlanResize(height, width, method).Size()+m.ResizeMemory(height, width)); err != nil {
		return nil, err
	}
	return m.Resize(ctx, height, width, method, crop)
}

// alpha returns pictures with as many channels as are asked for: opacity is added
// or left out.
func alpha(ctx context.Context, c *workflow.Call, m *media.Image, channels int) (*media.Image, error) {
	if m.Channels == channels {
		return m, nil
	}
	d := draft{size: size{m.Batch, m.Height, m.Width, channels}, from: []raster{m}}
	in := read(m)
	d.row = func(b, y int, dst []float32) {
		row := in(b, y)
		for x := range m.Width {
			to, from := dst[x*channels:][:channels], row[x*m.Channels:][:m.Channels]
			for i := range to {
				to[i] = 1
			}
			copy(to, from)
		}
	}
	return d.image(ctx, c)
}

// half rounds a value to the nearest integer, halves to even, as PyTorch does.
func half(v float32) float32 { return float32(math.RoundToEven(float64(v))) }
