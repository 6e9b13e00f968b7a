package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/latent"
)

// A Network predicts the noise, or the velocity, of a state.
type Network interface {
	// Predict returns the prediction for each of the payloads. x is scaled to a
	// variance of 1; t is the timestep. Payloads may be run as one batch or one
	// after the other.
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
	Noise       Noise

	Latents latent.Tensor // in the network's scale
	// Mask marks with 1 what may change: nil for everything, or [batch, time,
	// height, width] at the size of the latents.
	Mask []float32

	// Progress, if it is not nil, is called after each step with what the state
	// was taken for without its noise, which must not be changed.
	Progress func(step, steps int, denoised []float32)
}

// Memory bounds the bytes that Sample holds at a time beside the network's own.
func (j *Job) Memory() int64 {
	return int64(States(j.Sampler)) * j.Latents.Bytes()
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
	sigmas, err := job.sigmas(samplers[i].discard)
	if err != nil {
		return nil, err
	}
	out, err := job.run(ctx, n, samplers[i], sigmas)
	if err != nil {
		return nil, fmt.Errorf("sampler %s with scheduler %s: %w", job.Sampler, job.Scheduler, err)
	}
	return out, nil
}

// run follows the noise levels with a sampler.
func (j *Job) run(ctx context.Context, n Network, chosen choice, sigmas []float64) ([]float32, error) {
	if len(sigmas) < 2 {
		return slices.Clone(j.Latents.Data), nil
	}
	g := guide{Network: n, job: j, always: chosen.cfgPP}
	noise := j.Noise.First(ctx, j.Latents.Shape)
	s := &state{
		ctx: ctx, table: j.Table, sigmas: sigmas, denoise: g.denoise,
		x:     j.noised(noise, sigmas[0]),
		noise: j.Noise.steps(ctx, j.Latents.Shape),
		path:  j.Noise.path(ctx, sigmas, j.Latents.Shape, chosen.path == pathBySource),
		progress: func(step int, denoised []float32) {
			if j.Progress != nil {
				j.Progress(step+1, len(sigmas)-1, denoised)
			}
		},
	}
	if j.Mask != nil {
		if chosen.randomInpaint {
			noise = j.Noise.kept(ctx, j.Latents.Shape)
		}
		s.denoise = j.inpaint(s.denoise, noise)
	}
	x, err := chosen.sampler(s)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(x, func(v float32) bool { return !(math.Abs(float64(v)) <= math.MaxFloat32) }); i >= 0 {
		return nil, fault.New(fault.Model, "value %d of the latents is %v at the end: the network's results are not finite; another precision of the model, or a smaller cfg than %g", i, x[i], j.CFG)
	}
	if a := j.Table.alpha(sigmas[len(sigmas)-1]); a != 1 {
		x = sum(term{1 / a, x})
	}
	return x, nil
}

const (
	// maxLevels bounds the levels of a schedule, of which denoise takes the last:
	// what ComfyUI's widgets can ask for.
	maxLevels = 1_000_000
	// maxCFG bounds the guidance, whose product with a state must be finite.
	maxCFG = 1e6
)

func (j *Job) check() error {
	n := j.Latents.Elems()
	volume := j.Latents.Volume()
	if len(j.Latents.Data) != n {
		return fmt.Errorf("latents of the shape %v have %d values, found %d", j.Latents.Shape, n, len(j.Latents.Data))
	}
	if j.Mask != nil && len(j.Mask) != j.Latents.Batch*volume {
		return fmt.Errorf("the noise mask has %d values, expected %d for latents of the shape %v", len(j.Mask), j.Latents.Batch*volume, j.Latents.Shape)
	}
	for _, c := range slices.Concat(j.Positive, j.Negative) {
		if c.Mask != nil && len(c.Mask) != volume && len(c.Mask) != j.Latents.Batch*volume {
			return fmt.Errorf("the mask of a condition has %d values, expected %d for latents of the shape %v", len(c.Mask), volume, j.Latents.Shape)
		}
	}
	if b := j.Noise.BatchIndex; b != nil && len(b) != j.Latents.Batch {
		return fmt.Errorf("there are %d batch indices for %d latents", len(b), j.Latents.Batch)
	}
	if b := j.Noise.BatchIndex; len(b) > 0 && slices.Min(b) < 0 {
		return fmt.Errorf("a batch index of %d: expected none below 0", slices.Min(b))
	}
	if j.Steps < 1 {
		return fmt.Errorf("%d steps: expected at least 1", j.Steps)
	}
	if all := float64(j.Steps) / j.Denoise; j.Denoise > 0 && all > maxLevels {
		return fmt.Errorf("%d steps at denoise %g are the last of %.3g, expected at most %d: a larger denoise or fewer steps", j.Steps, j.Denoise, all, maxLevels)
	}
	if !(math.Abs(j.CFG) <= maxCFG) {
		return fmt.Errorf("a guidance (cfg) of %g: expected a number up to %g", j.CFG, float64(maxCFG))
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
	if top := j.Table.Max(); j.Table.Prediction != Flow && (sigma > top || math.Abs(top-sigma) <= 1e-5*top) {
		return sum(term{math.Sqrt(1 + sigma*sigma), noise}, term{1, j.Latents.Data})
	}
	return j.Table.noised(j.Latents.Data, noise, sigma)
}

// inpaint keeps the latents where the mask is 0: in every evaluation they are
// put back, with the noise of its level.
func (j *Job) inpaint(inner denoiser, noise []float32) denoiser {
	blend := func(changed, kept []float32) []float32 {
		out := make([]float32, len(changed))
		volume := j.Latents.Volume()
		for i := range out {
			m := j.Mask[i/j.Latents.Item()*volume+i%volume]
			out[i] = changed[i]*m + kept[i]*(1-m)
		}
		return out
	}
	return func(ctx context.Context, x []float32, sigma float64) (guided, uncond []float32, err error) {
		d, uncond, err := inner(ctx, blend(x, j.Table.noised(j.Latents.Data, noise, sigma)), sigma)
		if err != nil {
			return nil, nil, err
		}
		return blend(d, j.Latents.Data), uncond, nil
	}
}
