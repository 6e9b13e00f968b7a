package diffusion

import "math"

// SEEDS (Gonzalez et al. 2023, SEEDS: Exponential SDE Solvers for Fast
// High-Quality Sampling from Diffusion Models) are exponential integrators with
// evaluations within the step, which share the noise of its beginning.

// seeds2 is SEEDS-2. Its second evaluation, by default in the middle, stands for
// the whole step or for the end of a line.
func seeds2(s *state) ([]float32, error) {
	if s.Line {
		return twoStage(s, s.Middle, true, func(k float64) float64 { return lineWeight(k) / s.Middle })
	}
	return twoStage(s, s.Middle, true, func(float64) float64 { return 1 / (2 * s.Middle) })
}

// expHeun is Heun's method as an exponential integrator.
func expHeun(s *state) ([]float32, error) { return twoStage(s, 1, false, lineWeight) }

// expHeunSDE is expHeun with new noise in each step.
func expHeunSDE(s *state) ([]float32, error) { return twoStage(s, 1, true, lineWeight) }

// lineWeight is the weight of the end of a line that is integrated over the
// exponential time k.
func lineWeight(k float64) float64 { return 1/-math.Expm1(-k) - 1/k }

// twoStage evaluates a second time after the part r of each step. weight
// returns the weight of that evaluation's result, for a step of the time k.
func twoStage(s *state, r float64, noisy bool, weight func(k float64) float64) ([]float32, error) {
	s.finiteLogSNR()
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		p := s.exponential(from, to, noisy)
		d2, err := s.eval(p.after(r, x, term{1, d}), p.level(r))
		if err != nil {
			return nil, err
		}
		w := weight(p.k)
		return p.after(1, x, term{1 - w, d}, term{w, d2}), nil
	})
}

// seeds3 is SEEDS-3, with evaluations after a third and two thirds.
func seeds3(s *state) ([]float32, error) {
	s.finiteLogSNR()
	return s.each(func(_ int, from, to float64, x, d []float32) ([]float32, error) {
		if to == 0 {
			return d, nil
		}
		const r1, r2 = 1. / 3, 2. / 3
		p := s.exponential(from, to, true)
		d2, err := s.eval(p.after(r1, x, term{1, d}), p.level(r1))
		if err != nil {
			return nil, err
		}
		w := r2 / r1 * lineWeight(r2*p.k)
		d3, err := s.eval(p.after(r2, x, term{1 - w, d}, term{w, d2}), p.level(r2))
		if err != nil {
			return nil, err
		}
		w = lineWeight(p.k) / r2
		return p.after(1, x, term{1 - w, d}, term{w, d3}), nil
	})
}

// An exponentialStep is a step of an exponential integrator, with noise or
// without, that is evaluated at parts of it in ascending order.
type exponentialStep struct {
	*state
	from    float64
	h       float64   // the growth of logSNR
	eta     float64   // the part of the noise
	k       float64   // the time in which the old state decays
	sofar   []float32 // the noise up to the part done
	reached float64   // the part done
}

func (s *state) exponential(from, to float64, noisy bool) *exponentialStep {
	h := s.process.logSNR(to) - s.process.logSNR(from)
	p := &exponentialStep{state: s, from: from, h: h}
	if noisy {
		p.eta = s.Eta
	}
	p.k = h * (p.eta + 1)
	return p
}

// level returns the level after a part of the step.
func (p *exponentialStep) level(part float64) float64 {
	return p.process.level(p.process.logSNR(p.from) + part*p.h)
}

// after returns the state after a part of the step that goes to a sum of denoised
// pictures.
func (p *exponentialStep) after(part float64, x []float32, denoised ...term) []float32 {
	to := p.level(part)
	terms := []term{{to / p.from * math.Exp(-part*p.h*p.eta), x}}
	gain := -p.process.alpha(to) * math.Expm1(-part*p.k)
	for _, d := range denoised {
		terms = append(terms, term{gain * d.c, d.v})
	}
	if p.eta > 0 && p.Noise > 0 {
		rest := (part - p.reached) * p.h * p.eta
		new := term{math.Sqrt(-math.Expm1(-2 * rest)), p.noise()}
		if p.sofar != nil {
			p.sofar = sum(term{math.Exp(-rest), p.sofar}, new)
		} else {
			p.sofar = sum(new)
		}
		p.reached = part
		terms = append(terms, term{to * p.Noise, p.sofar})
	}
	return sum(terms...)
}
