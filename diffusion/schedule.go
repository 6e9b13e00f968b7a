package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Schedule says which noise levels of a process are run.
type Schedule struct {
	Scheduler string
	Steps     int
	// Denoise is how much of the noise is put on and taken off: below 1 only the
	// last levels of a longer schedule are run.
	Denoise float64
	// Start and End are the first step that is run and the one before which it
	// ends. An End of 0, or beyond the last step, is the last.
	Start, End int
	// FullDenoise takes off all noise in the last step that is run, whatever the
	// scheduler says.
	FullDenoise bool
}

// maxLevels bounds the levels of a schedule, of which denoise takes the last:
// what ComfyUI's widgets can ask for.
const maxLevels = 1_000_000

// Sigmas returns the noise levels for a sampler, some of which leave out the last
// level before 0.
func (s Schedule) Sigmas(p *Process, sampler Sampler) (Sigmas, error) {
	if s.Steps < 1 {
		return nil, fmt.Errorf("%d steps: expected at least 1", s.Steps)
	}
	if s.Denoise <= 0 {
		return nil, nil
	}
	if all := float64(s.Steps) / s.Denoise; all > maxLevels {
		return nil, fmt.Errorf("%d steps at denoise %g are the last of %.3g, expected at most %d: a larger denoise or fewer steps", s.Steps, s.Denoise, all, maxLevels)
	}
	steps := s.Steps
	if s.Denoise < 0.9999 {
		steps = int(float64(s.Steps) / s.Denoise)
	}
	all := steps
	if sampler.discard {
		all++
	}
	sigmas, err := p.Sigmas(s.Scheduler, all)
	if err != nil {
		return nil, err
	}
	if n := len(sigmas); sampler.discard && n > 2 {
		sigmas = append(sigmas[:n-2], sigmas[n-1])
	}
	if steps != s.Steps {
		sigmas = sigmas[max(len(sigmas)-s.Steps-1, 0):]
	}
	if s.End > 0 && s.End < len(sigmas)-1 {
		sigmas = sigmas[:s.End+1]
		if s.FullDenoise {
			sigmas[len(sigmas)-1] = 0
		}
	}
	if s.Start >= len(sigmas)-1 && s.Start > 0 {
		return nil, nil
	}
	return sigmas[s.Start:], nil
}

// A scheduler chooses the noise levels of a number of steps: descending, with
// 0 at the end.
type scheduler func(p *Process, steps int) Sigmas

// schedulers are those of ComfyUI, in the order in which its users see them.
var schedulers = []struct {
	name string
	scheduler
}{
	{"simple", simple},
	{"sgm_uniform", func(p *Process, n int) Sigmas { return uniform(p, n, true) }},
	{"karras", func(p *Process, n int) Sigmas { return Karras(n, p.Min(), p.Max(), 7) }},
	{"exponential", func(p *Process, n int) Sigmas { return Exponential(n, p.Min(), p.Max()) }},
	{"ddim_uniform", ddimUniform},
	{"beta", func(p *Process, n int) Sigmas { return beta(p, n, 0.6, 0.6) }},
	{"normal", func(p *Process, n int) Sigmas { return uniform(p, n, false) }},
	{"linear_quadratic", linearQuadratic},
	{"kl_optimal", klOptimal},
}

// Schedulers returns the names of the schedulers.
func Schedulers() []string {
	var names []string
	for _, s := range schedulers {
		names = append(names, s.name)
	}
	return names
}

// Sigmas returns the noise levels of a scheduler for some steps: usually one
// more than steps, descending, 0 at the end. Some schedulers merge steps that
// fall together, and ddim_uniform may have a step more.
func (p *Process) Sigmas(name string, steps int) (Sigmas, error) {
	if steps < 1 {
		return nil, fmt.Errorf("%d steps: expected at least 1", steps)
	}
	for _, s := range schedulers {
		if s.name == name {
			return s.scheduler(p, steps).rounded(), nil
		}
	}
	return nil, fmt.Errorf("there is no scheduler %q, only %s", name, strings.Join(Schedulers(), ", "))
}

// linspace returns n numbers from a to b, rounded as PyTorch does: the second
// half is computed from the end.
func linspace(a, b float64, n int) []float32 {
	out := make([]float32, n)
	first, last := float32(a), float32(b)
	step := (last - first) / float32(max(n-1, 1))
	for i := range out {
		if i < n/2 || n == 1 {
			out[i] = fma32(step, float32(i), first)
		} else {
			out[i] = fma32(-step, float32(n-1-i), last)
		}
	}
	return out
}

// uniform has equal distances in timesteps. The first model's schedule (sgm)
// leaves out the last timestep, the others' include it.
func uniform(p *Process, steps int, sgm bool) Sigmas {
	start, end := p.Timestep(p.Max()), p.Timestep(p.Min())
	n := steps
	ends := !sgm && isZero(p.Sigma(end)) // by itself
	if sgm || ends {
		n++
	}
	var out Sigmas
	for _, ts := range linspace(start, end, n)[:steps] {
		out = append(out, p.Sigma(float64(ts)))
	}
	if ends {
		return append(out, p.Sigma(end))
	}
	return append(out, 0)
}

// isZero reports whether a level is as good as no noise.
func isZero(sigma float64) bool { return sigma <= 1e-5 }

// simple takes every so many-th noise level from the top.
func simple(p *Process, steps int) Sigmas {
	n := len(p.sigmas)
	stride := float64(n) / float64(steps)
	var out Sigmas
	for i := range steps {
		out = append(out, p.sigmas[n-1-int(float64(i)*stride)])
	}
	return append(out, 0)
}

// ddimUniform takes every so many-th noise level from the bottom (Song et al.
// 2021, Denoising Diffusion Implicit Models).
func ddimUniform(p *Process, steps int) Sigmas {
	out := Sigmas{0}
	if isZero(p.sigmas[1]) {
		out, steps = nil, steps+1
	}
	stride := max(len(p.sigmas)/steps, 1)
	for i := 1; i < len(p.sigmas); i += stride {
		out = append(out, p.sigmas[i])
	}
	slices.Reverse(out)
	return out
}

// beta spaces timesteps by the quantiles of the distribution Beta(a, b), with 0.6
// for both by Lee et al. (2024, Beta Sampling is All You Need), rounded to whole
// ones.
func beta(p *Process, steps int, a, b float64) Sigmas {
	ts := len(p.sigmas) - 1
	last := -1
	var out Sigmas
	for i := range steps {
		// The quantile rounds to a lower timestep when more of the distribution is
		// below the middle between the two.
		part := 1 - float64(i)/float64(steps)
		for ts > 0 && part < incompleteBeta((float64(ts)-0.5)/float64(len(p.sigmas)-1), a, b) {
			ts--
		}
		if ts != last {
			out = append(out, p.sigmas[ts])
		}
		last = ts
	}
	return append(out, 0)
}

// linearQuadratic is linear for the first half of the steps, in which it
// removes a fortieth of the noise, and quadratic after (Polyak et al. 2024,
// Movie Gen, with half of the steps linear).
func linearQuadratic(p *Process, steps int) Sigmas {
	if steps == 1 {
		return Sigmas{p.Max(), 0}
	}
	const threshold = 0.025
	linear := float64(steps / 2)
	quadratic := float64(steps) - linear
	rest := linear - threshold*float64(steps)
	a := rest / (linear * quadratic * quadratic)
	b := threshold/linear - 2*rest/(quadratic*quadratic)
	c := a * linear * linear
	var out Sigmas
	for i := range steps {
		x := float64(i)
		done := x * threshold / linear
		if x >= linear {
			done = a*x*x + b*x + c
		}
		out = append(out, float64(float32(1-done))*p.Max())
	}
	return append(out, 0)
}

// klOptimal has equal distances in the arc tangent of sigma (Sabour et al.
// 2024, Align Your Steps, theorem 3.1).
func klOptimal(p *Process, steps int) Sigmas {
	var out Sigmas
	hi, lo := float32(math.Atan(p.Max())), float32(math.Atan(p.Min()))
	for i := range steps {
		// In single precision as in PyTorch: the tangent makes much of the last digit.
		part := float32(i) / float32(max(steps-1, 1))
		v := float32(part*lo) + float32((1-part)*hi)
		out = append(out, math.Tan(float64(v)))
	}
	return append(out, 0)
}
