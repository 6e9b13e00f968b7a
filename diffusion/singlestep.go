package diffusion

import "math"

// euler is Euler's method (Karras et al. 2022, algorithm 2 without churn); in
// other terms it is DDIM (Song et al. 2021) with eta 0.
func euler(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		return toward(x, d, from, to), nil
	})
}

// eulerAncestral is euler with new noise in each step.
func eulerAncestral(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		down, scale, up := s.ancestral(from, to)
		if down == 0 {
			return d, nil
		}
		return sum(term{scale, toward(x, d, from, down)}, s.fresh(up)), nil
	})
}

// heun is Heun's method (Karras et al. 2022, algorithm 1).
func heun(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		next := toward(x, d, from, to)
		if to == 0 {
			return next, nil
		}
		d2, err := s.eval(next, to)
		if err != nil {
			return nil, err
		}
		// The mean of the slopes at both ends.
		h := (to - from) / 2
		return sum(term{1 + h/from, x}, term{-h / from, d}, term{h / to, next}, term{-h / to, d2}), nil
	})
}

// heunPP2 is Heun's method with the slopes of two steps ahead, weighed by the
// levels they belong to (Carzit, sd-webui-samplers-scheduler).
func heunPP2(s *state) ([]float32, error) {
	return s.each(func(i int, from, to float64, x, d []float32) ([]float32, error) {
		next := toward(x, d, from, to)
		if to == s.last() {
			return next, nil
		}
		d2, err := s.eval(next, to)
		if err != nil {
			return nil, err
		}
		after := s.sigmas[i+2]
		if after == s.last() {
			w2 := to / (2 * s.sigmas[0])
			return sum(term{1, x}, term{(to - from) * (1 - w2), slope(x, d, from)}, term{(to - from) * w2, slope(next, d2, to)}), nil
		}
		third := toward(next, d2, to, after)
		d3, err := s.eval(third, after)
		if err != nil {
			return nil, err
		}
		w2, w3 := to/(3*s.sigmas[0]), after/(3*s.sigmas[0])
		return sum(term{1, x}, term{(to - from) * (1 - w2 - w3), slope(x, d, from)},
			term{(to - from) * w2, slope(next, d2, to)}, term{(to - from) * w3, slope(third, d3, after)}), nil
	})
}

// dpm2 is DPM-Solver-2 (Lu et al. 2022): the slope in the middle, on a
// logarithmic scale, is that of the step.
func dpm2(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		return s.midpoint(x, d, from, to)
	})
}

// dpm2Ancestral is dpm2 with new noise in each step.
func dpm2Ancestral(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return toward(x, d, from, to), nil
		}
		down, scale, up := s.ancestral(from, to)
		next, err := s.midpoint(x, d, from, down)
		if err != nil {
			return nil, err
		}
		return sum(term{scale, next}, s.fresh(up)), nil
	})
}

// midpoint is a step of dpm2. d is x denoised.
func (s *state) midpoint(x, d []float32, from, to float64) ([]float32, error) {
	if to == 0 {
		return toward(x, d, from, to), nil
	}
	middle := math.Sqrt(from * to)
	x2 := toward(x, d, from, middle)
	d2, err := s.eval(x2, middle)
	if err != nil {
		return nil, err
	}
	h := (to - from) / middle
	return sum(term{1, x}, term{h, x2}, term{-h, d2}), nil
}

// dpmpp2sAncestral is DPM-Solver++(2S) (Lu et al. 2022, DPM-Solver++) with new
// noise in each step.
func dpmpp2sAncestral(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return toward(x, d, from, to), nil
		}
		down, scale, up := s.ancestral(from, to)
		if down == 0 {
			return s.renoise(d, up), nil
		}
		middle := s.middle(from, down)
		d2, err := s.eval(toward(x, d, from, middle), middle)
		if err != nil {
			return nil, err
		}
		return sum(term{scale, toward(x, d2, from, down)}, s.fresh(up)), nil
	})
}

// middle returns the level between two in the logarithm of the signal-to-noise
// ratio. From pure noise it is a level right below.
func (s *state) middle(from, to float64) float64 {
	if s.process.Flow() && from == 1 {
		return 0.9999
	}
	return s.process.level((s.process.logSNR(from) + s.process.logSNR(to)) / 2)
}

// dpmppSDE is the stochastic DPM-Solver++ with one intermediate step.
func dpmppSDE(s *state) ([]float32, error) {
	s.finiteLogSNR()
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		// step goes to a level by what was denoised, with noise of the path.
		step := func(level float64, denoised []float32) []float32 {
			a, b := s.process.alpha(from), s.process.alpha(level)
			down, up := ancestral(from/a, level/b, s.Eta)
			r := down / (from / a)
			terms := []term{{b / a * r, x}, {b * (1 - r), denoised}}
			if s.noisy() {
				terms = append(terms, term{b * up * s.Noise, s.path(from, level)})
			}
			return sum(terms...)
		}
		middle := s.middle32(from, to)
		d2, err := s.eval(step(middle, d), middle)
		if err != nil {
			return nil, err
		}
		if c := 1 / (2 * s.Middle); c != 1 {
			d2 = sum(term{1 - c, d}, term{c, d2})
		}
		return step(to, d2), nil
	})
}

// middle32 returns the level after a part of a step, rounded as PyTorch does in
// single precision: the path of the noise resolves the sixth digit.
func (s *state) middle32(from, to float64) float64 {
	t, next := float32(s.process.logSNR(from)), float32(s.process.logSNR(to))
	h := next - t
	return float64(float32(s.process.level(float64(t + h*float32(s.Middle)))))
}

// ddpm is ancestral sampling (Ho et al. 2020, Denoising Diffusion
// Probabilistic Models, equation 7, for any two levels).
func ddpm(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		// The posterior in the form with variance preserved, scaled back.
		bar, next := 1/(from*from+1), 1/(to*to+1)
		alpha := bar / next
		scale := math.Sqrt(to*to + 1)
		cx := math.Sqrt(alpha) * (1 - next) / (1 - bar)
		cd := math.Sqrt(next) * (1 - alpha) / (1 - bar)
		mean := sum(term{cx * scale * math.Sqrt(bar), x}, term{cd * scale, d})
		if to == 0 {
			return mean, nil
		}
		return s.renoise(mean, scale*math.Sqrt((1-alpha)*(1-next)/(1-bar))), nil
	})
}

// lcm denoises wholly in each step and adds the noise of the next level (Luo
// et al. 2023, Latent Consistency Models).
func lcm(s *state) ([]float32, error) {
	return s.each(func(i int, _, to float64, _, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		noise := s.noise()
		if s.Clip > 0 {
			limit := float32(s.Clip * deviation(noise))
			for i, v := range noise {
				noise[i] = min(max(v, -limit), limit)
			}
		}
		c := s.Noise + (s.NoiseEnd-s.Noise)*float64(i)/float64(max(s.steps()-1, 1))
		return s.process.noised(d, sum(term{c, noise}), to), nil
	})
}
