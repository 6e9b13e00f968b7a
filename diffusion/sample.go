package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/latent"
)

// A Job is what there is to sample.
type Job struct {
	Noise   Noise
	Guider  Guider
	Sampler Sampler
	Sigmas  Sigmas
	// Latents are what sampling starts from, in the network's scale. Planned ones
	// are sampled as one value, so that the network is called as often.
	Latents latent.Tensor
	// Mask marks with 1 what may change: nil for everything, or [batch, time,
	// height, width] at the size of the latents.
	Mask []float32

	// Progress, if it is not nil, is called after each step with what the state
	// was taken for without its noise, which must not be changed.
	Progress func(step, steps int, denoised []float32)
}

// Memory bounds the bytes that Sample holds at a time beside the network's own.
func (j *Job) Memory() int64 { return int64(j.Sampler.states()) * j.Latents.Bytes() }

// Sample runs a job and returns the latents, or none of planned ones. It ends
// early with the context's error when it is cancelled.
func Sample(ctx context.Context, job Job) ([]float32, error) {
	if err := job.check(); err != nil {
		return nil, err
	}
	planned := job.Latents.Data == nil
	shape := job.Latents.Shape
	if planned {
		job.Latents = latent.New(latent.Picture(1, 1, 1, 1))
		job.Noise.BatchIndex = nil
	}
	out, err := job.run(ctx, shape)
	if err != nil {
		return nil, fmt.Errorf("sampler %s: %w", job.Sampler.Name, err)
	}
	if planned {
		return nil, nil
	}
	return out, nil
}

// run follows the noise levels with the sampler. The network is given latents of
// a shape.
func (j *Job) run(ctx context.Context, shape latent.Shape) ([]float32, error) {
	if len(j.Sigmas) == 0 {
		return slices.Clone(j.Latents.Data), nil
	}
	p, first := j.Guider.model().Process, j.Sigmas[0]
	noise := j.Noise.First(ctx, j.Latents.Shape)
	s := &state{
		ctx: ctx, process: p, sigmas: j.Sigmas, Options: j.Sampler.Options,
		x:     p.first(j.Latents.Data, noise, first),
		noise: j.Noise.steps(ctx, j.Latents.Shape),
		path:  j.Noise.path(ctx, j.Sigmas, j.Latents.Shape, j.Sampler.path == pathBySource),
		progress: func(step int, denoised []float32) {
			if j.Progress != nil {
				j.Progress(step+1, len(j.Sigmas)-1, denoised)
			}
		},
		denoise: func(ctx context.Context, x []float32, sigma float64) (guided, uncond []float32, err error) {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			e := evaluation{Model: j.Guider.model(), x: j.Latents.With(x), shape: shape, sigma: sigma, always: j.Sampler.cfgPP}
			return j.Guider.denoise(ctx, &e)
		},
	}
	if j.Mask != nil {
		if j.Sampler.randomInpaint {
			noise = j.Noise.kept(ctx, j.Latents.Shape)
		}
		s.denoise = j.inpaint(s.denoise, noise)
	}
	x := s.x
	var err error
	if len(j.Sigmas) > 1 {
		x, err = j.Sampler.run(s)
	}
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	x = p.last(x, j.Sigmas[len(j.Sigmas)-1])
	if i := slices.IndexFunc(x, func(v float32) bool { return !(math.Abs(float64(v)) <= math.MaxFloat32) }); i >= 0 {
		return nil, fault.New(fault.Model, "value %d of the latents is %v at the end: the network's results are not finite; another precision of the model, or a smaller cfg than %g", i, x[i], j.Guider.scales()[0])
	}
	return x, nil
}

// maxCFG bounds the guidance, whose product with a state must be finite.
const maxCFG = 1e6

func (j *Job) check() error {
	s := j.Latents.Shape
	if j.Latents.Data != nil && len(j.Latents.Data) != s.Elems() {
		return fmt.Errorf("latents of the shape %v have %d values, found %d", s, s.Elems(), len(j.Latents.Data))
	}
	if j.Mask != nil && len(j.Mask) != s.Batch*s.Volume() {
		return fmt.Errorf("the noise mask has %d values, expected %d for latents of the shape %v", len(j.Mask), s.Batch*s.Volume(), s)
	}
	prompts := j.Guider.prompts()
	for _, c := range slices.Concat(prompts...) {
		if c.Mask != nil && len(c.Mask) != s.Volume() && len(c.Mask) != s.Batch*s.Volume() {
			return fmt.Errorf("the mask of a condition has %d values, expected %d for latents of the shape %v", len(c.Mask), s.Volume(), s)
		}
	}
	if err := j.Noise.check(s); err != nil {
		return err
	}
	for _, scale := range j.Guider.scales() {
		if !(math.Abs(scale) <= maxCFG) {
			return fmt.Errorf("a guidance (cfg) of %g: expected a number up to %g", scale, float64(maxCFG))
		}
	}
	if len(prompts[0]) == 0 {
		return errors.New("there is no positive condition: nothing says what to show")
	}
	return j.Sigmas.Check()
}

// inpaint keeps the latents where the mask is 0: in every evaluation they are
// put back, with the noise of its level.
func (j *Job) inpaint(inner denoiser, noise []float32) denoiser {
	m := j.Guider.model()
	return func(ctx context.Context, x []float32, sigma float64) (guided, uncond []float32, err error) {
		mask := j.Mask
		if m.Rules.Mask != nil {
			mask = m.Rules.Mask(m.Process, j.Sigmas, sigma, mask)
		}
		blend := func(changed, kept []float32) []float32 {
			out := make([]float32, len(changed))
			item, volume := j.Latents.Item(), j.Latents.Volume()
			for i := range out {
				m := mask[i/item*volume+i%volume]
				out[i] = changed[i]*m + kept[i]*(1-m)
			}
			return out
		}
		d, uncond, err := inner(ctx, blend(x, m.Process.noised(j.Latents.Data, noise, sigma)), sigma)
		if err != nil {
			return nil, nil, err
		}
		return blend(d, j.Latents.Data), uncond, nil
	}
}
