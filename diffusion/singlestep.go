package diffusion

import "math"

// euler is Euler's method (Karras et al. 2022, algorithm 2 without churn); in
// other terms it is DDIM (Song et al. 2021) with eta 0.
func euler(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		d, err := s.eval(x, s.sigmas[i])
		if err != nil {
			return nil, err
		}
		x = toward(x, d, s.sigmas[i], s.sigmas[i+1])
		s.progress(i, d)
	}
	return x, nil
}

// eulerAncestral is euler with new noise in each step.
func eulerAncestral(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		d, err := s.eval(x, s.sigmas[i])
		if err != nil {
			return nil, err
		}
		down, up := ancestral(s.sigmas[i], s.sigmas[i+1])
		x = toward(x, d, s.sigmas[i], down)
		if up > 0 {
			x = sum(term{1, x}, term{up, s.noise()})
		}
		s.progress(i, d)
	}
	return x, nil
}

// heun is Heun's method (Karras et al. 2022, algorithm 1).
func heun(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		next := toward(x, d, from, to)
		if to > 0 {
			d2, err := s.eval(next, to)
			if err != nil {
				return nil, err
			}
			// The mean of the slopes at both ends.
			h := (to - from) / 2
			next = sum(term{1 + h/from, x}, term{-h / from, d}, term{h / to, next}, term{-h / to, d2})
		}
		x = next
		s.progress(i, d)
	}
	return x, nil
}

// dpm2 is DPM-Solver-2 (Lu et al. 2022): the slope in the middle, on a
// logarithmic scale, is that of the step.
func dpm2(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		d, err := s.eval(x, s.sigmas[i])
		if err != nil {
			return nil, err
		}
		if x, err = s.midpoint(x, d, s.sigmas[i], s.sigmas[i+1]); err != nil {
			return nil, err
		}
		s.progress(i, d)
	}
	return x, nil
}

// dpm2Ancestral is dpm2 with new noise in each step.
func dpm2Ancestral(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		d, err := s.eval(x, s.sigmas[i])
		if err != nil {
			return nil, err
		}
		down, up := ancestral(s.sigmas[i], s.sigmas[i+1])
		if x, err = s.midpoint(x, d, s.sigmas[i], down); err != nil {
			return nil, err
		}
		if up > 0 {
			x = sum(term{1, x}, term{up, s.noise()})
		}
		s.progress(i, d)
	}
	return x, nil
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
	x := s.x
	for i := range s.steps() {
		from := s.sigmas[i]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		down, up := ancestral(from, s.sigmas[i+1])
		if down == 0 {
			x = toward(x, d, from, 0)
		} else {
			middle := math.Sqrt(from * down)
			d2, err := s.eval(toward(x, d, from, middle), middle)
			if err != nil {
				return nil, err
			}
			x = toward(x, d2, from, down)
		}
		if s.sigmas[i+1] > 0 {
			x = sum(term{1, x}, term{up, s.noise()})
		}
		s.progress(i, d)
	}
	return x, nil
}

// dpmppSDE is the stochastic DPM-Solver++ with one intermediate step, in the
// middle.
func dpmppSDE(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		if to == 0 {
			x = toward(x, d, from, 0)
			s.progress(i, d)
			continue
		}
		middle := middle32(from, to)
		down, up := ancestral(from, middle)
		x2 := sum(term{1, toward(x, d, from, down)}, term{up, s.pathNoise(from, middle)})
		d2, err := s.eval(x2, middle)
		if err != nil {
			return nil, err
		}
		down, up = ancestral(from, to)
		x = sum(term{1, toward(x, d2, from, down)}, term{up, s.pathNoise(from, to)})
		s.progress(i, d)
	}
	return x, nil
}

// middle32 returns the level in the middle of a step, rounded as PyTorch does
// in single precision: the path of the noise resolves the sixth digit.
func middle32(from, to float64) float64 {
	t, next := -float32(math.Log(from)), -float32(math.Log(to))
	h := next - t
	return float64(float32(math.Exp(float64(-(t + h*0.5)))))
}

// ddpm is ancestral sampling (Ho et al. 2020, Denoising Diffusion
// Probabilistic Models, equation 7, for any two levels).
func ddpm(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		from, to := s.sigmas[i], s.sigmas[i+1]
		d, err := s.eval(x, from)
		if err != nil {
			return nil, err
		}
		// The posterior in the form with variance preserved, scaled back.
		bar, next := 1/(from*from+1), 1/(to*to+1)
		alpha := bar / next
		scale := math.Sqrt(to*to+1) / math.Sqrt(from*from+1)
		cx := math.Sqrt(alpha) * (1 - next) / (1 - bar)
		cd := math.Sqrt(next) * (1 - alpha) / (1 - bar)
		x = sum(term{cx * scale, x}, term{cd * math.Sqrt(to*to+1), d})
		if to > 0 {
			deviation := math.Sqrt((1 - alpha) * (1 - next) / (1 - bar))
			x = sum(term{1, x}, term{deviation * math.Sqrt(to*to+1), s.noise()})
		}
		s.progress(i, d)
	}
	return x, nil
}

// lcm denoises wholly in each step and adds the noise of the next level (Luo
// et al. 2023, Latent Consistency Models).
func lcm(s *state) ([]float32, error) {
	x := s.x
	for i := range s.steps() {
		d, err := s.eval(x, s.sigmas[i])
		if err != nil {
			return nil, err
		}
		x = d
		if to := s.sigmas[i+1]; to > 0 {
			x = sum(term{1, d}, term{to, s.noise()})
		}
		s.progress(i, d)
	}
	return x, nil
}
