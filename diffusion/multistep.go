package diffusion

import (
	"math"
	"slices"
)

// Multistep samplers use what was denoised in earlier steps.

// dpmpp2m is DPM-Solver++(2M) (Lu et al. 2022, algorithm 2).
func dpmpp2m(s *state) ([]float32, error) {
	var old []float32
	return s.each(func(i int, from, to float64, x, d []float32) ([]float32, error) {
		at := d
		if old != nil && to > 0 {
			r := math.Log(s.sigmas[i-1]/from) / math.Log(from/to)
			at = sum(term{1 + 1/(2*r), d}, term{-1 / (2 * r), old})
		}
		old = d
		return toward(x, at, from, to), nil
	})
}

// dpmpp2mSDE is the stochastic DPM-Solver++(2M) in its midpoint form.
func dpmpp2mSDE(s *state) ([]float32, error) {
	if s.Heun {
		return dpmpp2mSDEHeun(s)
	}
	return dpmpp2mStochastic(s, func(_, gain float64) float64 { return gain / 2 })
}

// dpmpp2mSDEHeun is the stochastic DPM-Solver++(2M) in Heun's form.
func dpmpp2mSDEHeun(s *state) ([]float32, error) {
	return dpmpp2mStochastic(s, func(k, gain float64) float64 { return 1 - gain/k })
}

// dpmpp2mStochastic weighs the slope of what is denoised by the time k in which
// the old state decays and the part of it that is gained in that time.
func dpmpp2mStochastic(s *state, weight func(k, gain float64) float64) ([]float32, error) {
	s.finiteLogSNR()
	var old []float32
	var hLast float64
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		h := s.process.logSNR(to) - s.process.logSNR(from)
		k := h * (s.Eta + 1)
		gain, alpha := -math.Expm1(-k), s.process.alpha(to)
		terms := []term{{to / from * math.Exp(-h*s.Eta), x}, {alpha * gain, d}}
		if old != nil {
			c := alpha * weight(k, gain) * h / hLast
			terms = append(terms, term{c, d}, term{-c, old})
		}
		old, hLast = d, h
		return sum(append(terms, s.ofPath(h, from, to)...)...), nil
	})
}

// ofPath returns the noise of the path in a step of the time h, if there is any.
func (s *state) ofPath(h, from, to float64) []term {
	if !s.noisy() {
		return nil
	}
	return []term{{to * math.Sqrt(-math.Expm1(-2*h*s.Eta)) * s.Noise, s.path(from, to)}}
}

// dpmpp3mSDE is the stochastic DPM-Solver++(3M) (Katherine Crowson,
// k-diffusion).
func dpmpp3mSDE(s *state) ([]float32, error) {
	s.finiteLogSNR()
	var d1, d2 []float32 // of the last step and the one before
	var h1, h2 float64
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		h := s.process.logSNR(to) - s.process.logSNR(from)
		alpha := s.process.alpha(to)
		k := h * (s.Eta + 1)
		phi1 := -math.Expm1(-k)
		phi2 := 1 - phi1/k
		terms := []term{{to / from * math.Exp(-h*s.Eta), x}, {alpha * phi1, d}}
		switch {
		case d2 != nil:
			r0, r1 := h1/h, h2/h
			phi3 := phi2/k - 0.5
			// First and second differences, as coefficients of d, d1 and d2.
			a := alpha * (phi2*(1+r0/(r0+r1)) - phi3/(r0+r1)) / r0
			b := alpha * (-phi2*r0/(r0+r1) + phi3/(r0+r1)) / r1
			terms = append(terms, term{a, d}, term{b - a, d1}, term{-b, d2})
		case d1 != nil:
			c := alpha * phi2 * h / h1
			terms = append(terms, term{c, d}, term{-c, d1})
		}
		d1, d2, h1, h2 = d, d1, h, h1
		return sum(append(terms, s.ofPath(h, from, to)...)...), nil
	})
}

// adams makes steps of a linear multistep method of Adams (Bashforth and
// Adams, 1883) in the slopes of the last steps, at most order of them.
// coefficients returns the factor of each slope, the newest first.
func adams(s *state, order int, coefficients func(i, order int) []float64) ([]float32, error) {
	var slopes [][]float32 // the newest first
	return s.each(func(i int, from, to float64, x, d []float32) ([]float32, error) {
		slopes = slices.Insert(slopes, 0, slope(x, d, from))
		slopes = slopes[:min(len(slopes), order)]
		if to == 0 {
			return d, nil
		}
		terms := []term{{1, x}}
		for k, c := range coefficients(i, len(slopes)) {
			terms = append(terms, term{c, slopes[k]})
		}
		return sum(terms...), nil
	})
}

// lms is the linear multistep method of fourth order: the slopes are
// integrated as the polynomial through them (Katherine Crowson, k-diffusion).
func lms(s *state) ([]float32, error) {
	return adams(s, s.order(4), func(i, order int) []float64 {
		out := make([]float64, order)
		for j := range out {
			out[j] = integrate(s.sigmas[i], s.sigmas[i+1], func(v float64) float64 {
				return lagrange(s.sigmas[i-order+1:i+1], order-1-j, v)
			})
		}
		return out
	})
}

// ipndm is the improved pseudo numerical method of fourth order (Zhang and
// Chen 2023, Fast Sampling of Diffusion Models with Exponential Integrator):
// the method of Adams for steps of one length.
func ipndm(s *state) ([]float32, error) {
	weights := [][]float64{{1}, {3. / 2, -1. / 2}, {23. / 12, -16. / 12, 5. / 12}, {55. / 24, -59. / 24, 37. / 24, -9. / 24}}
	return adams(s, 4, func(i, order int) []float64 {
		out := slices.Clone(weights[order-1])
		for k := range out {
			out[k] *= s.sigmas[i+1] - s.sigmas[i]
		}
		return out
	})
}

// ipndmV is ipndm for steps of different lengths, with the coefficients of its
// authors' code (Zhou et al., diff-sampler). Those of third and fourth order
// are not quite those of the polynomial.
func ipndmV(s *state) ([]float32, error) {
	return adams(s, 4, func(i, order int) []float64 {
		step := func(back int) float64 { return s.sigmas[i+1-back] - s.sigmas[i-back] }
		h := step(0)
		out := []float64{1, 0, 0, 0}
		if order > 1 {
			h1 := step(1)
			out[0] += h / (2 * h1)
			out[1] -= h / (2 * h1)
			if order > 2 {
				h2 := step(2)
				a := h1 / h2
				c := (1 - h*h/(3*h1*(h1+h2))) / 2
				out[0] += c
				out[1] -= (1 + a) * c
				out[2] += a * c
				if order > 3 {
					h3 := step(3)
					b := h1 * (h1 + h2) / (h2 * (h2 + h3))
					c := (1-h/(3*(h+h1)))/2 + (1-h/(2*(h+h1)))*h/(6*(h+h1+h2))
					c *= h * (h + h1) * (h + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3))
					out[0] += c
					out[1] -= (1 + a + b) * c
					out[2] += (a + b*(1+h2/h3)) * c
					out[3] -= a * b * c
				}
			}
		}
		for k := range out {
			out[k] *= h
		}
		return out[:order]
	})
}

// deis is the exponential integrator of third order that extrapolates the
// noise in the time of a state with its variance preserved (Zhang and Chen
// 2023, equation 15).
func deis(s *state) ([]float32, error) {
	schedule := newVPSchedule()
	var times []float64
	for _, sigma := range s.sigmas {
		times = append(times, schedule.time(sigma))
	}
	return adams(s, 3, func(i, order int) []float64 {
		if order == 1 {
			return []float64{s.sigmas[i+1] - s.sigmas[i]}
		}
		// The sum over evenly spaced times, both ends included, of the authors'
		// code, which is not quite the integral.
		const points = 10000
		from, to := times[i], times[i+1]
		out := make([]float64, order)
		for k := range points {
			t := from + (to-from)*float64(k)/(points-1)
			w := schedule.speed(t) * (to - from) / points
			for j := range out {
				out[j] += w * lagrange(times[i-order+1:i+1], order-1-j, t)
			}
		}
		return out
	})
}

// A vpSchedule is the noise over time of a diffusion whose beta grows linearly
// (Song et al. 2021, Score-Based Generative Modeling, appendix C), from the
// level 0.002 at time 0.001 to 80 at time 1.
type vpSchedule struct{ min, slope float64 }

func newVPSchedule() vpSchedule {
	// In single precision, as PyTorch computes it: the first logarithm is of a
	// number next to 1.
	log := func(sigma float32) float64 { return float64(float32(math.Log(float64(sigma*sigma + 1)))) }
	const first = 1e-3
	slope := float64(float32(2 * (log(0.002)/first - log(80)) / (first - 1)))
	return vpSchedule{min: log(80) - slope/2, slope: slope}
}

// time returns the time at which the level is sigma.
func (v vpSchedule) time(sigma float64) float64 {
	return (math.Sqrt(v.min*v.min+2*v.slope*math.Log(sigma*sigma+1)) - v.min) / v.slope
}

// speed returns how fast the level grows at a time.
func (v vpSchedule) speed(t float64) float64 {
	logAlpha := -0.5*t*t*v.slope - t*v.min
	alpha := math.Exp(logAlpha)
	return 0.5 * (t*v.slope + v.min) / math.Sqrt(-alpha*math.Expm1(logAlpha))
}

// resMultistep is the exponential integrator of second order RES (Zhang et al.
// 2023, Improved Order Analysis and Design of Exponential Integrator for
// Diffusion Models Sampling).
func resMultistep(s *state) ([]float32, error) { return res(s, false, false) }

// resMultistepAncestral is resMultistep with new noise in each step.
func resMultistepAncestral(s *state) ([]float32, error) { return res(s, true, false) }

func res(s *state, noisy, cfgPP bool) ([]float32, error) {
	var old []float32
	var oldDown float64
	return s.each(func(i int, from, to float64, x, d []float32) ([]float32, error) {
		at, down, up := d, to, 0.0
		if noisy {
			down, up = ancestral(from, to, s.Eta)
		}
		if cfgPP {
			at = s.uncond
			x = sum(term{1, x}, term{1, d}, term{-1, at}) // guided, with the noise of at
		}
		last, lastDown := old, oldDown
		old, oldDown = at, down
		if down == 0 {
			return d, nil
		}
		var next []float32
		if last == nil {
			next = toward(x, d, from, down)
			if cfgPP {
				next = sum(term{1, d}, term{down, slope(x, d, from)})
			}
		} else {
			h := math.Log(from / down)
			c2 := math.Log(lastDown/s.sigmas[i-1]) / h
			phi1 := math.Expm1(-h) / -h
			phi2 := (phi1 - 1) / -h
			next = sum(term{math.Exp(-h), x}, term{h * (phi1 - phi2/c2), at}, term{h * phi2 / c2, last})
		}
		if noisy {
			next = s.renoise(next, up)
		}
		return next, nil
	})
}

// gradientEstimation is Euler's method with the slope extrapolated from the
// last one (Permenter and Yuan 2024, Interpreting and Improving Diffusion
// Models from an Optimization Perspective, with gamma 2).
func gradientEstimation(s *state) ([]float32, error) { return gradient(s, false) }

func gradient(s *state, cfgPP bool) ([]float32, error) {
	var old []float32
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		at := d
		if cfgPP {
			at = s.uncond
		}
		now, last := slope(x, at, from), old
		old = now
		if to == 0 {
			return d, nil
		}
		terms := []term{{1, d}, {to, now}}
		if !cfgPP {
			terms = []term{{1, x}, {to - from, now}}
		}
		if last != nil {
			terms = append(terms, term{to - from, now}, term{from - to, last})
		}
		return sum(terms...), nil
	})
}

// erSDE is the Extended Reverse-Time SDE Solver of third order (Cui et al.
// 2023, Elucidating the Solution Space of Extended Reverse-Time SDE for
// Diffusion Models), with the noise scale of the paper's code.
func erSDE(s *state) ([]float32, error) {
	s.finiteLogSNR()
	scale := func(v float64) float64 { return s.Scale(v, s.Eta) }
	stages := s.order(3)
	lambda := func(sigma float64) float64 { return sigma / s.process.alpha(sigma) }
	var old, oldSlope []float32
	return s.each(func(i int, sigma, next float64, x, d []float32) ([]float32, error) {
		if next == 0 {
			return d, nil
		}
		from, to, alpha := lambda(sigma), lambda(next), s.process.alpha(next)
		r := scale(to) / scale(from)
		terms := []term{{alpha / s.process.alpha(sigma) * r, x}, {alpha * (1 - r), d}}
		if old != nil && stages > 1 {
			const points = 200 // of the integrals
			dt := to - from
			width := -dt / points
			var s1, s2 float64
			for k := range points {
				at := to + float64(k)*width
				s1 += width / scale(at)
				s2 += width * (at - from) / scale(at)
			}
			h := from - lambda(s.sigmas[i-1])
			slope := sum(term{1 / h, d}, term{-1 / h, old})
			terms = append(terms, term{alpha * (dt + s1*scale(to)), slope})
			if oldSlope != nil && stages > 2 {
				c := alpha * (dt*dt/2 + s2*scale(to)) / ((from - lambda(s.sigmas[i-2])) / 2)
				terms = append(terms, term{c, slope}, term{-c, oldSlope})
			}
			oldSlope = slope
		}
		old = d
		if s.Noise > 0 {
			terms = append(terms, s.fresh(alpha*math.Sqrt(max(to*to-from*from*r*r, 0))))
		}
		return sum(terms...), nil
	})
}
