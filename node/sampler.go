package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/tokenizer"
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
			out, err := sample(ctx, env, c, diffusion.Job{Noise: diffusion.Noise{Seed: c.Seed("seed")}, Denoise: c.Float("denoise")})
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
			job := diffusion.Job{
				Noise:   diffusion.Noise{Seed: c.Seed("noise_seed"), None: c.String("add_noise") == "disable"},
				Denoise: 1, Start: c.Int("start_at_step"), End: c.Int("end_at_step"),
				FullDenoise: c.String("return_with_leftover_noise") == "disable",
			}
			if job.End <= job.Start { // no step at all
				latent, err := Input[*Latent](c, "latent_image")
				return []any{latent}, err
			}
			out, err := sample(ctx, env, c, job)
			return []any{out}, err
		},
	})
}

// sample runs a job whose seed, noise and range of steps are set.
func sample(ctx context.Context, env *Env, c *workflow.Call, job diffusion.Job) (*Latent, error) {
	model, err := Input[*pipeline.Model](c, "model")
	if err != nil {
		return nil, err
	}
	in, err := Input[*Latent](c, "latent_image")
	if err != nil {
		return nil, err
	}
	format := model.Format()
	if in, err = in.of(format); err != nil {
		return nil, err
	}
	if err := format.Check(in.Shape); err != nil {
		return nil, fmt.Errorf("input latent_image: %w", err)
	}
	job.Table = model.Table()
	job.Sampler, job.Scheduler = c.String("sampler_name"), c.String("scheduler")
	job.Steps, job.CFG = c.Int("steps"), c.Float("cfg")
	job.Latents.Shape = in.Shape
	job.Noise.BatchIndex, job.Noise.Source = in.BatchIndex, env.Noise
	for _, name := range []string{"positive", "negative"} {
		texts, err := Input[Conditioning](c, name)
		if err != nil {
			return nil, err
		}
		if err := c.Need(ctx, int64(in.Batch)*texts.Size()); err != nil { // each latent is given its texts
			return nil, err
		}
	}
	if err := c.Need(ctx, job.Memory()); err != nil {
		return nil, err
	}
	in = in.filled(env.Engine.Planning())
	// Latents that are all zero stand for nothing and stay so.
	job.Latents = in.Tensor
	if slices.ContainsFunc(in.Data, func(v float32) bool { return v != 0 }) {
		job.Latents = format.In(in.Tensor)
	}
	if job.Mask, err = in.maskAt(ctx, in.NoiseMask); err != nil {
		return nil, err
	}
	if job.Positive, err = conditions(ctx, c, "positive", in); err != nil {
		return nil, err
	}
	if job.Negative, err = conditions(ctx, c, "negative", in); err != nil {
		return nil, err
	}
	if job.Steps == 1 {
		c.Finishing()
	}
	job.Progress = func(step, steps int, denoised []float32) {
		if step >= steps-1 {
			c.Finishing() // with the last step
		}
		c.Progress(step, steps, func() any {
			preview := *in
			preview.Tensor = format.Out(in.With(denoised))
			return &preview
		})
	}
	samples, err := model.Sample(ctx, job)
	if err != nil {
		return nil, err
	}
	out := *in
	if out.Data = nil; samples != nil {
		out.Tensor = format.Out(in.With(samples))
	}
	return &out, nil
}

// prepareSampling has the first weights of the denoiser brought in. Its extents
// are the same for all shapes, so a guess of what is not known yet will do.
func prepareSampling(_ context.Context, c *workflow.Call) {
	model, err := Input[*pipeline.Model](c, "model")
	if err != nil {
		return
	}
	format := model.Format()
	shape, tokens := format.Of(1, 1, 512, 512), tokenizer.ChunkLength
	if l, err := Input[*Latent](c, "latent_image"); err == nil {
		if l, err = l.of(format); err == nil && format.Check(l.Shape) == nil {
			shape = l.Shape
		}
	}
	if cond, err := Input[Conditioning](c, "positive"); err == nil && len(cond) > 0 {
		tokens = cond[0].Tokens
	}
	model.Prefetch(shape, tokens)
}

// conditions returns a linked conditioning as it is sampled.
func conditions(ctx context.Context, c *workflow.Call, name string, l *Latent) ([]diffusion.Cond, error) {
	in, err := Input[Conditioning](c, name)
	if err != nil {
		return nil, err
	}
	// SDXL is told the size of the picture.
	height, width := float32(l.Height*l.stride().Height), float32(l.Width*l.stride().Width)
	var out []diffusion.Cond
	for _, cond := range in {
		mask, err := l.maskAt(ctx, cond.Mask)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", name, err)
		}
		out = append(out, diffusion.Cond{
			Payload: &pipeline.Cond{
				Embed: cond.Embed, Tokens: cond.Tokens, Width: cond.Width, Pooled: cond.Pooled,
				Sizes: [6]float32{height, width, 0, 0, height, width},
			},
			Strength: float32(cond.Strength), Mask: mask, Start: cond.Start, End: cond.End,
		})
	}
	return out, nil
}

// maskAt returns a mask at the size of the latents, [batch, time, height,
// width]: masks are repeated for latents and frames that have none of their own.
func (l *Latent) maskAt(ctx context.Context, m *media.Mask) ([]float32, error) {
	if m == nil || m.Planned() || l.planned() {
		return nil, nil
	}
	small, err := m.Resize(ctx, l.Height, l.Width, resample.Bilinear)
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
