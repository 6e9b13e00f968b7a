package diffusion

import "math"

// Options are what a sampler may be told besides the noise levels. Each sampler
// reads some of them.
type Options struct {
	// Eta is the part of the noise that stochastic steps take off and put on anew.
	// 0 is a deterministic step.
	Eta float64
	// Noise multiplies the noise that is put on.
	Noise float64
	// NoiseEnd, of lcm, is what multiplies it in the last step, and Clip the
	// deviations at which it is cut off; 0 does not.
	NoiseEnd, Clip float64
	// Middle is the part of a step after which a second evaluation is.
	Middle float64
	// Order bounds the steps that a sampler takes into account; 0 is its own.
	Order int
	// Line, of seeds_2, takes what is denoised in a step for a line that ends at the
	// second evaluation. Without it the second evaluation stands for the whole step.
	Line bool
	// Heun, of dpmpp_2m_sde, is its other form.
	Heun bool
	// Scale is how the noise of er_sde grows with sigma/alpha.
	Scale NoiseScale
	// Adaptive is how dpm_adaptive chooses its steps.
	Adaptive Adaptive
	// Adams is how sa_solver steps.
	Adams Adams
}

// defaults returns the options of samplers that are chosen by name.
func defaults() Options {
	return Options{
		Eta: 1, Noise: 1, NoiseEnd: 1, Middle: 0.5, Scale: ExtendedSDE,
		Adaptive: Adaptive{Order: 3, Relative: 0.05, Absolute: 0.0078, First: 0.05, Integral: 1, Accept: 0.81},
		Adams:    Adams{Predictor: 3, Corrector: 4, Eta: 1, Start: 0.2, End: 0.8},
	}
}

// order returns the order, which is a sampler's own unless it is told one.
func (o *Options) order(own int) int {
	if o.Order == 0 {
		return own
	}
	return o.Order
}

// A NoiseScale is a function of v = sigma/alpha with a strength eta (Cui et al.
// 2023, Elucidating the Solution Space of Extended Reverse-Time SDE).
type NoiseScale func(v, eta float64) float64

// ExtendedSDE is the scale of the paper's code.
func ExtendedSDE(v, eta float64) float64 {
	return v * math.Pow(math.Exp(math.Pow(v, 0.3))+10, eta)
}

// ReverseSDE is that of the reverse-time SDE (Song et al. 2021).
func ReverseSDE(v, eta float64) float64 { return math.Pow(v, eta+1) }

// Adaptive are the tolerances of an adaptive solver and the coefficients of its
// controller.
type Adaptive struct {
	Order                              int // 2 or 3
	Relative, Absolute                 float64
	First                              float64 // length of the first step
	Proportional, Integral, Derivative float64
	Accept                             float64 // the least factor of the next step with which a step counts
	// Eta is the part of the noise that a step takes off and puts on anew.
	Eta float64
}

// Adams are the options of a stochastic Adams solver.
type Adams struct {
	Predictor, Corrector int // orders
	// Eta is the noise between two parts of the sampling, 0 outside.
	Eta, Start, End float64
	// Evaluate evaluates the corrected state too.
	Evaluate bool
	// Simple has steps of second order by the simpler formulas of the paper's
	// appendix D.
	Simple bool
}
