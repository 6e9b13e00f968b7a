package diffusion

import "math"

// uniPC is the predictor and corrector of Zhao et al. (2023, UniPC: A Unified
// Predictor-Corrector Framework for Fast Sampling of Diffusion Models), of
// third order, with B(h) = h or, as bh2, exp(h)-1. Its state has its variance
// preserved: z = x/sqrt(sigma²+1).
func uniPC(s *state, bh2 bool) ([]float32, error) {
	levels := append([]float64{}, s.sigmas...)
	n := len(levels) - 1
	if levels[n] == 0 {
		levels[n] = 0.001 // where the logarithm still exists
	}
	u := unipc{state: s, bh2: bh2}
	order := min(3, n-1)
	z := sum(term{alphaAt(levels[0]), s.x})
	if err := u.push(z, levels[0]); err != nil {
		return nil, err
	}
	s.progress(0, u.denoised[0])
	if n == 1 {
		return sum(term{1 / alphaAt(levels[1]), z}), nil // as it is: there is no step of order 0
	}
	for step := 1; step <= n; step++ {
		k := min(step, order)
		if step >= order {
			k = min(order, n+1-step) // fewer at the end, where it would be unstable
		}
		var err error
		if z, err = u.step(z, levels[step], k, step < n); err != nil {
			return nil, err
		}
		if step < n {
			s.progress(step, u.denoised[len(u.denoised)-1])
		}
	}
	return sum(term{1 / alphaAt(levels[n]) / s.process.alpha(levels[n]) * s.process.alpha(s.last()), z}), nil
}

// alphaAt is the factor of the picture in the state with its variance
// preserved.
func alphaAt(sigma float64) float64 { return 1 / math.Sqrt(sigma*sigma+1) }

// unipc keeps the levels of the last steps and what was denoised at them.
type unipc struct {
	*state
	bh2      bool
	levels   []float64
	denoised [][]float32
}

// push evaluates z at a level and keeps the result.
func (u *unipc) push(z []float32, sigma float64) error {
	d, err := u.eval(sum(term{1 / alphaAt(sigma), z}), sigma)
	if err != nil {
		return err
	}
	u.levels = append(u.levels, sigma)
	u.denoised = append(u.denoised, d)
	return nil
}

// step predicts z at the next level and, with correct, evaluates it there and
// corrects it.
func (u *unipc) step(z []float32, sigma float64, order int, correct bool) ([]float32, error) {
	last := len(u.levels) - 1
	from, d0 := u.levels[last], u.denoised[last]
	alpha := alphaAt(sigma)
	h := math.Log(from / sigma) // of half the logarithm of the signal-to-noise ratio
	phi := math.Expm1(-h)
	b := -h
	if u.bh2 {
		b = phi
	}
	var ratios []float64
	var slopes [][]float32
	for i := 1; i < order; i++ {
		r := math.Log(from/u.levels[last-i]) / h
		ratios = append(ratios, r)
		slopes = append(slopes, sum(term{1 / r, u.denoised[last-i]}, term{-1 / r, d0}))
	}
	ratios = append(ratios, 1)
	base := sum(term{sigma * alpha / (from * alphaAt(from)), z}, term{-alpha * phi, d0})
	predicted := base
	if order > 1 {
		w := []float64{0.5}
		if order > 2 {
			w = unipcWeights(ratios[:order-1], -h, b)
		}
		for i, slope := range slopes {
			predicted = sum(term{1, predicted}, term{-alpha * b * w[i], slope})
		}
	}
	if !correct {
		return predicted, nil
	}
	if err := u.push(predicted, sigma); err != nil {
		return nil, err
	}
	w := []float64{0.5}
	if order > 1 {
		w = unipcWeights(ratios, -h, b)
	}
	corrected := base
	for i, slope := range slopes {
		corrected = sum(term{1, corrected}, term{-alpha * b * w[i], slope})
	}
	c := -alpha * b * w[len(w)-1]
	return sum(term{1, corrected}, term{c, u.denoised[last+1]}, term{-c, d0}), nil
}

// unipcWeights solves the order conditions (Zhao et al. 2023, theorem 3.1):
// sum over i of w[i]·r[i]^k = phi_k(h)·k!/B for k = 0, 1, ...
func unipcWeights(r []float64, h, b float64) []float64 {
	n := len(r)
	m := make([][]float64, n)
	phi, factorial := math.Expm1(h)/h-1, 1.0
	for k := range n {
		m[k] = make([]float64, n+1)
		for i := range n {
			m[k][i] = math.Pow(r[i], float64(k))
		}
		m[k][n] = phi * factorial / b
		factorial *= float64(k + 2)
		phi = phi/h - 1/factorial
	}
	return solve(m)
}

// solve solves linear equations, each row of which ends with its right side,
// by Gauss's elimination.
func solve(m [][]float64) []float64 {
	n := len(m)
	for c := range n {
		pivot := c
		for r := c + 1; r < n; r++ {
			if math.Abs(m[r][c]) > math.Abs(m[pivot][c]) {
				pivot = r
			}
		}
		m[c], m[pivot] = m[pivot], m[c]
		for r := range n {
			if r == c {
				continue
			}
			f := m[r][c] / m[c][c]
			for k := c; k <= n; k++ {
				m[r][k] -= f * m[c][k]
			}
		}
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = m[i][n] / m[i][i]
	}
	return out
}
