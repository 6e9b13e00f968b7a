package latent

import "fmt"

// A Stride is the number of frames and pixels that one value of a latent stands
// for in each direction.
type Stride struct{ Time, Height, Width int }

// A Format is the latents of a family of models.
type Format struct {
	Name     string
	Channels int
	Stride   Stride
	// Scale and Shift turn an autoencoder's latents z into a denoiser's,
	// (z - Shift)·Scale. Each has one value for all channels or one for each; nil
	// leaves the latents as they are.
	Scale, Shift []float32
}

// Square returns a format without time whose values stand for squares of pixels.
func Square(name string, channels, stride int, scale, shift float32) Format {
	return Format{Name: name, Channels: channels, Stride: Stride{1, stride, stride}, Scale: []float32{scale}, Shift: []float32{shift}}
}

// WithChannels returns the format with another number of channels.
func (f Format) WithChannels(n int) Format {
	f.Channels = n
	return f
}

// The formats that several families share.
var (
	// SD3 is that of Stable Diffusion 3 and 3.5.
	SD3 = Square("SD3", 16, 8, 1.5305, 0.0609)
	// Flux is that of FLUX.1, Chroma and Z-Image.
	Flux = Square("FLUX", 16, 8, 0.3611, 0.1159)
	// Flux2 is that of FLUX.2, whose autoencoder puts squares of 2×2 values of 32
	// channels into 128 channels and normalizes them itself.
	Flux2 = Format{Name: "FLUX.2", Channels: 128, Stride: Stride{1, 16, 16}}
)

// Of returns the shape of the latents of a batch of pictures, or of videos of a
// number of frames. What is no multiple of the stride is cut.
func (f Format) Of(batch, frames, height, width int) Shape {
	return Shape{batch, f.Channels, (max(frames, 1)-1)/f.Stride.Time + 1, height / f.Stride.Height, width / f.Stride.Width}
}

// Pixels returns the frames, height and width of what latents of a shape stand
// for. The first value of the time stands for a single frame.
func (f Format) Pixels(s Shape) (frames, height, width int) {
	return (s.Time-1)*f.Stride.Time + 1, s.Height * f.Stride.Height, s.Width * f.Stride.Width
}

// Check reports latents that are not of the format.
func (f Format) Check(s Shape) error {
	if s.Channels != f.Channels {
		return fmt.Errorf("latents of %d channels, the model has %d: encode the picture with the model's own VAE", s.Channels, f.Channels)
	}
	if s.Time != 1 && f.Stride.Time == 1 {
		return fmt.Errorf("latents of %d frames, the model makes pictures", s.Time)
	}
	return nil
}

// In returns an autoencoder's latents as the denoiser has them. Their shape must
// pass Check. Planned ones stay so.
func (f Format) In(t Tensor) Tensor {
	return f.each(t, func(v, scale, shift float32) float32 { return (v - shift) * scale })
}

// Out returns a denoiser's latents as the autoencoder has them. Their shape must
// pass Check.
func (f Format) Out(t Tensor) Tensor {
	return f.each(t, func(v, scale, shift float32) float32 { return v/scale + shift })
}

// each returns the values changed by f with the scale and shift of their channel.
func (f Format) each(t Tensor, change func(v, scale, shift float32) float32) Tensor {
	if f.Scale == nil && f.Shift == nil || t.Data == nil {
		return t
	}
	out := t.With(make([]float32, len(t.Data)))
	volume := t.Volume()
	for plane := range t.Batch * t.Channels {
		scale, shift := of(f.Scale, plane%t.Channels, 1), of(f.Shift, plane%t.Channels, 0)
		for i, v := range t.Data[plane*volume:][:volume] {
			out.Data[plane*volume+i] = change(v, scale, shift)
		}
	}
	return out
}

// of returns a channel's value of one for all or one for each.
func of(values []float32, channel int, none float32) float32 {
	switch len(values) {
	case 0:
		return none
	case 1:
		return values[0]
	}
	return values[channel]
}
