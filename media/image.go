// Package media reads and writes pictures, with the workflow that made them.
package media

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-run/weir/resample"
)

// A raster is a batch of pictures of one size. Values have the shape [batch,
// height, width, channels] and lie, as a rule, between 0 and 1. They are kept as
// bytes where each is a byte over 255 or 1 less that, otherwise as float32.
// Neither is there in a planned raster, of which only the size is known.
type raster struct {
	Batch, Height, Width, Channels int

	values []float32
	bytes  []uint8
	form   form
}

// A form says how the values of a raster are kept.
type form uint8

const (
	inFloat32   form = iota
	inBytes          // a byte v stands for v/255
	inNegatives      // a byte v stands for 1 - v/255
)

// size returns how many bytes a value takes.
func (f form) size() int64 {
	if f == inFloat32 {
		return 4
	}
	return 1
}

// byteValues are what bytes stand for, by form.
var byteValues = func() (t [3][256]float32) {
	for v := range 256 {
		t[inBytes][v] = fromByte(uint8(v))
		t[inNegatives][v] = 1 - fromByte(uint8(v))
	}
	return t
}()

// decode writes what bytes stand for to dst.
func (f form) decode(dst []float32, bytes []uint8) {
	values := &byteValues[f]
	for i, v := range bytes {
		dst[i] = values[v]
	}
}

// newRaster returns a raster of zeros.
func newRaster(batch, height, width, channels int, f form) raster {
	r := raster{Batch: batch, Height: height, Width: width, Channels: channels, form: f}
	if n := r.elements(); f == inFloat32 {
		r.values = make([]float32, n)
	} else {
		r.bytes = make([]uint8, n)
	}
	return r
}

func (r *raster) elements() int { return r.Batch * r.Height * r.Width * r.Channels }

// Size returns the bytes of memory that the values take or, of a planned
// raster, would take.
func (r *raster) Size() int64 {
	return r.form.size() * int64(r.Batch) * int64(r.Height) * int64(r.Width) * int64(r.Channels)
}

// Planned reports whether only the size is known.
func (r *raster) Planned() bool { return r.values == nil && r.bytes == nil }

// Pix returns all values as float32. They may be shared and are not to be
// changed. Those of a raster that is kept in bytes are made by each call.
func (r *raster) Pix() []float32 {
	if r.form == inFloat32 {
		return r.values
	}
	out := make([]float32, len(r.bytes))
	r.form.decode(out, r.bytes)
	return out
}

// Row writes row y of picture b to dst, which must have Width·Channels values.
func (r *raster) Row(dst []float32, b, y int) {
	n := r.Width * r.Channels
	at := (b*r.Height + y) * n
	if r.form == inFloat32 {
		copy(dst, r.values[at:at+n])
		return
	}
	r.form.decode(dst, r.bytes[at:at+n])
}

// picture returns picture b, which shares the batch's memory.
func (r *raster) picture(b int) raster {
	n := r.Height * r.Width * r.Channels
	out := *r
	out.Batch = 1
	if r.values != nil {
		out.values = r.values[b*n : (b+1)*n : (b+1)*n]
	}
	if r.bytes != nil {
		out.bytes = r.bytes[b*n : (b+1)*n : (b+1)*n]
	}
	return out
}

// planar returns n channels of picture b, from the first on, in the shape [n,
// height, width].
func (r *raster) planar(ctx context.Context, b, first, n int) ([]float32, error) {
	area := r.Height * r.Width
	out := make([]float32, n*area)
	row := make([]float32, r.Width*r.Channels)
	for y := range r.Height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Row(row, b, y)
		for x := range r.Width {
			for c := range n {
				out[c*area+y*r.Width+x] = row[x*r.Channels+first+c]
			}
		}
	}
	return out, nil
}

// setPlanar writes channels of picture b, from the first on, from values of the
// shape [n, height, width], which must be such as the form can keep.
func (r *raster) setPlanar(ctx context.Context, b, first, n int, data []float32) error {
	for c := range n {
		for y := range r.Height {
			if err := ctx.Err(); err != nil {
				return err
			}
			at := (b*r.Height+y)*r.Width*r.Channels + first + c
			for _, v := range data[(c*r.Height+y)*r.Width:][:r.Width] {
				switch r.form {
				case inFloat32:
					r.values[at] = v
				case inBytes:
					r.bytes[at] = toByteExact(v)
				case inNegatives:
					r.bytes[at] = toByteExact(1 - v)
				}
				at += r.Channels
			}
		}
	}
	return nil
}

// resized returns a planned raster of another size, of the form that a method
// gives: Lanczos works in bytes.
func (r *raster) resized(height, width int, method resample.Method) raster {
	out := raster{Batch: r.Batch, Height: height, Width: width, Channels: r.Channels}
	switch method {
	case resample.Lanczos:
		out.form = inBytes
	case resample.Nearest: // copies values
		out.form = r.form
	}
	return out
}

// An Image is a batch of pictures. Channels are red, green, blue and, when
// there are four, opacity.
type Image struct{ raster }

// NewImage returns pictures of those values, which it keeps: they have the
// shape [batch, height, width, channels]. Nil stands for zeros.
func NewImage(batch, height, width, channels int, values []float32) *Image {
	if values == nil {
		return &Image{newRaster(batch, height, width, channels, inFloat32)}
	}
	return &Image{raster{Batch: batch, Height: height, Width: width, Channels: channels, values: values}}
}

// PlanImage returns planned pictures, whose values would be float32.
func PlanImage(batch, height, width, channels int) *Image {
	return &Image{raster{Batch: batch, Height: height, Width: width, Channels: channels}}
}

// PlanBytes returns planned pictures whose values would be bytes.
func PlanBytes(batch, height, width, channels int) *Image {
	return &Image{raster{Batch: batch, Height: height, Width: width, Channels: channels, form: inBytes}}
}

// Picture returns one picture of a batch. It shares the batch's memory.
func (m *Image) Picture(i int) *Image { return &Image{m.picture(i)} }

// Planar returns picture b in the shape [channels, height, width] with only the
// first channels, as models take them.
func (m *Image) Planar(ctx context.Context, b, channels int) ([]float32, error) {
	return m.planar(ctx, b, 0, channels)
}

// SetPlanar writes picture b from values of the shape [channels, height,
// width]. The image must be one of [NewImage].
func (m *Image) SetPlanar(ctx context.Context, b int, data []float32) error {
	if len(data) != m.Channels*m.Height*m.Width {
		return fmt.Errorf("a picture of %d channels of %d×%d pixels cannot be made of %d values", m.Channels, m.Width, m.Height, len(data))
	}
	return m.setPlanar(ctx, b, 0, m.Channels, data)
}

// A Mask is a batch of masks, rasters of one channel; 1 marks what a mask is
// about, 0 the rest.
type Mask struct{ raster }

// NewMask returns masks of those values, which it keeps: they have the shape
// [batch, height, width]. Nil stands for zeros.
func NewMask(batch, height, width int, values []float32) *Mask {
	return &Mask{NewImage(batch, height, width, 1, values).raster}
}

// PlanMask returns planned masks, whose values would be float32.
func PlanMask(batch, height, width int) *Mask {
	return &Mask{PlanImage(batch, height, width, 1).raster}
}

// Channel returns a channel of pictures as masks.
func (m *Image) Channel(c int) *Mask {
	out := raster{Batch: m.Batch, Height: m.Height, Width: m.Width, Channels: 1, form: m.form}
	if m.Planned() {
		return &Mask{out}
	}
	out = newRaster(m.Batch, m.Height, m.Width, 1, m.form)
	for i := range out.elements() {
		if m.form == inFloat32 {
			out.values[i] = m.values[i*m.Channels+c]
		} else {
			out.bytes[i] = m.bytes[i*m.Channels+c]
		}
	}
	return &Mask{out}
}

// InvertedSize returns the Size of what Inverted returns.
func (m *Image) InvertedSize() int64 {
	if m.form == inBytes {
		return m.Size()
	}
	return inFloat32.size() * int64(m.elements())
}

// Inverted returns the negatives of pictures. They share the memory of pictures
// that are kept in bytes.
func (m *Image) Inverted(ctx context.Context) (*Image, error) {
	out := *m
	switch {
	case m.form == inBytes:
		out.form = inNegatives
		return &out, nil
	case m.Planned():
		out.form = inFloat32
		return &out, nil
	}
	out.raster = newRaster(m.Batch, m.Height, m.Width, m.Channels, inFloat32)
	for b := range m.Batch {
		for y := range m.Height {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			row := out.values[(b*m.Height+y)*m.Width*m.Channels:][:m.Width*m.Channels]
			m.Row(row, b, y)
			for i, v := range row {
				row[i] = 1 - v
			}
		}
	}
	return &out, nil
}

// Resize returns the masks at another size.
func (m *Mask) Resize(ctx context.Context, height, width int, method resample.Method, crop bool) (*Mask, error) {
	out, err := m.resize(ctx, height, width, method, crop)
	return &Mask{out}, err
}

// Resize returns the pictures at another size. With crop, the sides that are
// too long for the new aspect ratio are cut first, equally at both ends.
func (m *Image) Resize(ctx context.Context, height, width int, method resample.Method, crop bool) (*Image, error) {
	out, err := m.resize(ctx, height, width, method, crop)
	return &Image{out}, err
}

func (r *raster) resize(ctx context.Context, height, width int, method resample.Method, crop bool) (raster, error) {
	if height < 1 || width < 1 {
		return raster{}, fmt.Errorf("cannot resize a picture to %d×%d", width, height)
	}
	out := r.resized(height, width, method)
	if r.Planned() {
		return out, nil
	}
	out = newRaster(out.Batch, height, width, out.Channels, out.form)
	premultiplied := method == resample.Lanczos && r.Channels == 4
	n := r.planesAtOnce()
	for b := range r.Batch {
		for c := 0; c < r.Channels; c += n {
			data, err := r.planar(ctx, b, c, n)
			if err != nil {
				return raster{}, err
			}
			if premultiplied {
				premultiply(data)
			}
			data, err = ResizePlanes(ctx, data, n, r.Height, r.Width, height, width, method, crop)
			if err != nil {
				return raster{}, err
			}
			if premultiplied {
				unpremultiply(data)
			}
			if err := out.setPlanar(ctx, b, c, n, data); err != nil {
				return raster{}, err
			}
		}
	}
	return out, nil
}

// planesAtOnce returns how many channels are resized together: all of them
// where one is opacity, which may scale the others.
func (r *raster) planesAtOnce() int {
	if r.Channels == 4 {
		return 4
	}
	return 1
}

// PlanResize returns the planned pictures that Resize would make.
func (m *Image) PlanResize(height, width int, method resample.Method) *Image {
	return &Image{m.resized(height, width, method)}
}

// ResizeMemory returns the bytes of memory that Resize takes beside what it
// returns: planes before and after, cut, and the rows between.
func (r *raster) ResizeMemory(height, width int) int64 {
	in, out, rows := r.Height*r.Width, height*width, r.Height*width
	return 4 * (int64(r.planesAtOnce())*int64(2*in+out) + int64(rows))
}

// ResizePlanes is Resize for values of the shape [channels, height, width],
// such as one latent.
func ResizePlanes(ctx context.Context, data []float32, channels, height, width, newHeight, newWidth int, method resample.Method, crop bool) ([]float32, error) {
	if crop && newHeight > 0 && newWidth > 0 {
		data, height, width = cropCenter(data, channels, height, width, float64(newWidth)/float64(newHeight))
	}
	return resample.Resize(ctx, data, channels, height, width, newHeight, newWidth, method)
}

// cropCenter cuts planes to an aspect ratio, width over height.
func cropCenter(data []float32, channels, height, width int, aspect float64) ([]float32, int, int) {
	x, y := 0, 0
	h, w := float64(height), float64(width)
	if old := w / h; old > aspect {
		x = int(math.RoundToEven((w - w*(aspect/old)) / 2))
	} else if old < aspect {
		y = int(math.RoundToEven((h - h*(old/aspect)) / 2))
	}
	newHeight, newWidth := max(height-2*y, 1), max(width-2*x, 1)
	out := make([]float32, 0, channels*newHeight*newWidth)
	for c := range channels {
		for row := range newHeight {
			start := (c*height+y+row)*width + x
			out = append(out, data[start:start+newWidth]...)
		}
	}
	return out, newHeight, newWidth
}

// premultiply scales the colours of planar RGBA by their opacity in 8 bits, as
// Pillow does before it resizes.
func premultiply(data []float32) {
	area := len(data) / 4
	for i := range area {
		a := uint32(resample.ToByte(data[3*area+i]))
		for c := range 3 {
			t := uint32(resample.ToByte(data[c*area+i]))*a + 128
			data[c*area+i] = fromByte(uint8((t>>8 + t) >> 8))
		}
	}
}

// unpremultiply undoes premultiply.
func unpremultiply(data []float32) {
	area := len(data) / 4
	for i := range area {
		a := uint32(toByteExact(data[3*area+i]))
		if a == 0 || a == 255 {
			continue
		}
		for c := range 3 {
			data[c*area+i] = fromByte(uint8(min(255*uint32(toByteExact(data[c*area+i]))/a, 255)))
		}
	}
}

func fromByte(v uint8) float32 { return float32(v) / 255 }

// toByteExact is the inverse of fromByte.
func toByteExact(v float32) uint8 { return uint8(math.Round(float64(v) * 255)) }
