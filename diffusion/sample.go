package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Network predicts the noise, or the velocity, of a state.
type Network interface {
	// Predict returns the prediction for each of the payloads. x has the shape of
	// the job, scaled to a variance of 1; t is the timestep. Payloads may be run
	// as one batch or one after the other.
	Predict(ctx context.Context, x []float32, t float32, payloads []any) ([][]float32, error)
}

// A Cond is a part of what a picture is to show, or not to show.
type Cond struct {
	// Payload is given to the network as it is.
	Payload any
	// Strength weighs the prediction against those of other parts.
	Strength float32
	// Mask, if it is not nil, weighs the prediction at each place of a latent:
	// [height, width], or [batch, height, width].
	Mask []float32
	// Start and End limit the part to a range of the sampling, from 0 (all
	// noise) to 1 (none).
	Start, End float64
}

// A Shape is batch, channels, height and width of latents.
type Shape [4]int

// Elems returns the number of values.
func (s Shape) Elems() int { return s[0] * s[1] * s[2] * s[3] }

// A Job is what there is to sample.
type Job struct {
	Table              *Table
	Sampler, Scheduler string
	Steps              int
	// Denoise is how much of the noise is put on and taken off: below 1 only the
	// last levels of a longer schedule are run.
	Denoise float64
	// Start and End are the first step that is run and the one before which it
	// ends. An End of 0, or beyond the last step, is the last.
	Start, End int
	// FullDenoise takes off all noise in the last step that is run, whatever the
	// schedule says.
	FullDenoise bool
	CFG         float64
	Positive    []Cond
	Negative    []Cond
	Seed        uint64
	// NoNoise starts from the latents as they are, with the noise they have.
	NoNoise bool
	// BatchIndex says which of the noises of a larger batch each latent gets;
	// nil stands for 0, 1, 2, ...
	BatchIndex []int

	Shape   Shape
	Latents []float32 // in the network's scale
	// Mask marks with 1 what may change: nil for everything, or [batch, height,
	// width] at the size of the latents.
	Mask []float32

	// Progress, if it is not nil, is called after each step with what the state
	// was taken for without its noise, which must not be changed.
	Progress func(step, steps int, denoised []float32)
}

// Memory bounds the bytes that Sample holds at a time beside what the network
// does: the state, noise, predictions of each condition, what samplers of
// several steps remember, the path of an SDE, and the result.
func (j *Job) Memory() int64 {
	states := int64(24 + 2*(len(j.Positive)+len(j.Negative)))
	if strings.Contains(j.Sampler, "sde") {
		states += brownianCache + 3
	}
	n := int64(4)
	for _, d := range j.Shape {
		n *= int64(d)
	}
	return states * n
}

// Sample runs a job and returns the latents. It ends early with the context's
// error when it is cancelled.
func Sample(ctx context.Context, n Network, job Job) ([]float32, error) {
	if err := job.check(); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(samplers, func(c choice) bool { return c.name == job.Sampler })
	if i < 0 {
		return nil, fmt.Errorf("there is no sampler %q, only %s", job.Sampler, strings.Join(Samplers(), ", "))
	}
	chosen := samplers[i]
	sigmas, err := job.sigmas(chosen.discard)
	if err != nil {
		return nil, err
	}
	if len(sigmas) < 2 {
		return slices.Clone(job.Latents), nil
	}
	noise := make([]float32, job.Shape.Elems())
	if !job.NoNoise {
		noise = Noise(job.Seed, job.Shape, job.BatchIndex)
	}
	g := guide{Network: n, job: &job}
	s := &state{
		ctx: ctx, sigmas: sigmas, seed: job.Seed, denoise: g.denoise,
		x: job.noised(noise, sigmas[0]),
		progress: func(step int, denoised []float32) {
			if job.Progress != nil {
				job.Progress(step+1, len(sigmas)-1, denoised)
			}
		},
	}
	if job.Mask != nil {
		if chosen.randomInpaint {
			noise = Randn(job.Seed+1, job.Shape.Elems())
		}
		s.denoise = job.inpaint(s.denoise, noise)
	}
	return chosen.sampler(s)
}

func (j *Job) check() error {
	n := j.Shape.Elems()
	area := j.Shape[2] * j.Shape[3]
	if len(j.Latents) != n {
		return fmt.Errorf("latents of the shape %v have %d values, found %d", j.Shape, n, len(j.Latents))
	}
	if j.Mask != nil && len(j.Mask) != j.Shape[0]*area {
		return fmt.Errorf("the noise mask has %d values, expected %d for latents of the shape %v", len(j.Mask), j.Shape[0]*area, j.Shape)
	}
	for _, c := range slices.Concat(j.Positive, j.Negative) {
		if c.Mask != nil && len(c.Mask) != area && len(c.Mask) != j.Shape[0]*area {
			return fmt.Errorf("the mask of a condition has %d values, expected %d for latents of the shape %v", len(c.Mask), area, j.Shape)
		}
	}
	if j.BatchIndex != nil && len(j.BatchIndex) != j.Shape[0] {
		return fmt.Errorf("there are %d batch indices for %d latents", len(j.BatchIndex), j.Shape[0])
	}
	if j.Steps < 1 {
		return fmt.Errorf("%d steps: expected at least 1", j.Steps)
	}
	if len(j.Positive) == 0 {
		return errors.New("there is no positive condition: nothing says what to show")
	}
	return nil
}

// sigmas returns the noise levels that are run.
func (j *Job) sigmas(discard bool) ([]float64, error) {
	steps := j.Steps
	if j.Denoise <= 0 {
		return nil, nil
	}
	if j.Denoise < 0.9999 {
		steps = int(float64(j.Steps) / j.Denoise)
	}
	all := steps
	if discard {
		all++
	}
	sigmas, err := j.Table.Sigmas(j.Scheduler, all)
	if err != nil {
		return nil, err
	}
	if n := len(sigmas); discard && n > 2 {
		sigmas = append(sigmas[:n-2], sigmas[n-1])
	}
	if steps != j.Steps {
		sigmas = sigmas[max(len(sigmas)-j.Steps-1, 0):]
	}
	if j.End > 0 && j.End < len(sigmas)-1 {
		sigmas = sigmas[:j.End+1]
		if j.FullDenoise {
			sigmas[len(sigmas)-1] = 0
		}
	}
	if j.Start >= len(sigmas)-1 && j.Start > 0 {
		return nil, nil
	}
	return sigmas[j.Start:], nil
}

// noised returns the first state. At the highest level of the table it is
// scaled as if the noise were the state with its variance preserved, as the
// network was trained to see it.
func (j *Job) noised(noise []float32, sigma float64) []float32 {
	scale := sigma
	if top := j.Table.Max(); sigma > top || math.Abs(top-sigma) <= 1e-5*top {
		scale = math.Sqrt(1 + sigma*sigma)
	}
	return sum(term{scale, noise}, term{1, j.Latents})
}

// inpaint keeps the latents where the mask is 0: in every evaluation they are
// put back, with the noise of its level.
func (j *Job) inpaint(inner func(context.Context, []float32, float64) ([]float32, error), noise []float32) func(context.Context, []float32, float64) ([]float32, error) {
	blend := func(changed, kept []float32) []float32 {
		out := make([]float32, len(changed))
		area := j.Shape[2] * j.Shape[3]
		for i := range out {
			m := j.Mask[i/(j.Shape[1]*area)*area+i%area]
			out[i] = changed[i]*m + kept[i]*(1-m)
		}
		return out
	}
	return func(ctx context.Context, x []float32, sigma float64) ([]float32, error) {
		d, err := inner(ctx, blend(x, sum(term{sigma, noise}, term{1, j.Latents})), sigma)
		if err != nil {
			return nil, err
		}
		return blend(d, j.Latents), nil
	}
}

// Noise returns the first noise of latents: torch.randn of the whole batch or,
// with indices, as many draws of one latent as the largest index needs.
func Noise(seed uint64, shape Shape, index []int) []float32 {
	if index == nil {
		return Randn(seed, shape.Elems())
	}
	one := shape.Elems() / max(shape[0], 1)
	out := make([]float32, shape.Elems())
	g := NewGenerator(seed)
	draw := make([]float32, one)
	for i := 0; i <= slices.Max(index); i++ {
		g.Normal(draw)
		for k, want := range index {
			if want == i {
				copy(out[k*one:], draw)
			}
		}
	}
	return out
}
