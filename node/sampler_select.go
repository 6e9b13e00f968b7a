package node

import (
	"context"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/workflow"
)

// registerSampling registers the nodes that choose a sampler.
func registerSampling(reg *workflow.Registry, _ *Env) {
	// register registers a node that chooses the sampler of a name with options.
	register := func(class, about string, name func(c *workflow.Call) string, change func(c *workflow.Call, o *diffusion.Options), inputs ...workflow.Input) {
		reg.Register(workflow.Schema{
			Class: class, Category: "model/sampling/samplers", Description: about, Inputs: inputs,
			Outputs: workflow.Outputs(workflow.TypeSampler),
			Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
				s, err := diffusion.NewSampler(name(c), func(o *diffusion.Options) { change(c, o) })
				return []any{s}, err
			},
		})
	}
	is := func(name string) func(*workflow.Call) string { return func(*workflow.Call) string { return name } }
	// on returns the variant of a sampler whose noise is drawn by a device.
	on := func(name string) func(*workflow.Call) string {
		return func(c *workflow.Call) string {
			if c.String("noise_device") == "gpu" {
				return name + "_gpu"
			}
			return name
		}
	}
	var (
		eta    = workflow.Float("eta", 1, 0, 100, 0.01).Tip("How much of the noise each step takes off and puts on anew.")
		noise  = workflow.Float("s_noise", 1, 0, 100, 0.01).Tip("Multiplies the noise that is put on.")
		device = workflow.Combo("noise_device", "gpu", "cpu")
	)
	noisy := func(c *workflow.Call, o *diffusion.Options) { o.Eta, o.Noise = c.Float("eta"), c.Float("s_noise") }
	register("KSamplerSelect", "Chooses a sampler by its name.",
		func(c *workflow.Call) string { return c.String("sampler_name") }, func(*workflow.Call, *diffusion.Options) {},
		workflow.Combo("sampler_name", diffusion.Samplers()...))
	register("SamplerEulerAncestral", "Euler's method with new noise in each step.", is("euler_ancestral"), noisy, eta, noise)
	register("SamplerEulerAncestralCFGPP", "Euler's method with CFG++ and new noise in each step.", is("euler_ancestral_cfg_pp"), noisy,
		workflow.Float("eta", 1, 0, 1, 0.01), workflow.Float("s_noise", 1, 0, 10, 0.01))
	register("SamplerDPMPP_2S_Ancestral", "DPM-Solver++(2S) with new noise in each step.", is("dpmpp_2s_ancestral"), noisy, eta, noise)
	register("SamplerDPMPP_SDE", "The stochastic DPM-Solver++.", on("dpmpp_sde"), func(c *workflow.Call, o *diffusion.Options) {
		noisy(c, o)
		o.Middle = c.Float("r")
	}, eta, noise, workflow.Float("r", 0.5, 0, 100, 0.01), device)
	register("SamplerDPMPP_2M_SDE", "The stochastic DPM-Solver++(2M).", on("dpmpp_2m_sde"), func(c *workflow.Call, o *diffusion.Options) {
		noisy(c, o)
		o.Heun = c.String("solver_type") == "heun"
	}, workflow.Combo("solver_type", "midpoint", "heun"), eta, noise, device)
	register("SamplerDPMPP_3M_SDE", "The stochastic DPM-Solver++(3M).", on("dpmpp_3m_sde"), noisy, eta, noise, device)
	register("SamplerLMS", "The linear multistep method.", is("lms"), func(c *workflow.Call, o *diffusion.Options) { o.Order = c.Int("order") },
		workflow.Int("order", 4, 1, 100))
	register("SamplerER_SDE", "The Extended Reverse-Time SDE Solver.", is("er_sde"), func(c *workflow.Call, o *diffusion.Options) {
		noisy(c, o)
		o.Order = c.Int("max_stage")
		switch kind := c.String("solver_type"); {
		case kind == "ODE" || o.Eta == 0:
			o.Eta, o.Noise = 0, 0
		case kind == "Reverse-time SDE":
			o.Scale = diffusion.ReverseSDE
		}
	}, workflow.Combo("solver_type", "ER-SDE", "Reverse-time SDE", "ODE"), workflow.Int("max_stage", 3, 1, 3), workflow.Float("eta", 1, 0, 10, 0.01), noise)
	register("SamplerSEEDS2", "SEEDS-2, or Heun's method as an exponential integrator.", is("seeds_2"), func(c *workflow.Call, o *diffusion.Options) {
		noisy(c, o)
		o.Middle, o.Line = c.Float("r"), c.String("solver_type") == "phi_2"
	}, workflow.Combo("solver_type", "phi_1", "phi_2"), eta, noise, workflow.Float("r", 0.5, 0.01, 1, 0.01))
	register("SamplerLCM", "Denoises wholly in each step, with noise that changes from the first step to the last.", is("lcm"), func(c *workflow.Call, o *diffusion.Options) {
		o.Noise, o.NoiseEnd, o.Clip = c.Float("s_noise"), c.Float("s_noise_end"), c.Float("noise_clip_std")
	}, workflow.Float("s_noise", 1, 0, 64, 0.01), workflow.Float("s_noise_end", 1, 0, 64, 0.01),
		workflow.Float("noise_clip_std", 0, 0, 10, 0.01).Tip("Cuts the noise off at so many deviations; 0 does not."))
	coefficient := func(name string, def float64) workflow.Input { return workflow.Float(name, def, 0, 100, 0.01) }
	register("SamplerDPMAdaptative", "DPM-Solver with steps as long as a tolerance allows.", is("dpm_adaptive"), func(c *workflow.Call, o *diffusion.Options) {
		o.Noise = c.Float("s_noise")
		o.Adaptive = diffusion.Adaptive{
			Order: c.Int("order"), Relative: c.Float("rtol"), Absolute: c.Float("atol"), First: c.Float("h_init"),
			Proportional: c.Float("pcoeff"), Integral: c.Float("icoeff"), Derivative: c.Float("dcoeff"),
			Accept: c.Float("accept_safety"), Eta: c.Float("eta"),
		}
	}, workflow.Int("order", 3, 2, 3), coefficient("rtol", 0.05), coefficient("atol", 0.0078), coefficient("h_init", 0.05), coefficient("pcoeff", 0),
		coefficient("icoeff", 1), coefficient("dcoeff", 0), coefficient("accept_safety", 0.81), coefficient("eta", 0), noise)
	part := func(name string, def float64) workflow.Input { return workflow.Float(name, def, 0, 1, 0.001) }
	register("SamplerSASolver", "The stochastic Adams solver.", is("sa_solver"), func(c *workflow.Call, o *diffusion.Options) {
		o.Noise = c.Float("s_noise")
		o.Adams = diffusion.Adams{
			Predictor: c.Int("predictor_order"), Corrector: c.Int("corrector_order"), Eta: c.Float("eta"),
			Start: c.Float("sde_start_percent"), End: c.Float("sde_end_percent"), Evaluate: c.Bool("use_pece"), Simple: c.Bool("simple_order_2"),
		}
	}, workflow.Link("model", workflow.TypeModel), workflow.Float("eta", 1, 0, 10, 0.01), part("sde_start_percent", 0.2), part("sde_end_percent", 0.8), noise,
		workflow.Int("predictor_order", 3, 1, 6), workflow.Int("corrector_order", 4, 0, 6), workflow.Bool("use_pece", false), workflow.Bool("simple_order_2", false))
}
