package diffusion

import "math"

// The samplers of CFG++ (Chung et al. 2024, CFG++: Manifold-constrained
// Classifier Free Guidance for Diffusion Models) take the noise of a state from
// what is denoised without the prompt, so that guidance does not move it.

// eulerCFGPP is euler with CFG++.
func eulerCFGPP(s *state) ([]float32, error) { return eulerPP(s, false) }

// eulerAncestralCFGPP is eulerAncestral with CFG++.
func eulerAncestralCFGPP(s *state) ([]float32, error) { return eulerPP(s, true) }

func eulerPP(s *state, noisy bool) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		a, b := s.process.alpha(from), s.process.alpha(to)
		down, up := to, 0.0
		if noisy {
			down, up = ancestral(from/a, to/b, s.Eta)
			down *= b
		}
		next := sum(term{b, d}, term{down / from, x}, term{-down / from * a, s.uncond})
		if noisy && s.noisy() {
			next = s.renoise(next, b*up)
		}
		return next, nil
	})
}

// dpmpp2sAncestralCFGPP is dpmpp2sAncestral with CFG++: it steps without the
// prompt and adds the guidance afterwards.
func dpmpp2sAncestralCFGPP(s *state) ([]float32, error) {
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			// The guidance d - uncond, on top of uncond; a flow takes all of it.
			return d, nil
		}
		u := s.uncond
		down, scale, up := s.ancestral(from, to)
		middle := s.middle(from, down)
		if _, err := s.eval(toward(x, u, from, middle), middle); err != nil {
			return nil, err
		}
		next := sum(term{scale, toward(x, s.uncond, from, down)}, s.fresh(up))
		a := s.process.alpha(to)
		return sum(term{1, next}, term{a, d}, term{-a, u}), nil
	})
}

// dpmpp2mCFGPP is dpmpp2m with CFG++.
func dpmpp2mCFGPP(s *state) ([]float32, error) {
	var old []float32
	return s.each(func(i int, from, to float64, x, d []float32) ([]float32, error) {
		ratio := to / from // exp(-h)
		terms := []term{{1, d}, {-ratio, s.uncond}, {ratio, x}}
		if old != nil && to > 0 {
			r := math.Log(s.sigmas[i-1]/from) / math.Log(from/to)
			c := (1 - ratio) / (2 * r)
			terms = append(terms, term{c, d}, term{-c, old})
		}
		old = s.uncond
		return sum(terms...), nil
	})
}

// resMultistepCFGPP is resMultistep with CFG++.
func resMultistepCFGPP(s *state) ([]float32, error) { return res(s, false, true) }

// resMultistepAncestralCFGPP is resMultistepAncestral with CFG++.
func resMultistepAncestralCFGPP(s *state) ([]float32, error) { return res(s, true, true) }

// gradientEstimationCFGPP is gradientEstimation with CFG++.
func gradientEstimationCFGPP(s *state) ([]float32, error) { return gradient(s, true) }
