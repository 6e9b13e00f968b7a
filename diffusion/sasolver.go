package diffusion

import "math"

// saSolver is the stochastic Adams solver (Xue et al. 2023, SA-Solver), with a
// predictor of third order and a corrector of fourth. It adds noise between a
// fifth and four fifths of the sampling.
func saSolver(s *state) ([]float32, error) { return stochasticAdams(s, false) }

// saSolverPECE is saSolver that evaluates the corrected state too.
func saSolverPECE(s *state) ([]float32, error) { return stochasticAdams(s, true) }

func stochasticAdams(s *state, evaluateCorrected bool) ([]float32, error) {
	const predictor, corrector = 3, 4
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
		if i >= corrector {
			a.denoised[i-corrector] = nil // needed no more
		}
		correct := min(corrector, len(a.denoised))
		predict := min(predictor, len(a.denoised))
		if s.last() == 0 { // fewer at the end, where it would be unstable
			correct, predict = min(correct, n-i), min(predict, n-1-i)
		}
		if i == 0 || to == 0 && !evaluateCorrected {
			x = predicted
		} else {
			x = a.step(x, i, i-1, correct, tau)
			if fresh != nil {
				x = sum(term{1, x}, term{1, fresh})
			}
			if evaluateCorrected {
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
			if to <= s.table.At(0.2)*(1+slack) && to >= s.table.At(0.8)*(1-slack) {
				tau = 1
			}
			predicted = a.step(x, i+1, i, predict, tau)
			if tau > 0 {
				h := s.table.logSNR(to) - s.table.logSNR(from)
				fresh = sum(term{to * math.Sqrt(-math.Expm1(-2*h)), s.noise()})
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
		times = append(times, a.table.logSNR(sigma))
	}
	start, end := a.table.logSNR(a.sigmas[from]), a.table.logSNR(a.sigmas[to])
	k := 1 + tau*tau
	terms := []term{{a.sigmas[to] / a.sigmas[from] * math.Exp(-tau*tau*(end-start)), x}}
	for j := range times {
		c := integrate(start, end, func(t float64) float64 { return k * math.Exp(k*(t-end)) * lagrange(times, j, t) })
		terms = append(terms, term{a.table.alpha(a.sigmas[to]) * c, a.denoised[first+j]})
	}
	return sum(terms...)
}
