package model

import "github.com/weir-run/weir/latent"

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
	Latents map[string][]latent.Tensor
}

// The names of numbers.
const (
	// Guidance is the strength of distilled guidance: one number, or none to take
	// the guidance out.
	Guidance = "guidance"
	// Sizes are six sizes in pixels: height, width, crop top, crop left, target
	// height, target width.
	Sizes = "sizes"
	// Score says how pleasing the picture is to be, from 1 to 10.
	Score = "aesthetic_score"
	// Negative marks what a picture is not to show, with 1.
	Negative = "negative"
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

// Size returns the bytes of memory that the conditioning holds.
func (c *Cond) Size() int64 {
	n := int64(len(c.Embed) + len(c.Pooled))
	for _, v := range c.Numbers {
		n += int64(len(v))
	}
	for _, all := range c.Latents {
		for _, l := range all {
			n += int64(len(l.Data))
		}
	}
	return 4 * n
}
