package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A scheduler chooses the noise levels of a number of steps: descending, with
// 0 at the end.
type scheduler func(t *Table, steps int) []float64

// schedulers are those of ComfyUI, in the order in which its users see them.
var schedulers = []struct {
	name string
	scheduler
}{
	{"simple", simple},
	{"sgm_uniform", func(t *Table, n int) []float64 { return uniform(t, n, true) }},
	{"karras", karras},
	{"exponential", exponential},
	{"ddim_uniform", ddimUniform},
	{"beta", beta},
	{"normal", func(t *Table, n int) []float64 { return uniform(t, n, false) }},
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
func (t *Table) Sigmas(name string, steps int) ([]float64, error) {
	if steps < 1 {
		return nil, fmt.Errorf("%d steps: expected at least 1", steps)
	}
	for _, s := range schedulers {
		if s.name == name {
			sigmas := s.scheduler(t, steps)
			for i, v := range sigmas {
				sigmas[i] = float64(float32(v))
			}
			return sigmas, nil
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
func uniform(t *Table, steps int, sgm bool) []float64 {
	start, end := t.Timestep(t.Max()), t.Timestep(t.Min())
	n := steps
	if sgm {
		n++
	}
	var out []float64
	for _, ts := range linspace(start, end, n)[:steps] {
		out = append(out, t.Sigma(float64(ts)))
	}
	return append(out, 0)
}

// karras has equal distances in the seventh root of sigma (Karras et al. 2022,
// equation 5). It rounds as PyTorch does, since the power makes seven of each
// last digit.
func karras(t *Table, steps int) []float64 {
	const rho = 7
	hi, lo := math.Pow(t.Max(), 1./rho), math.Pow(t.Min(), 1./rho)
	var out []float64
	for _, v := range linspace(0, 1, steps) {
		root := float32(hi) + float32(v*float32(lo-hi))
		out = append(out, math.Pow(float64(root), rho))
	}
	return append(out, 0)
}

// exponential has equal distances in the logarithm of sigma.
func exponential(t *Table, steps int) []float64 {
	var out []float64
	for _, v := range linspace(math.Log(t.Max()), math.Log(t.Min()), steps) {
		out = append(out, math.Exp(float64(v)))
	}
	return append(out, 0)
}

// simple takes every so many-th noise level from the top.
func simple(t *Table, steps int) []float64 {
	n := len(t.sigmas)
	stride := float64(n) / float64(steps)
	var out []float64
	for i := range steps {
		out = append(out, t.sigmas[n-1-int(float64(i)*stride)])
	}
	return append(out, 0)
}

// ddimUniform takes every so many-th noise level from the bottom (Song et al.
// 2021, Denoising Diffusion Implicit Models).
func ddimUniform(t *Table, steps int) []float64 {
	stride := max(len(t.sigmas)/steps, 1)
	out := []float64{0}
	for i := 1; i < len(t.sigmas); i += stride {
		out = append(out, t.sigmas[i])
	}
	slices.Reverse(out)
	return out
}

// beta spaces timesteps by the quantiles of the distribution Beta(0.6, 0.6)
// (Lee et al. 2024, Beta Sampling is All You Need), rounded to whole ones.
func beta(t *Table, steps int) []float64 {
	ts := len(t.sigmas) - 1
	last := -1
	var out []float64
	for i := range steps {
		// The quantile rounds to a lower timestep when more of the distribution is
		// below the middle between the two.
		p := 1 - float64(i)/float64(steps)
		for ts > 0 && p < below(t, ts) {
			ts--
		}
		if ts != last {
			out = append(out, t.sigmas[ts])
		}
		last = ts
	}
	return append(out, 0)
}

// below returns the part of the distribution Beta(0.6, 0.6) that is below the
// middle between a timestep and the one before.
func below(t *Table, timestep int) float64 {
	return incompleteBeta((float64(timestep)-0.5)/float64(len(t.sigmas)-1), 0.6, 0.6)
}

// linearQuadratic is linear for the first half of the steps, in which it
// removes a fortieth of the noise, and quadratic after (Polyak et al. 2024,
// Movie Gen, with half of the steps linear).
func linearQuadratic(t *Table, steps int) []float64 {
	if steps == 1 {
		return []float64{t.Max(), 0}
	}
	const threshold = 0.025
	linear := float64(steps / 2)
	quadratic := float64(steps) - linear
	rest := linear - threshold*float64(steps)
	a := rest / (linear * quadratic * quadratic)
	b := threshold/linear - 2*rest/(quadratic*quadratic)
	c := a * linear * linear
	var out []float64
	for i := range steps {
		x := float64(i)
		done := x * threshold / linear
		if x >= linear {
			done = a*x*x + b*x + c
		}
		out = append(out, float64(float32(1-done))*t.Max())
	}
	return append(out, 0)
}

// klOptimal has equal distances in the arc tangent of sigma (Sabour et al.
// 2024, Align Your Steps, theorem 3.1).
func klOptimal(t *Table, steps int) []float64 {
	var out []float64
	hi, lo := float32(math.Atan(t.Max())), float32(math.Atan(t.Min()))
	for i := range steps {
		// In single precision as in PyTorch: the tangent makes much of the last digit.
		part := float32(i) / float32(max(steps-1, 1))
		v := float32(part*lo) + float32((1-part)*hi)
		out = append(out, math.Tan(float64(v)))
	}
	return append(out, 0)
}

// incompleteBeta is the regularized incomplete beta function by its continued
// fraction (DLMF 8.17.22), evaluated with Lentz's method.
func incompleteBeta(x, a, b float64) float64 {
	if x <= 0 || x >= 1 {
		return min(max(x, 0), 1)
	}
	// The fraction converges fast below the mean; above it the function is
	// symmetric.
	if x > (a+1)/(a+b+2) {
		return 1 - incompleteBeta(1-x, b, a)
	}
	lgamma := func(v float64) float64 { l, _ := math.Lgamma(v); return l }
	front := math.Exp(lgamma(a+b)-lgamma(a)-lgamma(b)+a*math.Log(x)+b*math.Log1p(-x)) / a
	f, c, d := 1.0, 1.0, 0.0
	for i := range 300 {
		m := float64(i / 2)
		var numerator float64
		switch {
		case i == 0:
			numerator = 1
		case i%2 == 0:
			numerator = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			numerator = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		d = 1 / nonzero(1+numerator*d)
		c = nonzero(1 + numerator/c)
		f *= c * d
		if math.Abs(c*d-1) < 1e-15 {
			break
		}
	}
	return front * (f - 1)
}

// nonzero keeps a denominator away from zero.
func nonzero(v float64) float64 {
	if math.Abs(v) < 1e-300 {
		return 1e-300
	}
	return v
}
