package model

// A Cond is what a denoiser is told to show: an encoded prompt, and extras by
// name. Which extras count is the family's to say; the others are ignored, as
// are all by families that have none.
type Cond struct {
	// Embed has the shape [Tokens, Width].
	Embed         []float32
	Tokens, Width int
	// Pooled is the summary of the whole text, nil for none.
	Pooled []float32

	// Numbers are extras that are a few numbers.
	Numbers map[string][]float32
	// Latents are extras that are latents in the model's scale, one or several.
	Latents map[string][]Latent
}

// The names of numbers.
const (
	// Guidance is the strength of distilled guidance: one number, or none to take
	// the guidance out.
	Guidance = "guidance"
	// Sizes are six sizes in pixels: height, width, crop top, crop left, target
	// height, target width.
	Sizes = "sizes"
	// ReferenceMethod says where reference pictures are: 0 beside each other
	// (offset), 1 one behind another (index), 2 beyond the corner (uxo), 3 one
	// behind another and without noise (index_timestep_zero). Without one it is the
	// family's.
	ReferenceMethod = "reference_latents_method"
)

// The names of latents.
const (
	// References are pictures that the new one follows.
	References = "reference_latents"
	// Concat are further channels of the latents, such as those of a masked
	// picture and its mask, in their order.
	Concat = "concat_latents"
)

// Number returns the first value of an extra, or a default where there is none.
func (c *Cond) Number(name string, or float32) float32 {
	if v := c.Numbers[name]; len(v) > 0 {
		return v[0]
	}
	return or
}

// A LatentShape is channels, time, height and width of one latent.
type LatentShape [4]int

// A Latent is one latent.
type Latent struct {
	Shape LatentShape
	Pix   []float32
}

// A Format says what latents are.
type Format struct {
	Channels int
	// Stride is how many frames and pixels one value stands for: time, height,
	// width.
	Stride [3]int
	// Scale and Shift turn the autoencoder's latents into the denoiser's:
	// (z - Shift)·Scale.
	Scale, Shift float32
}

// A Process is a noise process as plain data.
type Process struct {
	// Velocity says that the network predicts the velocity, not the noise, of
	// Stable Diffusion's process; ZeroSNR that it ends in pure noise.
	Velocity, ZeroSNR bool
	// Flow says that it is a rectified flow from 1 to 0 whose times are shifted by
	// Shift, of so many Levels. The network is told Multiplier times the level.
	Flow              bool
	Shift, Multiplier float64
	Levels            int
}
