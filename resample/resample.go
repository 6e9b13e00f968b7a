// Package resample changes the size of planes of numbers, such as the channels
// of an image or of a latent. The methods are those of PyTorch's
// torch.nn.functional.interpolate with align_corners=False, bicubic with and
// without antialiasing, Lanczos as Pillow does it, and the spherical interpolation of
// latents that ComfyUI calls bislerp.
package resample

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Method says how values between the given ones are made.
type Method string

// The methods, by their names in workflows.
const (
	Nearest  Method = "nearest-exact"
	Bilinear Method = "bilinear"
	Area     Method = "area"
	Bicubic  Method = "bicubic"
	Lanczos  Method = "lanczos" // of 8-bit values in 0 to 1
	Bislerp  Method = "bislerp" // of vectors along the channels
	Smooth   Method = "bicubic-antialias"
)

// MaxValues bounds the numbers of one result: 16 GiB of float32.
const MaxValues = 1 << 32

// Resize returns data of the shape [channels, height, width] at another size.
// Lanczos treats values as 8-bit pictures of the range 0 to 1 and returns such.
func Resize(ctx context.Context, data []float32, channels, height, width, newHeight, newWidth int, method Method) ([]float32, error) {
	if len(data) != channels*height*width || channels < 1 || height < 1 || width < 1 {
		return nil, fmt.Errorf("cannot resize %d values as %d channels of %d×%d", len(data), channels, width, height)
	}
	if newHeight < 1 || newWidth < 1 || float64(channels)*float64(newHeight)*float64(newWidth) > MaxValues {
		return nil, fmt.Errorf("cannot resize %d channels to %d×%d", channels, newWidth, newHeight)
	}
	if method == Bislerp {
		return bislerp(ctx, data, channels, height, width, newHeight, newWidth)
	}
	if method == Lanczos {
		return lanczos(ctx, data, channels, height, width, newHeight, newWidth)
	}
	taps, ok := map[Method]func(in, out int) taps{Nearest: nearest, Bilinear: bilinear, Area: area, Bicubic: bicubic, Smooth: smooth}[method]
	if !ok {
		methods := []string{string(Nearest), string(Bilinear), string(Area), string(Bicubic), string(Lanczos), string(Bislerp), string(Smooth)}
		return nil, fmt.Errorf("unknown method %q; there are: %s", method, strings.Join(methods, ", "))
	}
	vertical, horizontal := taps(height, newHeight), taps(width, newWidth)
	out := make([]float32, channels*newHeight*newWidth)
	rows := make([]float32, height*newWidth)
	for c := range channels {
		plane := data[c*height*width:][:height*width]
		for y := range height {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			horizontal.apply(rows[y*newWidth:], plane[y*width:])
		}
		for y, p := range vertical {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p.mix(out[(c*newHeight+y)*newWidth:][:newWidth], rows)
		}
	}
	return out, nil
}

// taps says for each value of a line which values of the old line it is made
// of: those at the indices, times the weights.
type taps []tap

type tap struct {
	index   []int
	weights []float32
}

// apply computes a line.
func (t taps) apply(dst, src []float32) {
	for i, p := range t {
		var sum float32
		for k, w := range p.weights {
			sum += w * src[p.index[k]]
		}
		dst[i] = sum
	}
}

// mix computes a row of zeros from rows of the same width, which is apply for
// all columns at once.
func (p tap) mix(dst, rows []float32) {
	for k, w := range p.weights {
		row := rows[p.index[k]*len(dst):][:len(dst)]
		for x, v := range row {
			dst[x] += w * v
		}
	}
}

func nearest(in, out int) taps {
	t := make(taps, out)
	scale := float32(in) / float32(out)
	for i := range t {
		t[i] = tap{[]int{min(int((float32(i)+0.5)*scale), in-1)}, []float32{1}}
	}
	return t
}

func bilinear(in, out int) taps {
	t := make(taps, out)
	scale := float32(in) / float32(out)
	for i := range t {
		at := max(0, (float32(i)+0.5)*scale-0.5)
		first := min(int(at), in-1)
		f := min(at-float32(first), 1)
		t[i] = tap{[]int{first, min(first+1, in-1)}, []float32{1 - f, f}}
	}
	return t
}

// area averages the values that an output value covers, each fully, as
// adaptive average pooling does.
func area(in, out int) taps {
	t := make(taps, out)
	for i := range t {
		start, end := i*in/out, ((i+1)*in+out-1)/out
		p := tap{make([]int, end-start), slices.Repeat([]float32{1 / float32(end-start)}, end-start)}
		for k := range p.index {
			p.index[k] = start + k
		}
		t[i] = p
	}
	return t
}

// bicubic is the convolution of Keys with A = -0.75.
func bicubic(in, out int) taps {
	const a = -0.75
	near := func(x float32) float32 { return ((a+2)*x-(a+3))*x*x + 1 }  // |x| <= 1
	far := func(x float32) float32 { return ((a*x-5*a)*x+8*a)*x - 4*a } // 1 < |x| < 2
	t := make(taps, out)
	scale := float32(in) / float32(out)
	for i := range t {
		at := (float32(i)+0.5)*scale - 0.5
		first := int(math.Floor(float64(at)))
		f := at - float32(first)
		p := tap{make([]int, 4), []float32{far(f + 1), near(f), near(1 - f), far(2 - f)}}
		for k := range p.index {
			p.index[k] = min(max(first-1+k, 0), in-1)
		}
		t[i] = p
	}
	return t
}
