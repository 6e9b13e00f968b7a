package diffusion

import (
	"context"
	"math"

	"github.com/weir-run/weir/latent"
)

// A Network predicts the noise, or the velocity, of a state.
type Network interface {
	// Predict returns the prediction for each of the payloads. x is scaled to a
	// variance of 1; t is the timestep. Payloads may be run as one batch or one
	// after the other. Where only the size of the latents is known, x has their
	// shape and one value, and so has each prediction.
	Predict(ctx context.Context, x latent.Tensor, t float32, payloads []any) ([][]float32, error)
}

// A Cond is a part of what a picture is to show, or not to show.
type Cond struct {
	// Payload is given to the network as it is.
	Payload any
	// Strength weighs the prediction against those of other parts.
	Strength float32
	// Mask, if it is not nil, weighs the prediction at each place of a latent:
	// [time, height, width], or [batch, time, height, width].
	Mask []float32
	// Start and End limit the part to a range of the sampling, from 0 (all
	// noise) to 1 (none).
	Start, End float64
}

// A Model is what is sampled: a network, the process of its training, and rules
// that change how it is guided.
type Model struct {
	Network Network
	Process *Process
	Rules   Rules
}

// A Guider denoises with a model that is guided by conditions (Ho and Salimans
// 2022, Classifier-Free Diffusion Guidance).
type Guider interface {
	model() *Model
	// prompts returns all conditions, of which the first must say something.
	prompts() [][]Cond
	// scales returns the strengths of the guidance.
	scales() []float64
	// denoise returns what a state is taken for without its noise, with guidance,
	// and with the negative conditions alone. The latter may be nil where neither
	// the guidance nor the sampler needs it.
	denoise(ctx context.Context, e *evaluation) (guided, uncond []float32, err error)
}

// CFG is classifier-free guidance: away from the negative conditions through the
// positive ones, and Scale times as far. A Scale of 1 needs no negative ones.
type CFG struct {
	Model
	Positive, Negative []Cond
	Scale              float64
}

func (g *CFG) model() *Model     { return &g.Model }
func (g *CFG) prompts() [][]Cond { return [][]Cond{g.Positive, g.Negative} }
func (g *CFG) scales() []float64 { return []float64{g.Scale} }

func (g *CFG) denoise(ctx context.Context, e *evaluation) (guided, uncond []float32, err error) {
	guides := e.always || !isOne(g.Scale)
	negative := g.Negative
	if !guides {
		negative = nil
	}
	d, err := e.predict(ctx, g.Positive, negative)
	if err != nil {
		return nil, nil, err
	}
	if !guides && g.Rules.none() {
		return d[0], nil, nil
	}
	return e.guide(d[0], d[1], g.Scale), d[1], nil
}

// DualCFG guides by two conditions, each with a scale of its own (Brooks et al.
// 2023, InstructPix2Pix, section 3.2.1): from the negative conditions through
// Second, and from there, or nested from the result, through First.
type DualCFG struct {
	Model
	First, Second, Negative []Cond
	Scale, SecondScale      float64
	Nested                  bool
}

func (g *DualCFG) model() *Model     { return &g.Model }
func (g *DualCFG) prompts() [][]Cond { return [][]Cond{g.First, g.Second, g.Negative} }
func (g *DualCFG) scales() []float64 { return []float64{g.Scale, g.SecondScale} }

func (g *DualCFG) denoise(ctx context.Context, e *evaluation) (guided, uncond []float32, err error) {
	second, negative := g.Second, g.Negative
	if !g.Nested && !e.always && isOne(g.SecondScale) {
		if negative = nil; isOne(g.Scale) {
			second = nil
		}
	}
	d, err := e.predict(ctx, g.First, second, negative)
	if err != nil {
		return nil, nil, err
	}
	if g.Nested {
		inner := e.guide(d[0], d[1], g.Scale)
		return sum(term{1 - g.SecondScale, d[2]}, term{g.SecondScale, inner}), d[1], nil
	}
	outer := e.guide(d[1], d[2], g.SecondScale)
	return sum(term{1, outer}, term{g.Scale, d[0]}, term{-g.Scale, d[1]}), d[2], nil
}

// isOne reports whether a scale is 1 but for rounding.
func isOne(scale float64) bool { return math.Abs(scale-1) <= 1e-9*max(math.Abs(scale), 1) }

// An evaluation is a state at a noise level that is to be denoised.
type evaluation struct {
	*Model
	x     latent.Tensor // one value, if the latents are planned
	shape latent.Shape  // of the latents
	sigma float64
	// always asks for the negative conditions at any guidance.
	always bool
}

// predict returns the state denoised under each group of conditions. Groups that
// are empty give 0.
func (e *evaluation) predict(ctx context.Context, groups ...[]Cond) ([][]float32, error) {
	var all []Cond
	var payloads []any
	active := make([][]Cond, len(groups))
	for i, group := range groups {
		for _, c := range group {
			if e.Process.within(e.sigma, c.Start, c.End) {
				active[i] = append(active[i], c)
				payloads = append(payloads, c.Payload)
			}
		}
		all = append(all, active[i]...)
	}
	var predictions [][]float32
	if len(all) > 0 {
		x := latent.Tensor{Shape: e.shape, Data: e.Process.input(e.x.Data, e.sigma)}
		var err error
		if predictions, err = e.Network.Predict(ctx, x, float32(e.Process.Timestep(e.sigma)), payloads); err != nil {
			return nil, err
		}
		for i, p := range predictions {
			predictions[i] = e.Process.denoised(e.x.Data, p, e.sigma)
		}
	}
	out := make([][]float32, len(groups))
	for i, conds := range active {
		out[i] = e.mean(conds, predictions[:len(conds)])
		predictions = predictions[len(conds):]
	}
	return out, nil
}

// mean returns the average of what was denoised under several conditions,
// weighed by their strengths and masks. Where none applies it is 0.
func (e *evaluation) mean(conds []Cond, denoised [][]float32) []float32 {
	if len(conds) == 1 && conds[0].Mask == nil && conds[0].Strength != 0 {
		return denoised[0]
	}
	n, item, volume := e.x.Elems(), e.x.Item(), e.x.Volume()
	total, out := make([]float32, n), make([]float32, n)
	for k, c := range conds {
		for i := range out {
			w := c.Strength
			if c.Mask != nil {
				at := i / item * volume % len(c.Mask)
				w *= c.Mask[at+i%volume]
			}
			total[i] += w
			out[i] += w * denoised[k][i]
		}
	}
	for i, w := range total {
		if w != 0 {
			out[i] /= w
		}
	}
	return out
}
