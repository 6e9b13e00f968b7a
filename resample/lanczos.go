package resample

import (
	"context"
	"math"
)

// lanczos resizes as Pillow does with Image.Resampling.LANCZOS: values become
// 8-bit, each pass sums products with fixed-point weights, and the result of
// each pass is 8-bit again.
func lanczos(ctx context.Context, data []float32, channels, height, width, newHeight, newWidth int) ([]float32, error) {
	vertical, horizontal := lanczosTaps(height, newHeight), lanczosTaps(width, newWidth)
	out := make([]float32, channels*newHeight*newWidth)
	line := make([]uint8, width)
	rows := make([]uint8, height*newWidth)
	sums := make([]int32, newWidth)
	for c := range channels {
		for y := range height {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			for x, v := range data[(c*height+y)*width:][:width] {
				line[x] = ToByte(v)
			}
			for x, p := range horizontal {
				rows[y*newWidth+x] = p.apply(line)
			}
		}
		for y, p := range vertical {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p.mix(sums, rows)
			for x, sum := range sums {
				out[(c*newHeight+y)*newWidth+x] = float32(fromFixed(sum)) / 255
			}
		}
	}
	return out, nil
}

// ToByte returns a value of the range 0 to 1 as 8 bits: times 255 and cut off,
// not rounded, as ComfyUI does. What is not a number is 0.
func ToByte(v float32) uint8 {
	if !(v > 0) {
		return 0
	}
	return uint8(min(255*v, 255))
}

// fixedBits is the precision of the weights: 32 bits less 8 of a value and 2
// for sums that overshoot.
const fixedBits = 32 - 8 - 2

type fixedTap struct {
	start   int
	weights []int32
}

// half rounds sums of products with weights.
const half = int32(1) << (fixedBits - 1)

func fromFixed(sum int32) uint8 { return uint8(min(max(sum>>fixedBits, 0), 255)) }

// apply computes a value from a line.
func (p fixedTap) apply(line []uint8) uint8 {
	sum := half
	for k, w := range p.weights {
		sum += w * int32(line[p.start+k])
	}
	return fromFixed(sum)
}

// mix computes the sums of a row from rows of the same width.
func (p fixedTap) mix(sums []int32, rows []uint8) {
	for x := range sums {
		sums[x] = half
	}
	for k, w := range p.weights {
		row := rows[(p.start+k)*len(sums):][:len(sums)]
		for x, v := range row {
			sums[x] += w * int32(v)
		}
	}
}

func lanczosTaps(in, out int) []fixedTap {
	taps := make([]fixedTap, out)
	if in == out { // Pillow leaves out a pass that changes nothing
		for i := range taps {
			taps[i] = fixedTap{i, []int32{1 << fixedBits}}
		}
		return taps
	}
	const lobes = 3
	for i, w := range windows(in, out, lobes, func(x float64) float64 {
		if math.Abs(x) >= lobes {
			return 0
		}
		return sinc(x) * sinc(x/lobes)
	}) {
		taps[i] = fixedTap{w.start, make([]int32, len(w.weights))}
		for k, weight := range w.weights {
			taps[i].weights[k] = int32(math.Round(weight * (1 << fixedBits)))
		}
	}
	return taps
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}
