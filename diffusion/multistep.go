package diffusion

import "math"

// Multistep samplers use what was denoised in earlier steps. They work in the
// time -log(sigma), in which the exact step for a constant denoised picture
// from one level to another over the time h is
//
//	x = exp(-h)·x + (1-exp(-h))·denoised.

// dpmpp2m is DPM-Solver++(2M) (Lu et al. 2022, algorithm 2).
func dpmpp2m(s *state) ([]float32, error) {
	x := s.x
	var old []float32
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		at := d
		if old != nil && to > 0 {
			r := math.Log(s.sigmas[i-1]/from) / math.Log(from/to)
			at = sum(term{1 + 1/(2*r), d}, term{-1 / (2 * r), old})
		}
		x = toward(x, at, from, to)
		old = d
		s.progress(i, d)
	}
	return x, nil
}

// dpmpp2mSDE is the stochastic DPM-Solver++(2M) in its midpoint form.
func dpmpp2mSDE(s *state) ([]float32, error) {
	x := s.x
	var old []float32
	var hLast float64
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		if to == 0 {
			x = d
			s.progress(i, d)
			continue
		}
		h := math.Log(from / to)
		gain := -math.Expm1(-2 * h)
		terms := []term{{to / from * math.Exp(-h), x}, {gain, d}}
		if old != nil {
			c := 0.5 * gain * h / hLast
			terms = append(terms, term{c, d}, term{-c, old})
		}
		terms = append(terms, term{to * math.Sqrt(gain), s.pathNoise(from, to)})
		x = sum(terms...)
		old, hLast = d, h
		s.progress(i, d)
	}
	return x, nil
}

// dpmpp3mSDE is the stochastic DPM-Solver++(3M) (Katherine Crowson,
// k-diffusion).
func dpmpp3mSDE(s *state) ([]float32, error) {
	x := s.x
	var d1, d2 []float32 // of the last step and the one before
	var h1, h2 float64
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		if to == 0 {
			x = d
			s.progress(i, d)
			continue
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
			a, b := 1/r0, 1/r1
			first := 1 + r0/(r0+r1)
			c1 := phi2*first - phi3/(r0+r1)
			c2 := -phi2*r0/(r0+r1) + phi3/(r0+r1)
			terms = append(terms, term{c1 * a, d}, term{-c1*a + c2*b, d1}, term{-c2 * b, d2})
		case d1 != nil:
			c := phi2 * h / h1
			terms = append(terms, term{c, d}, term{-c, d1})
		}
		terms = append(terms, term{to * math.Sqrt(phi1), s.pathNoise(from, to)})
		x = sum(terms...)
		d1, d2, h1, h2 = d, d1, h, h1
		s.progress(i, d)
	}
	return x, nil
}

// resMultistep is the exponential integrator of second order RES (Zhang et al.
// 2023, Improved Order Analysis and Design of Exponential Integrator for
// Diffusion Models Sampling).
func resMultistep(s *state) ([]float32, error) {
	x := s.x
	var old []float32
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		if to == 0 || old == nil {
			x = toward(x, d, from, to)
		} else {
			h := math.Log(from / to)
			c2 := -math.Log(s.sigmas[i-1]/from) / h
			phi1 := math.Expm1(-h) / -h
			phi2 := (phi1 - 1) / -h
			x = sum(term{math.Exp(-h), x}, term{h * (phi1 - phi2/c2), d}, term{h * phi2 / c2, old})
		}
		old = d
		s.progress(i, d)
	}
	return x, nil
}

// erSDE is the Extended Reverse-Time SDE Solver of third order (Cui et al.
// 2023, Elucidating the Solution Space of Extended Reverse-Time SDE for
// Diffusion Models), with the noise scale of the paper's code.
func erSDE(s *state) ([]float32, error) {
	const points = 200 // of the integrals
	scale := func(v float64) float64 { return v * (math.Exp(math.Pow(v, 0.3)) + 10) }
	x := s.x
	var old, oldSlope []float32
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		if to == 0 {
			x = d
			s.progress(i, d)
			continue
		}
		r := scale(to) / scale(from)
		x = sum(term{r, x}, term{1 - r, d})
		if old != nil {
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
			x = sum(term{1, x}, term{dt + s1*scale(to), slope})
			if oldSlope != nil {
				h := (from - s.sigmas[i-2]) / 2
				c := (dt*dt/2 + s2*scale(to)) / h
				x = sum(term{1, x}, term{c, slope}, term{-c, oldSlope})
			}
			oldSlope = slope
		}
		if v := to*to - from*from*r*r; v > 0 {
			x = sum(term{1, x}, term{math.Sqrt(v), s.noise()})
		}
		old = d
		s.progress(i, d)
	}
	return x, nil
}
