package diffusion

import (
	"math"

	"github.com/weir-run/weir/latent"
)

// Rules change how a model is guided.
type Rules struct {
	// Combine, in place of the usual one, makes a guided state of the positive and
	// the negative one.
	Combine Rule
	// After are applied to the guided state in order.
	After []Rule
	// Mask changes the mask of an inpainting at each level.
	Mask MaskRule
}

// A Rule returns another guided state.
type Rule func(g Guided) []float32

// A MaskRule returns the mask of an inpainting at a level of a schedule.
type MaskRule func(p *Process, sigmas Sigmas, sigma float64, mask []float32) []float32

// Guided is an evaluation that is being guided. A Rule changes none of its values.
type Guided struct {
	Process *Process
	Shape   latent.Shape
	Sigma   float64
	Scale   float64
	// X is the state; the others are taken for it without its noise. Denoised is
	// the guided one so far.
	X, Positive, Negative, Denoised []float32
}

// none reports whether there is no rule of guidance.
func (r Rules) none() bool { return r.Combine == nil && r.After == nil }

// With returns the rules with more rules after them.
func (r Rules) With(after ...Rule) Rules {
	r.After = append(r.After[:len(r.After):len(r.After)], after...)
	return r
}

// guide goes from the negative through the positive state, scale times as far.
func (e *evaluation) guide(positive, negative []float32, scale float64) []float32 {
	g := Guided{Process: e.Process, Shape: e.x.Shape, Sigma: e.sigma, Scale: scale, X: e.x.Data, Positive: positive, Negative: negative}
	g.Denoised = g.linear()
	if e.Rules.Combine != nil {
		g.Denoised = e.Rules.Combine(g)
	}
	for _, rule := range e.Rules.After {
		g.Denoised = rule(g)
	}
	return g.Denoised
}

// linear returns the usual guided state.
func (g Guided) linear() []float32 {
	return sum(term{1 - g.Scale, g.Negative}, term{g.Scale, g.Positive})
}

// Rescaled gives the guided prediction a part of the deviation that the positive
// one has (Lin et al. 2024, Common Diffusion Noise Schedules and Sample Steps are
// Flawed, section 3.4): of a flow that of x0, of others that of the velocity.
func Rescaled(part float64) Rule {
	return func(g Guided) []float32 {
		positive, guided := g.Positive, g.linear()
		v := g.Sigma*g.Sigma + 1
		if !g.Process.Flow() {
			velocity := func(d []float32) []float32 {
				c := math.Sqrt(v) / g.Sigma
				return sum(term{c / v, g.X}, term{-c, d})
			}
			positive, guided = velocity(positive), velocity(guided)
		}
		out := make([]float32, len(guided))
		n := g.Shape.Item()
		for i := range g.Shape.Batch {
			p, q := positive[i*n:][:n], guided[i*n:][:n]
			ratio := deviation(p) / max(deviation(q), 1e-8)
			c := float32(part*ratio + 1 - part)
			for k, v := range q {
				out[i*n+k] = v * c
			}
		}
		if g.Process.Flow() {
			return out
		}
		return sum(term{1 / v, g.X}, term{-g.Sigma / math.Sqrt(v), out})
	}
}

// deviation returns the standard deviation of a sample.
func deviation(values []float32) float64 {
	var mean, total float64
	for _, v := range values {
		mean += float64(v)
	}
	mean /= float64(len(values))
	for _, v := range values {
		total += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(total / float64(max(len(values)-1, 1)))
}

// Shortened makes the guided state at each place no longer, over the channels,
// than the positive one, times a strength.
func Shortened(strength float64) Rule {
	return func(g Guided) []float32 {
		return g.scaled(g.Positive, g.Denoised, func(positive, guided float64) float64 {
			return min(positive/(guided+1e-8), 1) * strength
		})
	}
}

// EqualNoise gives the guided noise at each place the length, over the channels,
// of the positive one, or of a part of both.
func EqualNoise(part float64) Rule {
	return func(g Guided) []float32 {
		noise := func(d []float32) []float32 { return sum(term{1, g.X}, term{-1, d}) }
		positive, guided := noise(g.Positive), noise(g.linear())
		out := g.scaled(positive, guided, func(positive, guided float64) float64 {
			if guided == 0 {
				return 1
			}
			return part*positive/max(guided, 1e-12) + 1 - part
		})
		return noise(out)
	}
}

// scaled returns b times a factor at each place, of the lengths of a and b over
// the channels there.
func (g Guided) scaled(a, b []float32, factor func(a, b float64) float64) []float32 {
	out := make([]float32, len(b))
	volume := g.Shape.Volume()
	for item := range g.Shape.Batch {
		for place := range volume {
			var x, y float64
			at := func(channel int) int { return (item*g.Shape.Channels+channel)*volume + place }
			for c := range g.Shape.Channels {
				x += float64(a[at(c)]) * float64(a[at(c)])
				y += float64(b[at(c)]) * float64(b[at(c)])
			}
			f := float32(factor(math.Sqrt(x), math.Sqrt(y)))
			for c := range g.Shape.Channels {
				out[at(c)] = b[at(c)] * f
			}
		}
	}
	return out
}

// ZeroStar scales the negative state so that it is as near to the positive one as
// it can be (Fan et al. 2025, CFG-Zero*).
func ZeroStar(g Guided) []float32 {
	out := make([]float32, len(g.Denoised))
	n := g.Shape.Item()
	for item := range g.Shape.Batch {
		var product, square float64
		for i := item * n; i < (item+1)*n; i++ {
			p, q := float64(g.X[i]-g.Positive[i]), float64(g.X[i]-g.Negative[i])
			product += p * q
			square += q * q
		}
		c := float32((product/(square+1e-8) - 1) * (1 - g.Scale))
		for i := item * n; i < (item+1)*n; i++ {
			out[i] = g.Denoised[i] + g.Negative[i]*c
		}
	}
	return out
}

// Gradual has what a mask marks with less change only in the last steps (Levin
// and Fried 2023, Differential Diffusion). Below a strength of 1 it is mixed with
// the mask as it is.
func Gradual(strength float64) MaskRule {
	return func(p *Process, sigmas Sigmas, sigma float64, mask []float32) []float32 {
		first, last := p.Timestep(sigmas[0]), p.Timestep(max(p.Min(), sigmas[len(sigmas)-1]))
		threshold := float32((p.Timestep(sigma) - last) / (first - last))
		part := float32(1)
		if strength > 0 && strength < 1 {
			part = float32(strength)
		}
		out := make([]float32, len(mask))
		for i, m := range mask {
			out[i] = (1 - part) * m
			if m >= threshold {
				out[i] += part
			}
		}
		return out
	}
}
