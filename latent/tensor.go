package latent

import "fmt"

// A Shape is the size of a batch of latents. Pictures have a Time of 1.
type Shape struct{ Batch, Channels, Time, Height, Width int }

// Picture returns the shape of a batch of latents without time.
func Picture(batch, channels, height, width int) Shape {
	return Shape{Batch: batch, Channels: channels, Time: 1, Height: height, Width: width}
}

// Elems returns the number of values.
func (s Shape) Elems() int { return s.Batch * s.Item() }

// Item returns the number of values of one latent of the batch.
func (s Shape) Item() int { return s.Channels * s.Volume() }

// Volume returns the number of places of one channel: all frames' areas.
func (s Shape) Volume() int { return s.Time * s.Area() }

// Area returns the number of places of one frame.
func (s Shape) Area() int { return s.Height * s.Width }

// Bytes returns the bytes of memory that the values take. It does not overflow
// where Elems does on small machines.
func (s Shape) Bytes() int64 {
	return 4 * int64(s.Batch) * int64(s.Channels) * int64(s.Time) * int64(s.Height) * int64(s.Width)
}

// String returns the dimensions as [batch channels height width], with the time
// before the height if there is more than one frame.
func (s Shape) String() string {
	if s.Time == 1 {
		return fmt.Sprint([]int{s.Batch, s.Channels, s.Height, s.Width})
	}
	return fmt.Sprint([]int{s.Batch, s.Channels, s.Time, s.Height, s.Width})
}

// A Tensor is a batch of latents.
type Tensor struct {
	Shape
	// Data has the values in the order of the shape's dimensions, the width
	// innermost. A planned tensor has none: only its size is known.
	Data []float32
}

// New returns a tensor of zeros.
func New(s Shape) Tensor { return Tensor{s, make([]float32, s.Elems())} }

// At returns one latent of the batch, which shares the values.
func (t Tensor) At(i int) Tensor {
	n := t.Item()
	t.Batch, t.Data = 1, t.Data[i*n:(i+1)*n]
	return t
}

// With returns a tensor of the same shape with other values.
func (t Tensor) With(data []float32) Tensor { return Tensor{t.Shape, data} }
