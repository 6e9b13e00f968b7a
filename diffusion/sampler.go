package diffusion

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Sampler follows the noise levels from the first to the last.
type Sampler struct {
	Name string
	// run returns the last state.
	run func(s *state) ([]float32, error)
	// discard leaves out the last level before 0.
	discard bool
	// randomInpaint draws noise of its own for what is kept of an inpainted
	// picture.
	randomInpaint bool
	// cfgPP asks for what is denoised without the prompt, at any guidance.
	cfgPP bool
	// path says which device draws the path of noise that a sampler follows.
	path pathOrigin
	Options
}

// A pathOrigin is the device that draws a path of noise.
type pathOrigin int

const (
	noPath       pathOrigin = iota
	pathByCPU               // the processor, wherever the model runs
	pathBySource            // the source of the noise of steps
)

// samplers are those of ComfyUI, in the order in which its users see them.
var samplers = []Sampler{
	{Name: "euler", run: euler},
	{Name: "euler_cfg_pp", run: eulerCFGPP, cfgPP: true},
	{Name: "euler_ancestral", run: eulerAncestral},
	{Name: "euler_ancestral_cfg_pp", run: eulerAncestralCFGPP, cfgPP: true},
	{Name: "heun", run: heun},
	{Name: "heunpp2", run: heunPP2},
	{Name: "exp_heun_2_x0", run: expHeun},
	{Name: "exp_heun_2_x0_sde", run: expHeunSDE},
	{Name: "dpm_2", run: dpm2, discard: true},
	{Name: "dpm_2_ancestral", run: dpm2Ancestral, discard: true},
	{Name: "lms", run: lms},
	{Name: "dpm_fast", run: dpmFast},
	{Name: "dpm_adaptive", run: dpmAdaptive},
	{Name: "dpmpp_2s_ancestral", run: dpmpp2sAncestral},
	{Name: "dpmpp_2s_ancestral_cfg_pp", run: dpmpp2sAncestralCFGPP, cfgPP: true},
	{Name: "dpmpp_sde", run: dpmppSDE, path: pathByCPU},
	{Name: "dpmpp_sde_gpu", run: dpmppSDE, path: pathBySource},
	{Name: "dpmpp_2m", run: dpmpp2m},
	{Name: "dpmpp_2m_cfg_pp", run: dpmpp2mCFGPP, cfgPP: true},
	{Name: "dpmpp_2m_sde", run: dpmpp2mSDE, path: pathByCPU},
	{Name: "dpmpp_2m_sde_gpu", run: dpmpp2mSDE, path: pathBySource},
	{Name: "dpmpp_2m_sde_heun", run: dpmpp2mSDEHeun, path: pathByCPU},
	{Name: "dpmpp_2m_sde_heun_gpu", run: dpmpp2mSDEHeun, path: pathBySource},
	{Name: "dpmpp_3m_sde", run: dpmpp3mSDE, path: pathByCPU},
	{Name: "dpmpp_3m_sde_gpu", run: dpmpp3mSDE, path: pathBySource},
	{Name: "ddpm", run: ddpm},
	{Name: "lcm", run: lcm},
	{Name: "ipndm", run: ipndm},
	{Name: "ipndm_v", run: ipndmV},
	{Name: "deis", run: deis},
	{Name: "res_multistep", run: resMultistep},
	{Name: "res_multistep_cfg_pp", run: resMultistepCFGPP, cfgPP: true},
	{Name: "res_multistep_ancestral", run: resMultistepAncestral},
	{Name: "res_multistep_ancestral_cfg_pp", run: resMultistepAncestralCFGPP, cfgPP: true},
	{Name: "gradient_estimation", run: gradientEstimation},
	{Name: "gradient_estimation_cfg_pp", run: gradientEstimationCFGPP, cfgPP: true},
	{Name: "er_sde", run: erSDE},
	{Name: "seeds_2", run: seeds2},
	{Name: "seeds_3", run: seeds3},
	{Name: "sa_solver", run: saSolver},
	{Name: "sa_solver_pece", run: saSolverPECE},
	{Name: "ddim", run: euler, randomInpaint: true},
	{Name: "uni_pc", run: func(s *state) ([]float32, error) { return uniPC(s, false) }, discard: true},
	{Name: "uni_pc_bh2", run: func(s *state) ([]float32, error) { return uniPC(s, true) }, discard: true},
}

// Samplers returns the names of the samplers.
func Samplers() []string {
	var names []string
	for _, s := range samplers {
		names = append(names, s.Name)
	}
	return names
}

// NewSampler returns the sampler of a name, changed by the functions in order.
func NewSampler(name string, changes ...func(o *Options)) (Sampler, error) {
	for _, s := range samplers {
		if s.Name == name {
			s.Options = defaults()
			for _, change := range changes {
				change(&s.Options)
			}
			return s, nil
		}
	}
	return Sampler{}, fmt.Errorf("there is no sampler %q, only %s", name, strings.Join(Samplers(), ", "))
}

// states bounds the states that sampling holds at a time: the state, noise,
// predictions of each condition, what samplers of several steps remember, the
// values of a path of noise, and the result.
func (s Sampler) states() int {
	const states = 24
	n := states + max(s.Order-4, 0)
	if s.path != noPath {
		n += pathStates
	}
	return n
}

// A denoiser returns what x is taken for without its noise, with guidance and
// as it is without the prompt, which is nil unless a sampler asks for it.
type denoiser func(ctx context.Context, x []float32, sigma float64) (guided, uncond []float32, err error)

// A state is a run of a sampler.
type state struct {
	Options
	ctx     context.Context
	process *Process
	x       []float32
	sigmas  Sigmas
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
	if s.process.Flow() && s.sigmas[0] >= 1 {
		s.sigmas = slices.Clone(s.sigmas)
		s.sigmas[0] = float64(float32(s.process.At(1e-4)))
	}
}

// renoise adds new noise up to a level.
func (s *state) renoise(x []float32, up float64) []float32 {
	return sum(term{1, x}, s.fresh(up))
}

// fresh returns new noise of a level.
func (s *state) fresh(up float64) term { return term{up * s.Noise, s.noise()} }

// noisy reports whether steps put noise on.
func (s *state) noisy() bool { return s.Eta > 0 && s.Noise > 0 }

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
// k-diffusion). eta is the part of the noise.
func ancestral(from, to, eta float64) (down, up float64) {
	if math.IsInf(from, 1) { // from pure noise everything is noise anew
		return 0, to
	}
	ratio := to / from
	up = min(to, eta*(to*math.Sqrt(max(1-ratio*ratio, 0))))
	return math.Sqrt(to*to - up*up), up
}

// ancestral is the split for the state of the process: after the step down the
// state is scaled, which only flows need.
func (s *state) ancestral(from, to float64) (down, scale, up float64) {
	if !s.process.Flow() {
		down, up = ancestral(from, to, s.Eta)
		return down, 1, up
	}
	if s.Eta == 0 {
		return to, 1, 0
	}
	down = to * (1 + (to/from-1)*s.Eta)
	scale = (1 - to) / (1 - down)
	return down, scale, math.Sqrt(max(to*to-down*down*scale*scale, 0))
}
