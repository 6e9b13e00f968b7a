package diffusion

import "math"

// lagrange returns the polynomial that is 1 at one of the nodes and 0 at the
// others.
func lagrange(nodes []float64, one int, x float64) float64 {
	y := 1.0
	for k, node := range nodes {
		if k != one {
			y *= (x - node) / (nodes[one] - node)
		}
	}
	return y
}

// integrate returns the integral of f by Gauss's rule with 5 points in each of
// 8 equal parts, which is exact for polynomials up to the ninth degree.
func integrate(from, to float64, f func(float64) float64) float64 {
	const parts = 8
	root := 2 * math.Sqrt(10./7)
	near, far := math.Sqrt(5-root)/3, math.Sqrt(5+root)/3
	wide, narrow := (322+13*math.Sqrt(70))/900, (322-13*math.Sqrt(70))/900
	half := (to - from) / (2 * parts)
	var total float64
	for i := range parts {
		mid := from + (to-from)*(float64(i)+0.5)/parts
		total += 128. / 225 * f(mid)
		total += wide * (f(mid-near*half) + f(mid+near*half))
		total += narrow * (f(mid-far*half) + f(mid+far*half))
	}
	return total * half
}
