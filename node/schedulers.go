package node

import (
	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerSchedulers registers the nodes that make noise levels.
func registerSchedulers(reg *workflow.Registry, _ *Env) {
	// register registers a node whose levels are those of a model's process, or
	// whatever a model's are.
	register := func(class, about string, run func(c *workflow.Call, p *diffusion.Process) (diffusion.Sigmas, error), inputs ...workflow.Input) {
		levels(reg, workflow.Schema{Class: class, Category: "model/sampling/schedulers", Description: about, Inputs: inputs},
			func(c *workflow.Call) ([]diffusion.Sigmas, error) {
				var p *diffusion.Process
				if c.Schema.Input("model") != nil {
					model, err := Input[*pipeline.Model](c, "model")
					if err != nil {
						return nil, err
					}
					p = diffusion.NewProcess(model.Process())
				}
				out, err := run(c, p)
				return []diffusion.Sigmas{out}, err
			})
	}
	own := func(f func(c *workflow.Call) diffusion.Sigmas) func(*workflow.Call, *diffusion.Process) (diffusion.Sigmas, error) {
		return func(c *workflow.Call, _ *diffusion.Process) (diffusion.Sigmas, error) { return f(c), nil }
	}
	var (
		model   = workflow.Link("model", workflow.TypeModel)
		steps   = workflow.Int("steps", 20, 1, 10000)
		denoise = workflow.Float("denoise", 1, 0, 1, 0.01)
		high    = workflow.Float("sigma_max", 14.614642, 0, 5000, 0.01)
		low     = workflow.Float("sigma_min", 0.0291675, 0, 5000, 0.01)
	)
	register("BasicScheduler", "The noise levels that KSampler would run.",
		func(c *workflow.Call, p *diffusion.Process) (diffusion.Sigmas, error) {
			return diffusion.Schedule{Scheduler: c.String("scheduler"), Steps: c.Int("steps"), Denoise: c.Float("denoise")}.Sigmas(p, diffusion.Sampler{})
		}, model, workflow.Combo("scheduler", diffusion.Schedulers()...), steps, denoise)
	register("KarrasScheduler", "Noise levels of equal distances in a root of the level.",
		own(func(c *workflow.Call) diffusion.Sigmas {
			return diffusion.Karras(c.Int("steps"), c.Float("sigma_min"), c.Float("sigma_max"), c.Float("rho"))
		}), steps, high, low, workflow.Float("rho", 7, 0, 100, 0.01))
	register("ExponentialScheduler", "Noise levels of equal distances in the logarithm of the level.",
		own(func(c *workflow.Call) diffusion.Sigmas {
			return diffusion.Exponential(c.Int("steps"), c.Float("sigma_min"), c.Float("sigma_max"))
		}), steps, high, low)
	register("PolyexponentialScheduler", "Noise levels of distances in the logarithm of the level that are a power of equal ones.",
		own(func(c *workflow.Call) diffusion.Sigmas {
			return diffusion.Polyexponential(c.Int("steps"), c.Float("sigma_min"), c.Float("sigma_max"), c.Float("rho"))
		}), steps, high, low, workflow.Float("rho", 1, 0, 100, 0.01))
	register("LaplaceScheduler", "Noise levels whose logarithms are spread as a Laplace distribution.",
		own(func(c *workflow.Call) diffusion.Sigmas {
			return diffusion.Laplace(c.Int("steps"), c.Float("sigma_min"), c.Float("sigma_max"), c.Float("mu"), c.Float("beta"))
		}), steps, high, low, workflow.Float("mu", 0, -10, 10, 0.1), workflow.Float("beta", 0.5, 0, 10, 0.1))
	register("VPScheduler", "Noise levels of equal distances in the time of a diffusion that preserves the variance.",
		own(func(c *workflow.Call) diffusion.Sigmas {
			return diffusion.VP(c.Int("steps"), c.Float("beta_d"), c.Float("beta_min"), c.Float("eps_s"))
		}), steps, workflow.Float("beta_d", 19.9, 0, 5000, 0.01), workflow.Float("beta_min", 0.1, 0, 5000, 0.01), workflow.Float("eps_s", 0.001, 0, 1, 0.0001))
	register("SDTurboScheduler", "The noise levels of SD Turbo and SDXL Turbo.",
		func(c *workflow.Call, p *diffusion.Process) (diffusion.Sigmas, error) {
			return p.Turbo(c.Int("steps"), c.Float("denoise")), nil
		}, model, workflow.Int("steps", 1, 1, 10), denoise)
	register("BetaSamplingScheduler", "Noise levels at timesteps that are spread as a Beta distribution.",
		func(c *workflow.Call, p *diffusion.Process) (diffusion.Sigmas, error) {
			return p.Beta(c.Int("steps"), c.Float("alpha"), c.Float("beta"))
		}, model, steps, workflow.Float("alpha", 0.6, 0, 50, 0.01), workflow.Float("beta", 0.6, 0, 50, 0.01))
	register("AlignYourStepsScheduler", "The noise levels that were found best for Stable Diffusion, SDXL or Stable Video Diffusion.",
		own(func(c *workflow.Call) diffusion.Sigmas {
			return diffusion.AlignYourSteps(c.String("model_type"), c.Int("steps"), c.Float("denoise"))
		}), workflow.Combo("model_type", diffusion.AlignedModels()...), workflow.Int("steps", 10, 1, 10000), denoise)
	side := func(name string) workflow.Input { return workflow.Int(name, 1024, 16, maxResolution) }
	register("Flux2Scheduler", "The noise levels of FLUX.2 for a size of picture.",
		own(func(c *workflow.Call) diffusion.Sigmas {
			return diffusion.Flux2(c.Int("steps"), c.Int("width"), c.Int("height"))
		}), workflow.Int("steps", 20, 1, 4096), side("width"), side("height"))
}
