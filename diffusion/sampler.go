package diffusion

import (
	"context"
	"math"
)

// A sampler follows the noise levels from the first to the last and returns
// the last state.
type sampler func(s *state) ([]float32, error)

// A choice is a sampler by its name.
type choice struct {
	name string
	sampler
	// discard says that the last level before 0 is left out.
	discard bool
	// randomInpaint draws noise of its own for what is kept of an inpainted
	// picture.
	randomInpaint bool
}

// samplers are those of ComfyUI, in the order in which its users see them.
var samplers = []choice{
	{name: "euler", sampler: euler},
	{name: "euler_ancestral", sampler: eulerAncestral},
	{name: "heun", sampler: heun},
	{name: "dpm_2", sampler: dpm2, discard: true},
	{name: "dpm_2_ancestral", sampler: dpm2Ancestral, discard: true},
	{name: "dpmpp_2s_ancestral", sampler: dpmpp2sAncestral},
	{name: "dpmpp_sde", sampler: dpmppSDE},
	{name: "dpmpp_2m", sampler: dpmpp2m},
	{name: "dpmpp_2m_sde", sampler: dpmpp2mSDE},
	{name: "dpmpp_3m_sde", sampler: dpmpp3mSDE},
	{name: "ddpm", sampler: ddpm},
	{name: "lcm", sampler: lcm},
	{name: "res_multistep", sampler: resMultistep},
	{name: "er_sde", sampler: erSDE},
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

// A state is a run of a sampler.
type state struct {
	ctx    context.Context
	x      []float32
	sigmas []float64
	seed   uint64
	// denoise returns what x is taken for without its noise.
	denoise func(ctx context.Context, x []float32, sigma float64) ([]float32, error)
	// progress is called after each step with what was denoised in it.
	progress func(step int, denoised []float32)

	generator *Generator
	path      *brownian
}

// steps returns the number of steps.
func (s *state) steps() int { return len(s.sigmas) - 1 }

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
	return s.denoise(s.ctx, x, sigma)
}

// noise returns new noise, independent of any other.
func (s *state) noise() []float32 {
	if s.generator == nil {
		// The first noise was drawn with the seed itself; ComfyUI keeps the
		// noise of the steps apart from it on the CPU.
		s.generator = NewGenerator(s.seed + 1)
	}
	out := make([]float32, len(s.x))
	s.generator.Normal(out)
	return out
}

// pathNoise returns the noise between two levels of one path.
func (s *state) pathNoise(from, to float64) []float32 {
	if s.path == nil {
		low, high := math.Inf(1), 0.0
		for _, v := range s.sigmas {
			high = max(high, v)
			if v > 0 {
				low = min(low, v)
			}
		}
		s.path = newBrownian(s.seed, low, high, len(s.x))
	}
	return s.path.noise(from, to)
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

// ancestral splits a step into one down to a lower level and the noise that
// leads up again to the level to (Karras et al. 2022, Katherine Crowson's
// k-diffusion).
func ancestral(from, to float64) (down, up float64) {
	if to == 0 {
		return 0, 0
	}
	up = min(to, math.Sqrt(to*to*(from*from-to*to)/(from*from)))
	return math.Sqrt(to*to - up*up), up
}
