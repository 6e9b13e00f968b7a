package resample

import "math"

// A window is a run of values that a new one is made of, with their weights.
type window struct {
	start   int
	weights []float64
}

// windows returns the values around each new one, as far as a kernel reaches. When
// shrinking, the kernel widens to cover all of the old values. The weights of a
// window add up to 1.
func windows(in, out int, reach float64, kernel func(float64) float64) []window {
	all := make([]window, out)
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	for i := range all {
		center := (float64(i) + 0.5) * scale
		start := max(int(center-reach*stretch+0.5), 0)
		end := min(int(center+reach*stretch+0.5), in)
		weights, sum := make([]float64, end-start), 0.0
		for k := range weights {
			weights[k] = kernel((float64(start+k) - center + 0.5) / stretch)
			sum += weights[k]
		}
		for k := range weights {
			weights[k] /= sum
		}
		all[i] = window{start, weights}
	}
	return all
}

// smooth is bicubic as PyTorch does it with antialias=True: the convolution of
// Keys with A = -0.5, widened when shrinking.
func smooth(in, out int) taps {
	const a = -0.5
	t := make(taps, out)
	for i, w := range windows(in, out, 2, func(x float64) float64 {
		switch x = math.Abs(x); {
		case x < 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return ((a*x-5*a)*x+8*a)*x - 4*a
		}
		return 0
	}) {
		t[i] = tap{make([]int, len(w.weights)), make([]float32, len(w.weights))}
		for k, weight := range w.weights {
			t[i].index[k], t[i].weights[k] = w.start+k, float32(weight)
		}
	}
	return t
}
