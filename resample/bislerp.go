package resample

import (
	"context"
	"math"
)

// bislerp interpolates along the arc between vectors, first in width, then in
// height. A vector is what all channels have at one place.
func bislerp(ctx context.Context, data []float32, channels, height, width, newHeight, newWidth int) ([]float32, error) {
	wide := make([]float32, channels*height*newWidth)
	across := arcs(width, newWidth)
	a, b := make([]float32, channels), make([]float32, channels)
	for y := range height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for x, p := range across {
			gather(a, data, y*width+p.first, height*width)
			gather(b, data, y*width+p.second, height*width)
			slerp(a, b, p.ratio)
			scatter(wide, a, y*newWidth+x, height*newWidth)
		}
	}
	out := make([]float32, channels*newHeight*newWidth)
	for y, p := range arcs(height, newHeight) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for x := range newWidth {
			gather(a, wide, p.first*newWidth+x, height*newWidth)
			gather(b, wide, p.second*newWidth+x, height*newWidth)
			slerp(a, b, p.ratio)
			scatter(out, a, y*newWidth+x, newHeight*newWidth)
		}
	}
	return out, nil
}

func gather(v, data []float32, at, plane int) {
	for c := range v {
		v[c] = data[c*plane+at]
	}
}

func scatter(data, v []float32, at, plane int) {
	for c := range v {
		data[c*plane+at] = v[c]
	}
}

// An arc names the two places a vector lies between, and how near the second.
type arc struct {
	first, second int
	ratio         float32
}

// arcs interpolates the indices of the old line linearly, as if they were
// values: once themselves, once each moved to its right neighbour.
func arcs(in, out int) []arc {
	indices, next := make([]float32, in), make([]float32, in)
	for i := range indices {
		indices[i], next[i] = float32(i), float32(min(i+1, in-1))
	}
	first, second := make([]float32, out), make([]float32, out)
	t := bilinear(in, out)
	t.apply(first, indices)
	t.apply(second, next)
	a := make([]arc, out)
	for i := range a {
		a[i] = arc{int(first[i]), int(second[i]), first[i] - float32(math.Floor(float64(first[i])))}
	}
	return a
}

// slerp turns a towards b by the ratio r and interpolates the lengths. Vectors
// of nearly the same direction stay a; nearly opposite ones are mixed linearly.
func slerp(a, b []float32, r float32) {
	lengthA, lengthB := length(a), length(b)
	var dot float32
	if lengthA > 0 && lengthB > 0 {
		for c := range a {
			dot += (a[c] / lengthA) * (b[c] / lengthB)
		}
	}
	const edge = 1e-5
	if dot > 1-edge {
		return
	}
	if dot < edge-1 {
		for c := range a {
			a[c] = a[c]*(1-r) + b[c]*r
		}
		return
	}
	omega := math.Acos(float64(dot))
	wa := float32(math.Sin(float64(1-r)*omega) / math.Sin(omega))
	wb := float32(math.Sin(float64(r)*omega) / math.Sin(omega))
	scale := lengthA*(1-r) + lengthB*r
	for c := range a {
		a[c] = (wa*unit(a[c], lengthA) + wb*unit(b[c], lengthB)) * scale
	}
}

func unit(v, length float32) float32 {
	if length == 0 {
		return 0
	}
	return v / length
}

func length(v []float32) float32 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return float32(math.Sqrt(sum))
}
