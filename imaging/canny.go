package imaging

import (
	"context"
	"math"
)

// Canny returns 1 on the edges of a plane of brightness and 0 elsewhere (Canny,
// 1986), with kornia's conventions: a blur of 5 places, the Sobel gradient not
// normalized, strict thresholds. Places where the gradient is above low are edges
// if they are connected to one above high.
func Canny(ctx context.Context, grey []float32, height, width int, low, high float64) ([]float32, error) {
	exact := make([]float64, len(grey)) // so that equal steps have equal gradients
	for i, v := range grey {
		exact[i] = float64(v)
	}
	smooth, err := convolve(ctx, exact, height, width, gaussian(2, 0.5)) // one place wide
	if err != nil {
		return nil, err
	}
	strength, direction, err := gradients(ctx, smooth, height, width)
	if err != nil {
		return nil, err
	}
	at := func(y, x int) float32 { // the strength of no gradient beyond the ends
		if y < 0 || x < 0 || y >= height || x >= width {
			return noGradient
		}
		return strength[y*width+x]
	}
	const weak, strong = 1, 2
	kind := make([]uint8, len(grey))
	var edge []int
	for y := range height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for x := range width {
			i := y*width + x
			v := strength[i]
			if v <= noGradient || !beats(v, at, y, x, direction[i]) || !beats(v, at, y, x, (direction[i]+4)%8) {
				continue
			}
			switch {
			case v > float32(high) && v > float32(low):
				kind[i] = strong
				edge = append(edge, i)
			case v > float32(low):
				kind[i] = weak
			}
		}
	}
	for len(edge) > 0 {
		i := edge[len(edge)-1]
		edge = edge[:len(edge)-1]
		y, x := i/width, i%width
		for v := max(y-1, 0); v <= min(y+1, height-1); v++ {
			for u := max(x-1, 0); u <= min(x+1, width-1); u++ {
				if j := v*width + u; kind[j] == weak {
					kind[j] = strong
					edge = append(edge, j)
				}
			}
		}
	}
	out := make([]float32, len(grey))
	for i, k := range kind {
		if k == strong {
			out[i] = 1
		}
	}
	return out, ctx.Err()
}

// noGradient is the strength of a place without one.
var noGradient = float32(math.Sqrt(1e-6))

// gradients returns the strength of the Sobel gradient and its direction in
// eighths of a turn from the right downwards. Values beyond the ends are those of
// the ends.
func gradients(ctx context.Context, plane []float64, height, width int) (strength []float32, direction []uint8, err error) {
	strength, direction = make([]float32, len(plane)), make([]uint8, len(plane))
	for y := range height {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		above, here, below := plane[max(y-1, 0)*width:][:width], plane[y*width:][:width], plane[min(y+1, height-1)*width:][:width]
		for x := range width {
			l, r := max(x-1, 0), min(x+1, width-1)
			gx := above[r] + 2*here[r] + below[r] - above[l] - 2*here[l] - below[l]
			gy := below[l] + 2*below[x] + below[r] - above[l] - 2*above[x] - above[r]
			strength[y*width+x] = float32(math.Sqrt(gx*gx + gy*gy + 1e-6))
			turn := int(math.RoundToEven(math.Atan2(gy, gx) * 4 / math.Pi))
			direction[y*width+x] = uint8((turn + 8) % 8)
		}
	}
	return strength, direction, nil
}

// beats reports whether a strength is larger than that of the neighbour in a
// direction, or as large to the right or below.
func beats(v float32, at func(y, x int) float32, y, x int, direction uint8) bool {
	step := [8][2]int{{0, 1}, {1, 1}, {1, 0}, {1, -1}, {0, -1}, {-1, -1}, {-1, 0}, {-1, 1}}[direction]
	other := at(y+step[0], x+step[1])
	return v > other || v == other && (direction == 0 || direction == 2)
}
