// Package imaging has filters and blends of planes and pixels. It knows no
// pictures: planes are values of the shape [height, width].
package imaging

import (
	"context"
	"math"
)

// gaussian returns the weights of 2·radius+1 places from -1 to 1 of a bell of
// that width. Their sum is 1.
func gaussian(radius int, sigma float64) []float64 {
	weights := make([]float64, 2*radius+1)
	sum := 0.0
	for i := range weights {
		x := float64(i-radius) / float64(radius)
		weights[i] = math.Exp(-x * x / (2 * sigma * sigma))
		sum += weights[i]
	}
	for i := range weights {
		weights[i] /= sum
	}
	return weights
}

// mirror returns the place within n that stands for a place up to n-1 beyond its
// ends. The end itself is not repeated.
func mirror(i, n int) int {
	if i < 0 {
		i = -i
	}
	if i >= n {
		i = 2*(n-1) - i
	}
	return i
}

// convolve applies weights along the rows and then the columns of a plane, which
// is mirrored beyond its ends.
func convolve[T float32 | float64](ctx context.Context, plane []T, height, width int, weights []float64) ([]T, error) {
	radius := len(weights) / 2
	rows := make([]T, len(plane))
	for y := range height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		in, out := plane[y*width:][:width], rows[y*width:][:width]
		for x := range out {
			sum := T(0)
			for k, w := range weights {
				sum += T(w) * in[mirror(x+k-radius, width)]
			}
			out[x] = sum
		}
	}
	out := make([]T, len(plane))
	for y := range height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row := out[y*width:][:width]
		for k, w := range weights {
			for x, v := range rows[mirror(y+k-radius, height)*width:][:width] {
				row[x] += T(w) * v
			}
		}
	}
	return out, nil
}

// Blur returns a plane blurred by a bell of the given width, in units of the
// radius. The radius must be smaller than both sides.
func Blur(ctx context.Context, plane []float32, height, width, radius int, sigma float64) ([]float32, error) {
	return convolve(ctx, plane, height, width, gaussian(radius, sigma))
}

// Sharpen returns a plane whose difference from its blurred self is added 10·alpha
// times, within 0 and 1.
func Sharpen(ctx context.Context, plane []float32, height, width, radius int, sigma, alpha float64) ([]float32, error) {
	out, err := Blur(ctx, plane, height, width, radius, sigma)
	by := float32(10 * alpha)
	for i, blurred := range out {
		out[i] = min(max(plane[i]+by*(plane[i]-blurred), 0), 1)
	}
	return out, err
}
