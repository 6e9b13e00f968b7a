package diffusion

import (
	"context"
	"math"
)

// A guide denoises with a network that is guided by conditions (Ho and
// Salimans 2022, Classifier-Free Diffusion Guidance).
type guide struct {
	Network
	job *Job
	// always evaluates the negative conditions, which a guidance of 1 does not
	// need.
	always bool
}

// denoise returns what x is taken for without its noise, with guidance, and
// with the negative conditions alone. The latter is nil where neither the
// guidance nor the sampler needs it.
func (g *guide) denoise(ctx context.Context, x []float32, sigma float64) (guided, uncond []float32, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	guides := g.always || math.Abs(g.job.CFG-1) > 1e-9*max(math.Abs(g.job.CFG), 1)
	positive := g.active(g.job.Positive, sigma)
	var negative []Cond
	if guides {
		negative = g.active(g.job.Negative, sigma)
	}
	predictions, err := g.predict(ctx, x, sigma, append(positive[:len(positive):len(positive)], negative...))
	if err != nil {
		return nil, nil, err
	}
	p := g.mean(positive, predictions[:len(positive)])
	if !guides {
		return p, nil, nil
	}
	n := g.mean(negative, predictions[len(positive):])
	return sum(term{1 - g.job.CFG, n}, term{g.job.CFG, p}), n, nil
}

// active returns the conditions that apply at a noise level.
func (g *guide) active(all []Cond, sigma float64) []Cond {
	var out []Cond
	for _, c := range all {
		if sigma <= g.job.Table.At(c.Start) && sigma >= g.job.Table.At(c.End) {
			out = append(out, c)
		}
	}
	return out
}

// predict returns x denoised under each condition.
func (g *guide) predict(ctx context.Context, x []float32, sigma float64, conds []Cond) ([][]float32, error) {
	if len(conds) == 0 {
		return nil, nil
	}
	payloads := make([]any, len(conds))
	for i, c := range conds {
		payloads[i] = c.Payload
	}
	table := g.job.Table
	scale := 1 / math.Sqrt(sigma*sigma+1)
	if table.Prediction == Flow {
		scale = 1
	}
	out, err := g.Predict(ctx, g.job.Latents.With(sum(term{scale, x})), float32(table.Timestep(sigma)), payloads)
	if err != nil {
		return nil, err
	}
	for i, p := range out {
		out[i] = table.denoised(x, p, sigma)
	}
	return out, nil
}

// mean returns the average of what was denoised under several conditions,
// weighed by their strengths and masks. Where none applies it is 0.
func (g *guide) mean(conds []Cond, denoised [][]float32) []float32 {
	shape := g.job.Latents.Shape
	n, volume := shape.Elems(), shape.Volume()
	if len(conds) == 1 && conds[0].Mask == nil && conds[0].Strength != 0 {
		return denoised[0]
	}
	total, out := make([]float32, n), make([]float32, n)
	for k, c := range conds {
		for i := range out {
			w := c.Strength
			if c.Mask != nil {
				at := i / shape.Item() * volume % len(c.Mask)
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
