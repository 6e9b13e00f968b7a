package diffusion

import "math"

// Multistep samplers use what was denoised in earlier steps. They work in the
// time -log(sigma), in which the exact step for a constant denoised picture
// from one level to another over the time h is
//
//	x = exp(-h)·x + (1-exp(-h))·denoised.

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
	var old []float32
	var hLast float64
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		h := math.Log(from / to)
		gain := -math.Expm1(-2 * h)
		terms := []term{{to / from * math.Exp(-h), x}, {gain, d}}
		if old != nil {
			c := 0.5 * gain * h / hLast
			terms = append(terms, term{c, d}, term{-c, old})
		}
		old, hLast = d, h
		return sum(append(terms, term{to * math.Sqrt(gain), s.pathNoise(from, to)})...), nil
	})
}

// dpmpp3mSDE is the stochastic DPM-Solver++(3M) (Katherine Crowson,
// k-diffusion).
func dpmpp3mSDE(s *state) ([]float32, error) {
	var d1, d2 []float32 // of the last step and the one before
	var h1, h2 float64
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		h := math.Log(from / to)
		phi1 := -math.Expm1(-2 * h)
		phi2 := 1 - phi1/(2*h)
		terms := []term{{math.Exp(-2 * h), x}, {phi1, d}}
		switch {
		case d2 != nil:
			r0, r1 := h1/h, h2/h
			phi3 := phi2/(2*h) - 0.5
			// First and second differences, as coefficients of d, d1 and d2.
			a := (phi2*(1+r0/(r0+r1)) - phi3/(r0+r1)) / r0
			b := (-phi2*r0/(r0+r1) + phi3/(r0+r1)) / r1
			terms = append(terms, term{a, d}, term{b - a, d1}, term{-b, d2})
		case d1 != nil:
			c := phi2 * h / h1
			terms = append(terms, term{c, d}, term{-c, d1})
		}
		d1, d2, h1, h2 = d, d1, h, h1
		return sum(append(terms, term{to * math.Sqrt(phi1), s.pathNoise(from, to)})...), nil
	})
}

// resMultistep is the exponential integrator of second order RES (Zhang et al.
// 2023, Improved Order Analysis and Design of Exponential Integrator for
// Diffusion Models Sampling).
func resMultistep(s *state) ([]float32, error) {
	var old []float32
	return s.each(func(i int, from, to float64, x, d []float32) ([]float32, error) {
		last := old
		old = d
		if to == 0 || last == nil {
			return toward(x, d, from, to), nil
		}
		h := math.Log(from / to)
		c2 := -math.Log(s.sigmas[i-1]/from) / h
		phi1 := math.Expm1(-h) / -h
		phi2 := (phi1 - 1) / -h
		return sum(term{math.Exp(-h), x}, term{h * (phi1 - phi2/c2), d}, term{h * phi2 / c2, last}), nil
	})
}

// erSDE is the Extended Reverse-Time SDE Solver of third order (Cui et al.
// 2023, Elucidating the Solution Space of Extended Reverse-Time SDE for
// Diffusion Models), with the noise scale of the paper's code.
func erSDE(s *state) ([]float32, error) {
	scale := func(v float64) float64 { return v * (math.Exp(math.Pow(v, 0.3)) + 10) }
	var old, oldSlope []float32
	return s.each(func(i int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		r := scale(to) / scale(from)
		terms := []term{{r, x}, {1 - r, d}}
		if old != nil {
			const points = 200 // of the integrals
			dt := to - from
			width := -dt / points
			var s1, s2 float64
			for k := range points {
				at := to + float64(k)*width
				s1 += width / scale(at)
				s2 += width * (at - from) / scale(at)
			}
			h := from - s.sigmas[i-1]
			slope := sum(term{1 / h, d}, term{-1 / h, old})
			terms = append(terms, term{dt + s1*scale(to), slope})
			if oldSlope != nil {
				c := (dt*dt/2 + s2*scale(to)) / ((from - s.sigmas[i-2]) / 2)
				terms = append(terms, term{c, slope}, term{-c, oldSlope})
			}
			oldSlope = slope
		}
		old = d
		return s.renoise(sum(terms...), math.Sqrt(max(to*to-from*from*r*r, 0))), nil
	})
}
