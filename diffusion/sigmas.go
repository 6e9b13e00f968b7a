package diffusion

import (
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/process"
)

// Sigmas are the noise levels that sampling follows. Each is a number of single
// precision, as in PyTorch.
type Sigmas []float64

// rounded rounds to single precision, in place.
func (s Sigmas) rounded() Sigmas {
	for i, v := range s {
		s[i] = float64(float32(v))
	}
	return s
}

// Check reports levels that no sampler can follow.
func (s Sigmas) Check() error {
	if len(s) > maxLevels+1 {
		return fmt.Errorf("%d noise levels: expected at most %d", len(s), maxLevels+1)
	}
	for i, v := range s {
		if !(v >= 0 && v <= math.MaxFloat32) {
			return fmt.Errorf("noise level %d is %g: expected a number of 0 or more", i, v)
		}
	}
	return nil
}

// Karras has equal distances in the rho-th root of sigma (Karras et al. 2022,
// equation 5), with 0 at the end. It rounds as PyTorch does, since the power makes
// much of the last digit.
func Karras(steps int, low, high, rho float64) Sigmas {
	hi, lo := math.Pow(high, 1/rho), math.Pow(low, 1/rho)
	var out Sigmas
	for _, v := range linspace(0, 1, steps) {
		root := float32(hi) + float32(v*float32(lo-hi))
		out = append(out, math.Pow(float64(root), rho))
	}
	return append(out, 0).rounded()
}

// Exponential has equal distances in the logarithm of sigma, with 0 at the end.
func Exponential(steps int, low, high float64) Sigmas {
	var out Sigmas
	for _, v := range linspace(math.Log(high), math.Log(low), steps) {
		out = append(out, math.Exp(float64(v)))
	}
	return append(out, 0).rounded()
}

// Polyexponential has the distances of the rho-th power in the logarithm of sigma
// (Katherine Crowson, k-diffusion), with 0 at the end.
func Polyexponential(steps int, low, high, rho float64) Sigmas {
	var out Sigmas
	for _, v := range linspace(1, 0, steps) {
		ramp := float32(math.Pow(float64(v), rho))
		log := float32(ramp*float32(math.Log(high)-math.Log(low))) + float32(math.Log(low))
		out = append(out, math.Exp(float64(log)))
	}
	return append(out, 0).rounded()
}

// VP has equal distances in the time of a diffusion that preserves the variance,
// whose beta grows linearly (Song et al. 2021, Score-Based Generative Modeling,
// appendix C), down to a time and with 0 at the end.
func VP(steps int, slope, start, last float64) Sigmas {
	var out Sigmas
	for _, t := range linspace(1, last, steps) {
		log := float32(float32(float32(slope)*float32(t*t))/2) + float32(float32(start)*t)
		out = append(out, math.Sqrt(float64(float32(math.Expm1(float64(log))))))
	}
	return append(out, 0).rounded()
}

// Laplace has the logarithm of sigma at the quantiles of a Laplace distribution,
// as far as it lies between two levels. Its last level is not 0.
func Laplace(steps int, low, high, mean, scale float64) Sigmas {
	var out Sigmas
	for _, v := range linspace(0, 1, steps) {
		off := float32(0.5) - v
		sign := float32(0)
		if off != 0 {
			sign = float32(math.Copysign(1, float64(off)))
		}
		inner := float32(1-2*float32(math.Abs(float64(off)))) + 1e-5 // no logarithm of 0
		log := float32(mean) - float32(float32(scale)*sign)*float32(math.Log(float64(inner)))
		out = append(out, min(max(math.Exp(float64(log)), low), high))
	}
	return out.rounded()
}

// Beta returns the levels of the scheduler of that name with a distribution of
// its own.
func (p *Process) Beta(steps int, a, b float64) (Sigmas, error) {
	if !(a > 0 && b > 0) {
		return nil, fmt.Errorf("a distribution Beta(%g, %g): expected numbers above 0", a, b)
	}
	return beta(p, steps, a, b).rounded(), nil
}

// Turbo returns the levels that distilled models of Stable Diffusion were trained
// for: of ten equal distances in timesteps, some after a part of the sampling,
// with 0 at the end.
func (p *Process) Turbo(steps int, denoise float64) Sigmas {
	const all = 10
	from := all - int(all*denoise)
	var out Sigmas
	for i := from; i < min(from+steps, all); i++ {
		out = append(out, p.Sigma(float64((all-i)*timesteps/all-1)))
	}
	return append(out, 0).rounded()
}

// aligned has the levels that Align Your Steps (Sabour et al. 2024) found for ten
// steps: timesteps of Stable Diffusion, or levels, with the last one above 0.
var aligned = []struct {
	name      string
	timesteps []float64
	levels    Sigmas
}{
	{name: "SD1", timesteps: []float64{999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0}},
	{name: "SDXL", timesteps: []float64{999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0}},
	{name: "SVD", levels: Sigmas{700, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002}},
}

// AlignedModels returns the models that AlignYourSteps knows.
func AlignedModels() []string {
	var names []string
	for _, a := range aligned {
		names = append(names, a.name)
	}
	return names
}

// AlignYourSteps returns the levels of Align Your Steps for a model, interpolated
// between logarithms for another number of steps than ten, with 0 at the end.
// Below a denoise of 1 they are the last part of the steps.
func AlignYourSteps(model string, steps int, denoise float64) Sigmas {
	if denoise <= 0 {
		return nil
	}
	a := aligned[max(slices.Index(AlignedModels(), model), 0)]
	levels := slices.Clone(a.levels)
	if a.timesteps != nil {
		p := NewProcess(process.Process{})
		for _, t := range a.timesteps {
			levels = append(levels, p.Sigma(t))
		}
	}
	if all := len(levels) - 1; steps != all {
		var out Sigmas
		for i := range steps + 1 {
			at := float64(i) / float64(steps) * float64(all)
			low := min(int(at), all-1)
			w := at - float64(low)
			out = append(out, math.Exp((1-w)*math.Log(levels[low])+w*math.Log(levels[low+1])))
		}
		levels = out
	}
	if denoise < 1 {
		levels = levels[max(len(levels)-1-int(math.RoundToEven(float64(steps)*denoise)), 0):]
	}
	levels[len(levels)-1] = 0
	return levels.rounded()
}

// Flux2 returns the levels of FLUX.2 for a picture in pixels: those of a flow
// whose shift grows with the number of tokens and falls with that of steps (Black
// Forest Labs, flux2).
func Flux2(steps, width, height int) Sigmas {
	tokens := math.RoundToEven(float64(width) * float64(height) / (16 * 16))
	mu := 0.00016927*tokens + 0.45666666 // of 200 steps
	if tokens <= 4300 {
		ten := 8.73809524e-05*tokens + 1.89833333
		slope := (mu - ten) / 190
		mu = slope*float64(steps) + mu - 200*slope
	}
	e := float32(math.Exp(mu))
	var out Sigmas
	for _, t := range linspace(1, 0, steps+1) {
		out = append(out, float64(float32(1/(e+(1/t-1)))*e))
	}
	return out.rounded()
}

// Split returns the levels up to a step and those from it, which both have the
// step's.
func (s Sigmas) Split(step int) (high, low Sigmas) {
	return s[:min(step+1, len(s))], s[min(step, len(s)):]
}

// SplitDenoise returns the levels before the last part of the steps and those of
// it.
func (s Sigmas) SplitDenoise(part float64) (high, low Sigmas) {
	steps := max(len(s)-1, 0)
	last := int(math.RoundToEven(float64(steps) * part))
	if last == 0 { // as ComfyUI has it, where -0 is the beginning
		return nil, s[max(len(s)-1, 0):]
	}
	return s[:max(len(s)-last, 0)], s[max(len(s)-last-1, 0):]
}

// Flipped returns the levels in the opposite order, by which noise is put on.
func (s Sigmas) Flipped() Sigmas {
	out := make(Sigmas, len(s))
	for i, v := range s {
		out[len(s)-1-i] = v
	}
	if len(out) > 0 && out[0] == 0 {
		out[0] = 0.0001 // where a step can begin
	}
	return out.rounded()
}

// Extended puts levels between any two of which the first is within a range, so
// that a step becomes several. place returns the part of the step at a part of
// its time.
func (s Sigmas) Extended(steps int, low, high float64, place func(part float64) float64) (Sigmas, error) {
	if all := len(s) * steps; all > maxLevels {
		return nil, fmt.Errorf("%d noise levels of %d parts each: expected at most %d in all", len(s), steps, maxLevels)
	}
	var out Sigmas
	between := linspace(0, 1, steps+1)
	for i, v := range s {
		out = append(out, v)
		if i+1 == len(s) || v < low || v > high {
			continue
		}
		for _, part := range between[1:steps] {
			at := float32(place(float64(part)))
			out = append(out, float64(float32(at*float32(s[i+1]-v))+float32(v)))
		}
	}
	return out.rounded(), nil
}
