// Package media reads and writes pictures, with the workflow that made them.
package media

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-run/weir/resample"
)

// An Image is a batch of pictures of one size. Pix has the shape [batch,
// height, width, channels] and values from 0 to 1; channels are red, green,
// blue and, when there are four, opacity.
type Image struct {
	Batch, Height, Width, Channels int
	Pix                            []float32
}

// NewImage returns black pictures.
func NewImage(batch, height, width, channels int) *Image {
	return &Image{batch, height, width, channels, make([]float32, batch*height*width*channels)}
}

// Picture returns one picture of a batch. It shares the batch's memory.
func (m *Image) Picture(i int) *Image {
	n := m.Height * m.Width * m.Channels
	return &Image{1, m.Height, m.Width, m.Channels, m.Pix[i*n : (i+1)*n]}
}

// Planar returns the pictures in the shape [batch, channels, height, width]
// with only the first so many channels, as models take them.
func (m *Image) Planar(channels int) []float32 {
	area := m.Height * m.Width
	out := make([]float32, m.Batch*channels*area)
	for b := range m.Batch {
		for i := range area {
			pixel := m.Pix[(b*area+i)*m.Channels:]
			for c := range channels {
				out[(b*channels+c)*area+i] = pixel[c]
			}
		}
	}
	return out
}

// FromPlanar returns pictures from values of the shape [batch, channels,
// height, width].
func FromPlanar(data []float32, batch, channels, height, width int) *Image {
	m := NewImage(batch, height, width, channels)
	area := height * width
	for b := range batch {
		for c := range channels {
			for i, v := range data[(b*channels+c)*area:][:area] {
				m.Pix[(b*area+i)*channels+c] = v
			}
		}
	}
	return m
}

// A Mask is a batch of masks of one size. Pix has the shape [batch, height,
// width]; 1 marks what a mask is about, 0 the rest.
type Mask struct {
	Batch, Height, Width int
	Pix                  []float32
}

// NewMask returns masks that mark nothing.
func NewMask(batch, height, width int) *Mask {
	return &Mask{batch, height, width, make([]float32, batch*height*width)}
}

// Resize returns the masks at another size.
func (m *Mask) Resize(ctx context.Context, height, width int, method resample.Method) (*Mask, error) {
	pix, err := resample.Resize(ctx, m.Pix, m.Batch, m.Height, m.Width, height, width, method)
	return &Mask{m.Batch, height, width, pix}, err
}

// Resize returns the pictures at another size. With crop, the sides that are
// too long for the new aspect ratio are cut first, equally at both ends.
func (m *Image) Resize(ctx context.Context, height, width int, method resample.Method, crop bool) (*Image, error) {
	if height < 1 || width < 1 {
		return nil, fmt.Errorf("cannot resize a picture to %d×%d", width, height)
	}
	out := &Image{Batch: m.Batch, Height: height, Width: width, Channels: m.Channels}
	premultiplied := method == resample.Lanczos && m.Channels == 4
	for b := range m.Batch {
		data := m.Picture(b).Planar(m.Channels)
		if premultiplied {
			premultiply(data)
		}
		data, err := ResizePlanes(ctx, data, m.Channels, m.Height, m.Width, height, width, method, crop)
		if err != nil {
			return nil, err
		}
		if premultiplied {
			unpremultiply(data)
		}
		out.Pix = append(out.Pix, FromPlanar(data, 1, m.Channels, height, width).Pix...)
	}
	return out, nil
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
