package node

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerCustom registers the nodes of noise, and those that sample what other
// nodes have put together.
func registerCustom(reg *workflow.Registry, env *Env) {
	noise := func(class, about string, inputs []workflow.Input, run func(c *workflow.Call) diffusion.Noise) {
		reg.Register(workflow.Schema{
			Class: class, Category: "model/sampling/noise", Description: about, Inputs: inputs,
			Outputs: workflow.Outputs(workflow.TypeNoise),
			Run:     func(_ context.Context, c *workflow.Call) ([]any, error) { return []any{run(c)}, nil },
		})
	}
	noise("RandomNoise", "The noise of a seed.", []workflow.Input{workflow.Seed("noise_seed")},
		func(c *workflow.Call) diffusion.Noise { return diffusion.Noise{Seed: c.Seed("noise_seed")} })
	noise("DisableNoise", "No noise: sampling begins with the latents as they are.", nil,
		func(*workflow.Call) diffusion.Noise { return diffusion.Noise{None: true} })
	var (
		model   = workflow.Link("model", workflow.TypeModel)
		latents = workflow.Link("latent_image", workflow.TypeLatent)
		sampler = workflow.Link("sampler", workflow.TypeSampler)
		sigmas  = workflow.Link("sigmas", workflow.TypeSigmas)
		random  = workflow.Link("noise", workflow.TypeNoise)
		both    = []workflow.Output{{Type: workflow.TypeLatent, Name: "output"}, {Type: workflow.TypeLatent, Name: "denoised_output"}}
	)
	reg.Register(workflow.Schema{
		Class: "SamplerCustom", Category: "model/sampling/custom",
		Description: "Takes the noise off latents with a sampler and noise levels of one's own.",
		Inputs: []workflow.Input{
			model, workflow.Bool("add_noise", true), workflow.Seed("noise_seed"), workflow.Float("cfg", 8, 0, 100, 0.1),
			workflow.Link("positive", workflow.TypeConditioning), workflow.Link("negative", workflow.TypeConditioning), sampler, sigmas, latents,
		},
		Outputs: both,
		Prepare: prepareSampling,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			m, err := Input[*pipeline.Model](c, "model")
			if err != nil {
				return nil, err
			}
			g, err := guidedBy(c, m, c.Float("cfg"))
			if err != nil {
				return nil, err
			}
			return custom(ctx, env, c, sampling{noise: diffusion.Noise{Seed: c.Seed("noise_seed"), None: !c.Bool("add_noise")}, guider: g})
		},
	})
	reg.Register(workflow.Schema{
		Class: "SamplerCustomAdvanced", Category: "model/sampling/custom",
		Description: "Takes the noise off latents with noise, a guider, a sampler and noise levels of one's own.",
		Inputs:      []workflow.Input{random, workflow.Link("guider", workflow.TypeGuider), sampler, sigmas, latents},
		Outputs:     both,
		Prepare:     prepareSampling,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			n, err := Input[diffusion.Noise](c, "noise")
			if err != nil {
				return nil, err
			}
			g, err := Input[*Guider](c, "guider")
			if err != nil {
				return nil, err
			}
			return custom(ctx, env, c, sampling{noise: n, guider: g})
		},
	})
	reg.Register(workflow.Schema{
		Class: "AddNoise", Category: "model/sampling/noise", Description: "Puts noise on latents, of the distance between the first and the last noise level.",
		Inputs:  []workflow.Input{model, random, sigmas, latents},
		Outputs: workflow.Outputs(workflow.TypeLatent),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			out, err := addNoise(ctx, env, c)
			return []any{out}, err
		},
	})
}

// custom samples with the linked sampler and noise levels.
func custom(ctx context.Context, env *Env, c *workflow.Call, s sampling) (out []any, err error) {
	if s.sampler, err = Input[diffusion.Sampler](c, "sampler"); err != nil {
		return nil, err
	}
	if s.sigmas, err = Input[diffusion.Sigmas](c, "sigmas"); err != nil {
		return nil, err
	}
	last, denoised, err := s.run(ctx, env, c)
	return []any{last, denoised}, err
}

// addNoise returns the linked latents with noise.
func addNoise(ctx context.Context, env *Env, c *workflow.Call) (*Latent, error) {
	m, err := Input[*pipeline.Model](c, "model")
	if err != nil {
		return nil, err
	}
	noise, err := Input[diffusion.Noise](c, "noise")
	if err != nil {
		return nil, err
	}
	sigmas, err := Input[diffusion.Sigmas](c, "sigmas")
	if err != nil {
		return nil, err
	}
	in, err := latentsOf(c, m.Format())
	if err != nil || len(sigmas) == 0 {
		return in, err
	}
	if err := c.Need(ctx, 4*in.Bytes()); err != nil {
		return nil, err
	}
	in = in.filled(env.Engine.Planning())
	if in.planned() {
		return in, nil
	}
	level := sigmas[0]
	if n := len(sigmas); n > 1 {
		level = math.Abs(float64(float32(level - sigmas[n-1])))
	}
	noise.BatchIndex = in.BatchIndex
	out := *in
	out.Tensor, err = noise.On(ctx, diffusion.NewProcess(m.Process()), modelled(m.Format(), in), level)
	if err != nil {
		return nil, err
	}
	out.Tensor = m.Format().Out(out.Tensor)
	return &out, nil
}

// latentsOf returns the linked latents in a model's format.
func latentsOf(c *workflow.Call, format latent.Format) (*Latent, error) {
	in, err := Input[*Latent](c, "latent_image")
	if err != nil {
		return nil, err
	}
	if in, err = in.of(format); err != nil {
		return nil, err
	}
	if err := format.Check(in.Shape); err != nil {
		return nil, fmt.Errorf("input latent_image: %w", err)
	}
	return in, nil
}
