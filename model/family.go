// Package model says what a family of diffusion models is: how its denoiser is
// recognised, built and told what to show. Packages below it are families, text
// encoders and the layers that they are made of.
package model

import (
	"fmt"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/process"
)

// The prefixes under which the networks of a file stand once its names are
// arranged, whatever prefixes the file has.
const (
	DenoiserPrefix    = "model.diffusion_model."
	AutoencoderPrefix = "first_stage_model."
)

// A Family is a kind of denoiser.
type Family struct {
	// Name is the family's for people, such as "Stable Diffusion XL".
	Name string
	// Names find the denoiser in a file.
	Names Names
	// Match recognises the denoiser whose weights are under DenoiserPrefix, and
	// checks every weight. Of another family's it returns nil and no error. Its
	// error says what was recognised and what does not fit.
	Match func(src nn.Tensors, metadata map[string]string) (Config, error)
}

// Matches returns the Match of a family whose denoiser is told from its tensors
// alone, by a function that returns the zero value for another family's.
func Matches[C interface {
	comparable
	Config
}](detect func(nn.Tensors) (C, error)) func(nn.Tensors, map[string]string) (Config, error) {
	return func(src nn.Tensors, _ map[string]string) (Config, error) {
		var other C
		c, err := detect(src)
		if c == other || err != nil {
			return nil, err
		}
		return c, nil
	}
}

// A Config is a denoiser that was recognised, with what belongs to it.
type Config interface {
	// Family returns the name of the family or of its variant, for people.
	Family() string
	// Describe returns sizes and conventions, for people.
	Describe() string
	// Doubts returns what the metadata say and was not understood.
	Doubts() []string

	// Latent is the format of the latents.
	Latent() latent.Format
	// Process is the noise process that the denoiser was trained with.
	Process() process.Process
	// Text returns the ways of encoding prompts that the denoiser may be given, the
	// usual one first.
	Text() []*Text

	// Shape returns what the graph depends on for latents of a shape under a
	// conditioning. Its error says which part of the conditioning does not fit, and
	// what to do.
	Shape(x latent.Shape, c *Cond) (Shape, error)
	// Denoiser builds the graph. Its inputs are the latents x[batch, channels,
	// height, width], the timesteps t[batch] and those of Inputs; its output is y
	// in the shape of x.
	Denoiser(s nn.Scope, in Shape)
	// Inputs returns how a conditioning fills the other inputs of the graph.
	Inputs(in Shape) []Input
	// Check compares the weights of the denoiser with those of a source, in which
	// they are under DenoiserPrefix.
	Check(src nn.Source) *nn.Audit
	// Layers yields every layer that may have weights.
	Layers(yield func(Layer) bool)
}

// CheckDenoiser compares the weights that a denoiser's builder reads with those of
// a source, in which they are under DenoiserPrefix: for one latent of a shape and
// one token.
func CheckDenoiser(src nn.Source, x latent.Shape, build func(nn.Scope, Shape)) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) { build(s.Sub(DenoiserPrefix), Shape{Shape: x, Tokens: 1}) })
}

// A Shape is what the graph of a denoiser depends on. Latents of one shape and
// conditionings that lead to equal shapes run as one batch.
type Shape struct {
	// The shape of the latents.
	latent.Shape
	// Tokens is the number of tokens of the text.
	Tokens int
	// References are the shapes of the reference latents, one of each.
	References []latent.Shape
	// More is the family's own, such as a variant.
	More string
}

// Equal reports whether two shapes lead to the same graph.
func (s Shape) Equal(t Shape) bool { return s.Key() == t.Key() }

// Key returns a text that tells the shape from others.
func (s Shape) Key() string {
	return fmt.Sprint(s.Batch, s.Channels, s.Time, s.Height, s.Width, s.Tokens, s.References, s.More)
}

// An Input is an input of a denoiser's graph besides the latents and timesteps.
type Input struct {
	Name string
	// Of returns the values for one latent under a conditioning. Those of a batch
	// stand one behind another.
	Of func(c *Cond) []float32
	// Table, in the place of Of, returns values that are the same for the whole
	// batch, such as cosines and sines of positions.
	Table func() []float32
	// Index, in the place of Of, returns integers that are the same for the whole
	// batch, such as rows of a table.
	Index func() []int32
}
