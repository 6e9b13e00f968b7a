package resample

import "math"

// lanczos resizes as Pillow does with Image.Resampling.LANCZOS: values become
// 8-bit, each pass sums products with fixed-point weights, and the result of
// each pass is 8-bit again. When shrinking, the kernel widens to cover all of
// the old values.
func lanczos(data []float32, channels, height, width, newHeight, newWidth int) []float32 {
	vertical, horizontal := lanczosTaps(height, newHeight), lanczosTaps(width, newWidth)
	out := make([]float32, channels*newHeight*newWidth)
	pixels := make([]uint8, height*width)
	rows := make([]uint8, height*newWidth)
	column := make([]uint8, newHeight*newWidth)
	for c := range channels {
		for i, v := range data[c*height*width:][:height*width] {
			pixels[i] = ToByte(v)
		}
		for y := range height {
			applyFixed(horizontal, rows[y*newWidth:], pixels[y*width:], 1)
		}
		for x := range newWidth {
			applyFixed(vertical, column[x:], rows[x:], newWidth)
		}
		for i, v := range column {
			out[c*newHeight*newWidth+i] = float32(v) / 255
		}
	}
	return out
}

// ToByte returns a value of the range 0 to 1 as 8 bits, cut off and not
// rounded, as ComfyUI does.
func ToByte(v float32) uint8 { return uint8(min(max(255*v, 0), 255)) }

// fixedBits is the precision of the weights: 32 bits less 8 of a value and 2
// for sums that overshoot.
const fixedBits = 32 - 8 - 2

type fixedTap struct {
	start   int
	weights []int32
}

func applyFixed(taps []fixedTap, dst, src []uint8, stride int) {
	for i, p := range taps {
		sum := int32(1) << (fixedBits - 1)
		for k, w := range p.weights {
			sum += w * int32(src[(p.start+k)*stride])
		}
		dst[i*stride] = uint8(min(max(sum>>fixedBits, 0), 255))
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
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	const lobes = 3
	for i := range taps {
		center := (float64(i) + 0.5) * scale
		start := max(int(center-lobes*stretch+0.5), 0)
		end := min(int(center+lobes*stretch+0.5), in)
		weights, sum := make([]float64, end-start), 0.0
		for k := range weights {
			x := (float64(start+k) - center + 0.5) / stretch
			if math.Abs(x) < lobes {
				weights[k] = sinc(x) * sinc(x/lobes)
			}
			sum += weights[k]
		}
		taps[i] = fixedTap{start, make([]int32, len(weights))}
		for k, w := range weights {
			taps[i].weights[k] = int32(math.Round(w / sum * (1 << fixedBits)))
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
