package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// registerSamplers registers the nodes that turn noise into latents.
func registerSamplers(reg *workflow.Registry, env *Env) {
	var (
		model    = workflow.Link("model", workflow.TypeModel)
		positive = workflow.Link("positive", workflow.TypeConditioning).Tip("What the picture is to show.")
		negative = workflow.Link("negative", workflow.TypeConditioning).Tip("What it is not to show.")
		latent   = workflow.Link("latent_image", workflow.TypeLatent)
		steps    = workflow.Int("steps", 20, 1, 10000)
		cfg      = workflow.Float("cfg", 8, 0, 100, 0.1).Tip("How closely the picture follows the prompt.")
		sampler  = workflow.Combo("sampler_name", diffusion.Samplers()...)
		schedule = workflow.Combo("scheduler", diffusion.Schedulers()...)
	)
	reg.Register(workflow.Schema{
		Class: "KSampler", Name: "KSampler", Category: "sampling",
		Description: "Takes the noise off latents step by step.",
		Inputs: []workflow.Input{
			model, workflow.Seed("seed"), steps, cfg, sampler, schedule, positive, negative, latent,
			workflow.Float("denoise", 1, 0, 1, 0.01).Tip("Below 1 the latents are changed only so much."),
		},
		Outputs: workflow.Outputs(workflow.TypeLatent),
		Prepare: prepareSampling,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			out, err := ksample(ctx, env, c, diffusion.Noise{Seed: c.Seed("seed")}, diffusion.Schedule{Denoise: c.Float("denoise")})
			return []any{out}, err
		},
	})
	toggle := func(name, def string) workflow.Input {
		return workflow.Combo(name, "enable", "disable").Or(def)
	}
	seed := workflow.Seed("noise_seed")
	reg.Register(workflow.Schema{
		Class: "KSamplerAdvanced", Name: "KSampler (Advanced)", Category: "sampling",
		Description: "Runs a part of the steps of a sampling.",
		Inputs: []workflow.Input{
			model, toggle("add_noise", "enable"), seed, steps, cfg, sampler, schedule, positive, negative, latent,
			workflow.Int("start_at_step", 0, 0, 10000), workflow.Int("end_at_step", 10000, 0, 10000),
			toggle("return_with_leftover_noise", "disable"),
		},
		Outputs: workflow.Outputs(workflow.TypeLatent),
		Prepare: prepareSampling,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			noise := diffusion.Noise{Seed: c.Seed("noise_seed"), None: c.String("add_noise") == "disable"}
			schedule := diffusion.Schedule{
				Denoise: 1, Start: c.Int("start_at_step"), End: c.Int("end_at_step"),
				FullDenoise: c.String("return_with_leftover_noise") == "disable",
			}
			if schedule.End <= schedule.Start { // no step at all
				latent, err := Input[*Latent](c, "latent_image")
				return []any{latent}, err
			}
			out, err := ksample(ctx, env, c, noise, schedule)
			return []any{out}, err
		},
	})
}

// ksample samples what the inputs of a KSampler say, with a part of a schedule.
func ksample(ctx context.Context, env *Env, c *workflow.Call, noise diffusion.Noise, schedule diffusion.Schedule) (*Latent, error) {
	model, err := Input[*pipeline.Model](c, "model")
	if err != nil {
		return nil, err
	}
	s := sampling{noise: noise}
	if s.guider, err = guidedBy(c, model, c.Float("cfg")); err != nil {
		return nil, err
	}
	if s.sampler, err = diffusion.NewSampler(c.String("sampler_name")); err != nil {
		return nil, err
	}
	schedule.Scheduler, schedule.Steps = c.String("scheduler"), c.Int("steps")
	if s.sigmas, err = schedule.Sigmas(diffusion.NewProcess(model.Process()), s.sampler); err != nil {
		return nil, err
	}
	out, _, err := s.run(ctx, env, c)
	if err != nil {
		return nil, fmt.Errorf("scheduler %s: %w", schedule.Scheduler, err)
	}
	return out, nil
}

// A sampling is what a node samples.
type sampling struct {
	noise   diffusion.Noise
	guider  *Guider
	sampler diffusion.Sampler
	sigmas  diffusion.Sigmas
}

// run samples the linked latents. It returns the last state, and what it was
// taken for without its noise in the last step.
func (s sampling) run(ctx context.Context, env *Env, c *workflow.Call) (out, denoised *Latent, err error) {
	format := s.guider.Model.Format()
	in, err := latentsOf(c, format)
	if err != nil {
		return nil, nil, err
	}
	job := diffusion.Job{Noise: s.noise, Sampler: s.sampler, Sigmas: s.sigmas, Latents: latent.Tensor{Shape: in.Shape}}
	if err := c.Need(ctx, s.guider.need(in)+job.Memory()+in.Bytes()); err != nil {
		return nil, nil, err
	}
	in = in.filled(env.Engine.Planning())
	if len(s.sigmas) == 0 {
		return in, in, nil
	}
	job.Noise.BatchIndex, job.Noise.Source = in.BatchIndex, env.Noise
	job.Latents = modelled(format, in)
	if job.Mask, err = in.maskAt(ctx, in.NoiseMask); err != nil {
		return nil, nil, err
	}
	if job.Guider, err = s.guider.at(ctx, in); err != nil {
		return nil, nil, err
	}
	if len(s.sigmas) == 2 {
		c.Finishing()
	}
	// of returns the latents with values in the model's scale.
	of := func(data []float32) *Latent {
		l := *in
		if l.Data = nil; data != nil {
			l.Tensor = format.Out(in.With(data))
		}
		return &l
	}
	var last []float32
	job.Progress = func(step, steps int, denoised []float32) {
		last = denoised
		if step >= steps-1 {
			c.Finishing() // with the last step
		}
		c.Progress(step, steps, func() any { return of(denoised) })
	}
	samples, err := diffusion.Sample(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	if out = of(samples); samples == nil || last == nil {
		return out, out, nil
	}
	return out, of(last), nil
}

// modelled returns latents as a model has them. Those that are all zero stand for
// nothing and stay so.
func modelled(format latent.Format, l *Latent) latent.Tensor {
	if !slices.ContainsFunc(l.Data, func(v float32) bool { return v != 0 }) {
		return l.Tensor
	}
	return format.In(l.Tensor)
}

// prepareSampling has the first weights of the denoiser brought in. Its extents
// are the same for all shapes, so a guess of what is not known yet will do.
func prepareSampling(_ context.Context, c *workflow.Call) {
	denoiser, texts := samplingOf(c)
	if denoiser == nil {
		return
	}
	format := denoiser.Format()
	shape, text := format.Of(1, 1, 512, 512), (*model.Cond)(nil)
	if l, err := Input[*Latent](c, "latent_image"); err == nil {
		if l, err = l.of(format); err == nil && format.Check(l.Shape) == nil {
			shape = l.Shape
		}
	}
	if len(texts) > 0 {
		text = &texts[0].Cond
	}
	denoiser.Prefetch(shape, text)
}

// samplingOf returns the model of a sampling, nil if it is not known yet, and one
// of the conditionings if there is one.
func samplingOf(c *workflow.Call) (*pipeline.Model, Conditioning) {
	if c.Schema.Input("guider") != nil {
		g, err := Input[*Guider](c, "guider")
		if err != nil {
			return nil, nil
		}
		return g.Model, g.Prompts[0].Conditioning
	}
	denoiser, err := Input[*pipeline.Model](c, "model")
	if err != nil {
		return nil, nil
	}
	texts, _ := Input[Conditioning](c, "positive")
	return denoiser, texts
}

// maskAt returns a mask at the size of the latents, [batch, time, height,
// width]: masks are repeated for latents and frames that have none of their own.
func (l *Latent) maskAt(ctx context.Context, m *media.Mask) ([]float32, error) {
	if m == nil || m.Planned() || l.planned() {
		return nil, nil
	}
	small, err := m.Resize(ctx, l.Height, l.Width, resample.Bilinear, false)
	if err != nil {
		return nil, err
	}
	n := l.Area()
	out := make([]float32, l.Batch*l.Time*n)
	for frame := range l.Batch * l.Time {
		for y := range l.Height {
			small.Row(out[frame*n+y*l.Width:][:l.Width], frame/l.Time%small.Batch, y)
		}
	}
	return out, nil
}
