package diffusion

import (
	"context"
	"testing"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/process"
)

// discrete returns a process of Stable Diffusion's levels.
func discrete(p process.Prediction, zeroSNR bool) *Process {
	return NewProcess(process.Discrete(p, zeroSNR))
}

// A trial is a sampling as KSampler is told of it.
type trial struct {
	Process            *Process
	Sampler, Scheduler string
	Steps, Start, End  int
	Denoise, CFG       float64
	FullDenoise        bool
	Positive, Negative []Cond
	Noise              Noise
	Latents            latent.Tensor
	Mask               []float32
	Progress           func(step, steps int, denoised []float32)
}

func (j *trial) schedule() Schedule {
	return Schedule{Scheduler: j.Scheduler, Steps: j.Steps, Denoise: j.Denoise, Start: j.Start, End: j.End, FullDenoise: j.FullDenoise}
}

func (j *trial) guider(n Network) Guider {
	return &CFG{Model: Model{Network: n, Process: j.Process}, Positive: j.Positive, Negative: j.Negative, Scale: j.CFG}
}

func (j *trial) job(n Network, s Sampler, sigmas Sigmas) Job {
	return Job{Noise: j.Noise, Guider: j.guider(n), Sampler: s, Sigmas: sigmas, Latents: j.Latents, Mask: j.Mask, Progress: j.Progress}
}

func (j *trial) sample(ctx context.Context, n Network) ([]float32, error) {
	s, err := NewSampler(j.Sampler)
	if err != nil {
		return nil, err
	}
	sigmas, err := j.schedule().Sigmas(j.Process, s)
	if err != nil {
		return nil, err
	}
	return Sample(ctx, j.job(n, s, sigmas))
}

// TestPlanned samples latents of which only the shape is known: the network is
// called as often, for latents of that shape.
func TestPlanned(t *testing.T) {
	for _, name := range []string{"heun", "dpmpp_2m_sde", "ddim"} {
		j := trial{
			Process: discrete(process.Epsilon, false), Sampler: name, Scheduler: "karras", Steps: 5, Denoise: 1, CFG: 3,
			Noise:    Noise{Seed: 3, BatchIndex: []int{4, 1 << 30}},
			Positive: []Cond{{Payload: 0.4, Strength: 1, End: 1}}, Latents: latent.Tensor{Shape: latent.Shape{Batch: 2, Channels: 4, Time: 3, Height: 1 << 10, Width: 1 << 11}},
		}
		n := &hyperbolic{}
		shaped := networkFunc(func(ctx context.Context, x latent.Tensor, at float32, payloads []any) ([][]float32, error) {
			if x.Shape != j.Latents.Shape || len(x.Data) != 1 {
				t.Errorf("%s: the network is given %v with %d values", name, x.Shape, len(x.Data))
			}
			return n.Predict(ctx, x, at, payloads)
		})
		out, err := j.sample(t.Context(), shaped)
		if want := map[string]int{"heun": 9}[name]; err != nil || out != nil || n.calls != max(want, 5) {
			t.Errorf("%s: %v values after %d calls, %v", name, len(out), n.calls, err)
		}
	}
}

// A networkFunc is a network that is a function.
type networkFunc func(ctx context.Context, x latent.Tensor, t float32, payloads []any) ([][]float32, error)

func (f networkFunc) Predict(ctx context.Context, x latent.Tensor, t float32, payloads []any) ([][]float32, error) {
	return f(ctx, x, t, payloads)
}
