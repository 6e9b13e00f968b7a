// Package node has the built-in nodes, with ComfyUI's class names, inputs,
// defaults and outputs.
package node

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/workflow"
)

// A Latent is a LATENT: a batch of pictures in a model's own space. Nodes pass
// a *Latent and never change one that they were given.
type Latent struct {
	// Tensor has no values if it is empty, and if it is planned, so that only its
	// size is known.
	latent.Tensor
	// NoiseMask marks with 1 what sampling may change; nil stands for all. Its
	// size is that of a picture and not of the latent.
	NoiseMask *media.Mask
	// BatchIndex says which place in its first batch each latent had, which
	// decides its noise; nil stands for 0, 1, 2, ...
	BatchIndex []int
	// Empty says that the latents are zeros of which only the size counts, so
	// that whoever uses them makes as many channels and values as its model has.
	// No memory is taken for what a workflow merely claims.
	Empty bool
	// Stride is what one value stands for; 0 is one frame of 8×8 pixels.
	Stride latent.Stride
}

// planned reports whether only the size is known.
func (l *Latent) planned() bool { return l.Data == nil && !l.Empty }

// Size returns the bytes of memory that the latent holds.
func (l *Latent) Size() (n int64) {
	if !l.Empty {
		n = l.Bytes()
	}
	if l.NoiseMask != nil {
		n += l.NoiseMask.Size()
	}
	return n
}

// Conditioning is a CONDITIONING: what a picture should show, in parts that are
// all applied.
type Conditioning []Cond

// Size returns the bytes of memory that the conditioning holds.
func (c Conditioning) Size() (n int64) {
	for _, cond := range c {
		n += cond.Cond.Size()
		for _, m := range []*media.Mask{cond.Mask, cond.ConcatMask} {
			if m != nil {
				n += m.Size()
			}
		}
	}
	return n
}

// A Cond is one part of a Conditioning.
type Cond struct {
	// The text, with extras that some models take.
	model.Cond
	// Start and End limit the part to a range of the sampling, from 0 (all
	// noise) to 1 (no noise).
	Start, End float64
	// Strength weighs the part against others.
	Strength float64
	// Mask limits the part to where it is 1; nil for everywhere.
	Mask *media.Mask
	// ConcatMask marks what is to be painted of the picture among the extras that
	// stands beside the latents; nil for none.
	ConcatMask *media.Mask
}

// NewCond returns a part that applies fully, always and everywhere.
func NewCond(embed []float32, tokens, width int, pooled []float32) Cond {
	return Cond{Cond: model.Cond{Embed: embed, Tokens: tokens, Width: width, Pooled: pooled}, End: 1, Strength: 1}
}

// absent is an output that a node cannot give: the VAE of a checkpoint without
// one. Its error is that of the node that uses it.
type absent struct{ error }

// given returns an output, or what stands for it if there is an error.
func given(v any, err error) any {
	if err != nil {
		return absent{err}
	}
	return v
}

// Input returns a linked input as what it should be, for example
// Input[*Latent](c, "samples"). What the linked node could not give is an error
// here.
func Input[T any](c *workflow.Call, name string) (T, error) {
	v, ok := c.Value(name).(T)
	if ok {
		return v, nil
	}
	if none, ok := c.Value(name).(absent); ok {
		return v, fmt.Errorf("input %s: %w", name, none.error)
	}
	in := c.Schema.Input(name)
	if c.Value(name) == nil {
		return v, fmt.Errorf("input %s: the linked node has no %s to give", name, in.Type)
	}
	return v, fmt.Errorf("input %s: expected %s, found %T", name, in.Type, c.Value(name))
}

// preparing returns what has the first weights of a linked model brought in,
// when it is known.
func preparing[T any](input string, prefetch func(T)) func(context.Context, *workflow.Call) {
	return func(_ context.Context, c *workflow.Call) {
		if model, err := Input[T](c, input); err == nil {
			prefetch(model)
		}
	}
}

// maxResolution bounds widths and heights in pixels, in ComfyUI too.
const maxResolution = 16384
