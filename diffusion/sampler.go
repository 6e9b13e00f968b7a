package diffusion

import (
	"context"
	"math"
	"slices"
)

// A sampler follows the noise levels from the first to the last and returns
// the last state.
type sampler func(s *state) ([]float32, error)

// A choice is a sampler by its name.
type choice struct {
	name string
	sampler
	// discard leaves out the last level before 0.
	discard bool
	// randomInpaint draws noise of its own for what is kept of an inpainted
	// picture.
	randomInpaint bool
	// cfgPP asks for what is denoised without the prompt, at any guidance.
	cfgPP bool
	// path says which device draws the path of noise that a sampler follows.
	path pathOrigin
}

// A pathOrigin is the device that draws a path of noise.
type pathOrigin int

const (
	noPath       pathOrigin = iota
	pathByCPU               // the processor, wherever the model runs
	pathBySource            // the source of the noise of steps
)

// samplers are those of ComfyUI, in the order in which its users see them.
var samplers = []choice{
	{name: "euler", sampler: euler},
	{name: "euler_cfg_pp", sampler: eulerCFGPP, cfgPP: true},
	{name: "euler_ancestral", sampler: eulerAncestral},
	{name: "euler_ancestral_cfg_pp", sampler: eulerAncestralCFGPP, cfgPP: true},
	{name: "heun", sampler: heun},
	{name: "heunpp2", sampler: heunPP2},
	{name: "exp_heun_2_x0", sampler: expHeun},
	{name: "exp_heun_2_x0_sde", sampler: expHeunSDE},
	{name: "dpm_2", sampler: dpm2, discard: true},
	{name: "dpm_2_ancestral", sampler: dpm2Ancestral, discard: true},
	{name: "lms", sampler: lms},
	{name: "dpm_fast", sampler: dpmFast},
	{name: "dpm_adaptive", sampler: dpmAdaptive},
	{name: "dpmpp_2s_ancestral", sampler: dpmpp2sAncestral},
	{name: "dpmpp_2s_ancestral_cfg_pp", sampler: dpmpp2sAncestralCFGPP, cfgPP: true},
	{name: "dpmpp_sde", sampler: dpmppSDE, path: pathByCPU},
	{name: "dpmpp_sde_gpu", sampler: dpmppSDE, path: pathBySource},
	{name: "dpmpp_2m", sampler: dpmpp2m},
	{name: "dpmpp_2m_cfg_pp", sampler: dpmpp2mCFGPP, cfgPP: true},
	{name: "dpmpp_2m_sde", sampler: dpmpp2mSDE, path: pathByCPU},
	{name: "dpmpp_2m_sde_gpu", sampler: dpmpp2mSDE, path: pathBySource},
	{name: "dpmpp_2m_sde_heun", sampler: dpmpp2mSDEHeun, path: pathByCPU},
	{name: "dpmpp_2m_sde_heun_gpu", sampler: dpmpp2mSDEHeun, path: pathBySource},
	{name: "dpmpp_3m_sde", sampler: dpmpp3mSDE, path: pathByCPU},
	{name: "dpmpp_3m_sde_gpu", sampler: dpmpp3mSDE, path: pathBySource},
	{name: "ddpm", sampler: ddpm},
	{name: "lcm", sampler: lcm},
	{name: "ipndm", sampler: ipndm},
	{name: "ipndm_v", sampler: ipndmV},
	{name: "deis", sampler: deis},
	{name: "res_multistep", sampler: resMultistep},
	{name: "res_multistep_cfg_pp", sampler: resMultistepCFGPP, cfgPP: true},
	{name: "res_multistep_ancestral", sampler: resMultistepAncestral},
	{name: "res_multistep_ancestral_cfg_pp", sampler: resMultistepAncestralCFGPP, cfgPP: true},
	{name: "gradient_estimation", sampler: gradientEstimation},
	{name: "gradient_estimation_cfg_pp", sampler: gradientEstimationCFGPP, cfgPP: true},
	{name: "er_sde", sampler: erSDE},
	{name: "seeds_2", sampler: seeds2},
	{name: "seeds_3", sampler: seeds3},
	{name: "sa_solver", sampler: saSolver},
	{name: "sa_solver_pece", sampler: saSolverPECE},
	{name: "ddim", sampler: euler, randomInpaint: true},
	{name: "uni_pc", sampler: func(s *state) ([]float32, error) { return uniPC(s, false) }, discard: true},
	{name: "uni_pc_bh2", sampler: func(s *state) ([]float32, error) { return uniPC(s, true) }, discard: true},
}

// Samplers returns the names of the samplers.
func Samplers() []string {
	var names []string
	for _, s := range samplers {
		names = append(names, s.name)
	}
	return names
}

// States bounds the states that sampling with a sampler holds at a time: the
// state, noise, predictions of each condition, what samplers of several steps
// remember, the values of a path of noise, and the result.
func States(sampler string) int {
	const states = 24
	for _, s := range samplers {
		if s.name == sampler && s.path != noPath {
			return states + pathStates
		}
	}
	return states
}

// A denoiser returns what x is taken for without its noise, with guidance and
// as it is without the prompt, which is nil unless a sampler asks for it.
type denoiser func(ctx context.Context, x []float32, sigma float64) (guided, uncond []float32, err error)

// A state is a run of a sampler.
type state struct {
	ctx     context.Context
	table   *Table
	x       []float32
	sigmas  []float64
	denoise denoiser
	// uncond is the unconditional part of the last evaluation.
	uncond []float32
	// noise draws the noise of a step, independent of any other.
	noise func() []float32
	// path returns the noise between two levels of one path.
	path func(from, to float64) []float32
	// progress is called after each step with what was denoised in it.
	progress func(step int, denoised []float32)
}

// steps returns the number of steps.
func (s *state) steps() int { return len(s.sigmas) - 1 }

// last returns the level at which the sampler ends.
func (s *state) last() float64 { return s.sigmas[len(s.sigmas)-1] }

// A step is one step of a sampler: it returns the next state from x, which was
// denoised as d at the level from.
type step func(i int, from, to float64, x, d []float32) ([]float32, error)

// each makes all steps, denoising the state before each of them.
func (s *state) each(f step) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		d, err := s.eval(x, s.sigmas[i])
		if err != nil {
			return nil, err
		}
		if x, err = f(i, s.sigmas[i], s.sigmas[i+1], x, d); err != nil {
			return nil, err
		}
		s.progress(i, d)
	}
	return x, nil
}

// eval denoises the state x at sigma.
func (s *state) eval(x []float32, sigma float64) ([]float32, error) {
	d, uncond, err := s.denoise(s.ctx, x, sigma)
	s.uncond = uncond
	return d, err
}

// finiteLogSNR moves the first level of a flow away from pure noise, whose
// signal-to-noise ratio has no logarithm.
func (s *state) finiteLogSNR() {
	if s.table.Prediction == Flow && s.sigmas[0] >= 1 {
		s.sigmas = slices.Clone(s.sigmas)
		s.sigmas[0] = s.table.At(1e-4)
	}
}

// renoise adds new noise up to a level.
func (s *state) renoise(x []float32, up float64) []float32 {
	return sum(term{1, x}, term{up, s.noise()})
}

// A term is a vector times a number.
type term struct {
	c float64
	v []float32
}

// sum returns the sum of terms.
func sum(terms ...term) []float32 {
	out := make([]float32, len(terms[0].v))
	for _, t := range terms {
		if c := float32(t.c); c != 0 {
			for i, v := range t.v {
				out[i] += c * v
			}
		}
	}
	return out
}

// toward moves x on the straight line through what was denoised from one level
// to another: a step of Euler's method.
func toward(x, denoised []float32, from, to float64) []float32 {
	return sum(term{to / from, x}, term{1 - to/from, denoised})
}

// slope returns the derivative of x by the level: the noise in x.
func slope(x, denoised []float32, sigma float64) []float32 {
	return sum(term{1 / sigma, x}, term{-1 / sigma, denoised})
}

// ancestral splits a step into one down to a lower level and the noise that
// leads up again to the level to (Karras et al. 2022, Katherine Crowson's
// k-diffusion).
func ancestral(from, to float64) (down, up float64) {
	ratio := to / from
	up = min(to, to*math.Sqrt(max(1-ratio*ratio, 0)))
	return math.Sqrt(to*to - up*up), up
}

// ancestral is the split for the state of the table: after the step down the
// state is scaled, which only flows need.
func (s *state) ancestral(from, to float64) (down, scale, up float64) {
	if s.table.Prediction != Flow {
		down, up = ancestral(from, to)
		return down, 1, up
	}
	down = to * to / from
	scale = (1 - to) / (1 - down)
	return down, scale, math.Sqrt(max(to*to-down*down*scale*scale, 0))
}
