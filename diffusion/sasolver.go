package diffusion

import "math"

// saSolverPECE is saSolver that evaluates the corrected state too.
func saSolverPECE(s *state) ([]float32, error) {
	s.Adams.Evaluate = true
	return saSolver(s)
}

// saSolver is the stochastic Adams solver (Xue et al. 2023, SA-Solver), by default
// with a predictor of third order and a corrector of fourth and with noise between
// a fifth and four fifths of the sampling.
func saSolver(s *state) ([]float32, error) {
	o := s.Adams
	used := max(o.Predictor, o.Corrector)
	s.finiteLogSNR()
	n := s.steps()
	a := adamsSDE{state: s}
	// The corrected state, and that which is predicted from it.
	x, predicted := s.x, s.x
	var fresh []float32 // the noise of the prediction
	var tau float64
	for i, from := range s.sigmas[:n] {
		to := s.sigmas[i+1]
		d, err := s.eval(predicted, from)
		if err != nil {
			return nil, err
		}
		first := d
		a.denoised = append(a.denoised, d)
		if i >= used {
			a.denoised[i-used] = nil // needed no more
		}
		correct := min(o.Corrector, len(a.denoised))
		predict := min(o.Predictor, len(a.denoised))
		if s.last() == 0 { // fewer at the end, where it would be unstable
			correct, predict = min(correct, n-i), min(predict, n-1-i)
		}
		if i == 0 || correct == 0 || to == 0 && !o.Evaluate {
			x = predicted
		} else {
			x = a.step(x, i, i-1, correct, tau)
			if fresh != nil {
				x = sum(term{1, x}, term{1, fresh})
			}
			if o.Evaluate {
				if d, err = s.eval(x, from); err != nil {
					return nil, err
				}
				a.denoised[i] = d
			}
		}
		if to == 0 {
			predicted = d
		} else {
			tau, fresh = 0, nil
			const slack = 1e-6 // levels of schedules and parts are rounded
			if to <= s.process.At(o.Start)*(1+slack) && to >= s.process.At(o.End)*(1-slack) {
				tau = o.Eta
			}
			predicted = a.step(x, i+1, i, predict, tau)
			if tau > 0 && s.Noise > 0 {
				h := s.process.logSNR(to) - s.process.logSNR(from)
				fresh = sum(s.fresh(to * math.Sqrt(-math.Expm1(-2*tau*tau*h))))
				predicted = sum(term{1, predicted}, term{1, fresh})
			}
		}
		s.progress(i, first)
	}
	return predicted, nil
}

// adamsSDE makes steps through what was denoised at the levels so far.
type adamsSDE struct {
	*state
	denoised [][]float32
}

// step returns the state at a level from x at the one before, without its
// noise: what is denoised is integrated as the polynomial through its last
// values (Xue et al. 2023, equations 14 and 17).
func (a *adamsSDE) step(x []float32, to, from, order int, tau float64) []float32 {
	var times []float64
	first := len(a.denoised) - order
	for _, sigma := range a.sigmas[first:len(a.denoised)] {
		times = append(times, a.process.logSNR(sigma))
	}
	start, end := a.process.logSNR(a.sigmas[from]), a.process.logSNR(a.sigmas[to])
	k := 1 + tau*tau
	terms := []term{{a.sigmas[to] / a.sigmas[from] * math.Exp(-tau*tau*(end-start)), x}}
	if a.Adams.Simple && order == 2 {
		alpha, h := a.process.alpha(a.sigmas[to]), end-start
		c := k * h / 2 // of the newest of a corrector
		all := -math.Expm1(-k * h)
		if times[1] == start { // a predictor
			c = all - c*h/(times[0]-start)
		}
		return sum(append(terms, term{alpha * (all - c), a.denoised[first]}, term{alpha * c, a.denoised[first+1]})...)
	}
	for j := range times {
		c := integrate(start, end, func(t float64) float64 { return k * math.Exp(k*(t-end)) * lagrange(times, j, t) })
		terms = append(terms, term{a.process.alpha(a.sigmas[to]) * c, a.denoised[first+j]})
	}
	return sum(terms...)
}
