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
		down, up := ancestral(from, to)
		return s.renoise(toward(x, d, from, down), up), nil
	})
}

// renoise adds new noise up to a level that is not 0.
func (s *state) renoise(x []float32, up float64) []float32 {
	if up == 0 {
		return x
	}
	return sum(term{1, x}, term{up, s.noise()})
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
		down, up := ancestral(from, to)
		next, err := s.midpoint(x, d, from, down)
		if err != nil {
			return nil, err
		}
		return s.renoise(next, up), nil
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
		down, up := ancestral(from, to)
		if down > 0 {
			middle := math.Sqrt(from * down)
			var err error
			if d, err = s.eval(toward(x, d, from, middle), middle); err != nil {
				return nil, err
			}
		}
		return s.renoise(toward(x, d, from, down), up), nil
	})
}

// dpmppSDE is the stochastic DPM-Solver++ with one intermediate step, in the
// middle.
func dpmppSDE(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return toward(x, d, from, 0), nil
		}
		middle := middle32(from, to)
		down, up := ancestral(from, middle)
		d2, err := s.eval(sum(term{1, toward(x, d, from, down)}, term{up, s.pathNoise(from, middle)}), middle)
		if err != nil {
			return nil, err
		}
		down, up = ancestral(from, to)
		return sum(term{1, toward(x, d2, from, down)}, term{up, s.pathNoise(from, to)}), nil
	})
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
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		// The posterior in the form with variance preserved, scaled back.
		bar, next := 1/(from*from+1), 1/(to*to+1)
		alpha := bar / next
		scale := math.Sqrt(to*to + 1)
		cx := math.Sqrt(alpha) * (1 - next) / (1 - bar)
		cd := math.Sqrt(next) * (1 - alpha) / (1 - bar)
		deviation := math.Sqrt((1 - alpha) * (1 - next) / (1 - bar)) // 0 at the end
		return s.renoise(sum(term{cx * scale * math.Sqrt(bar), x}, term{cd * scale, d}), deviation*scale), nil
	})
}

// lcm denoises wholly in each step and adds the noise of the next level (Luo
// et al. 2023, Latent Consistency Models).
func lcm(s *state) ([]float32, error) {
	return s.each(func(_ int, _, to float64, _, d []float32) ([]float32, error) {
		return s.renoise(d, to), nil
	})
}
