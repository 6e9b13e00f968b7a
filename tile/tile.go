// Package tile runs a function of pictures that are too large for it in
// overlapping tiles, and blends the results, where they overlap, by ramps.
// The places of the tiles and the ramps are those of ComfyUI, so that tiled
// results are the same as there.
package tile

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/latent"
)

// cut copies a window of all planes.
func cut(p latent.Tensor, y, x, height, width int) latent.Tensor {
	s := p.Shape
	s.Height, s.Width = height, width
	out := latent.New(s)
	for c := range planes(p) {
		for row := range height {
			copy(out.Data[(c*height+row)*width:][:width], p.Data[(c*p.Height+y+row)*p.Width+x:])
		}
	}
	return out
}

// planes returns how many pictures of one channel there are.
func planes(p latent.Tensor) int { return p.Batch * p.Channels * p.Time }

// A Grid says how a picture is cut: into tiles of at most Height×Width that
// overlap by Overlap, in pixels of what goes in. Scale is how many times
// larger what comes out is; it may be a fraction.
type Grid struct {
	Height, Width, Overlap int
	Scale                  float64
}

// Tiles returns the number of tiles that a picture of a size is cut into.
func (g Grid) Tiles(height, width int) int {
	return len(places(height, g.Height, g.Overlap)) * len(places(width, g.Width, g.Overlap))
}

// Equal tiles are a number of tiles of one size.
type Equal struct{ Height, Width, Count int }

// Sizes returns the sizes of the tiles that a picture of a size is cut into.
func (g Grid) Sizes(height, width int) []Equal {
	var all []Equal
	for _, h := range lengths(height, g.Height, g.Overlap) {
		for _, w := range lengths(width, g.Width, g.Overlap) {
			all = append(all, Equal{h.Height, w.Height, h.Count * w.Count})
		}
	}
	return all
}

// lengths returns the sizes in one dimension, as heights.
func lengths(size, tile, overlap int) (all []Equal) {
	for _, at := range places(size, tile, overlap) {
		n := min(tile, size-at)
		i := slices.IndexFunc(all, func(e Equal) bool { return e.Height == n })
		if i < 0 {
			i, all = len(all), append(all, Equal{Height: n})
		}
		all[i].Count++
	}
	return all
}

// Run cuts a picture, applies f to every tile, and joins the results to a
// picture that is Scale times as large. A picture that fits in one tile goes
// through f as a whole. done, if it is not nil, is called after each tile.
func (g Grid) Run(ctx context.Context, in latent.Tensor, f func(context.Context, latent.Tensor) (latent.Tensor, error), done func()) (latent.Tensor, error) {
	if g.Overlap < 0 || g.Height <= g.Overlap || g.Width <= g.Overlap {
		return latent.Tensor{}, fmt.Errorf("tiles of %d×%d cannot overlap by %d", g.Width, g.Height, g.Overlap)
	}
	var sum latent.Tensor
	var weight []float32 // [height, width]: the sum of the ramps
	for _, y := range places(in.Height, g.Height, g.Overlap) {
		for _, x := range places(in.Width, g.Width, g.Overlap) {
			if err := ctx.Err(); err != nil {
				return latent.Tensor{}, err
			}
			part, err := f(ctx, cut(in, y, x, min(g.Height, in.Height-y), min(g.Width, in.Width-x)))
			if err != nil {
				return latent.Tensor{}, err
			}
			if err := g.check(part, min(g.Height, in.Height-y), min(g.Width, in.Width-x), sum); err != nil {
				return latent.Tensor{}, err
			}
			if done != nil {
				done()
			}
			if sum.Data == nil {
				s := part.Shape
				s.Height, s.Width = g.scaled(in.Height), g.scaled(in.Width)
				sum, weight = latent.New(s), make([]float32, s.Area())
			}
			add(sum, weight, part, g.scaled(y), g.scaled(x), g.scaled(g.Overlap))
		}
	}
	for i := range sum.Data {
		sum.Data[i] /= weight[i%len(weight)]
	}
	return sum, nil
}

// check reports a result that is not Scale times as large as its tile, but for
// rounding, or has other channels than the ones before it.
func (g Grid) check(part latent.Tensor, height, width int, sum latent.Tensor) error {
	h, w := g.scaled(height), g.scaled(width)
	if planes(part) < 1 || len(part.Data) != part.Elems() || max(part.Height-h, h-part.Height, part.Width-w, w-part.Width) > 1 {
		return fmt.Errorf("a tile of %d×%d became %d values of %d channels of %d×%d: expected %d×%d", width, height, len(part.Data), part.Channels, part.Width, part.Height, w, h)
	}
	if sum.Data != nil && planes(part) != planes(sum) {
		return fmt.Errorf("a tile became %d channels, others %d", part.Channels, sum.Channels)
	}
	return nil
}

func (g Grid) scaled(n int) int { return int(math.RoundToEven(float64(n) * g.Scale)) }

// places returns where tiles begin in a dimension. The last is moved back so
// that it is not narrower than the overlap.
func places(size, tile, overlap int) []int {
	if size <= tile {
		return []int{0}
	}
	var out []int
	for at := 0; at < size-overlap; at += tile - overlap {
		out = append(out, max(0, min(size-overlap, at)))
	}
	return out
}

// add adds a tile at a place, weighted by a ramp at each of its edges, and the
// ramps to the weights.
func add(p latent.Tensor, weight []float32, part latent.Tensor, y, x, feather int) {
	rows, columns := ramp(part.Height, feather), ramp(part.Width, feather)
	// What rounding has moved over the edge is cut.
	height, width := min(part.Height, p.Height-y), min(part.Width, p.Width-x)
	for i := range height {
		for j := range width {
			w := rows[i] * columns[j]
			at := (y+i)*p.Width + x + j
			weight[at] += w
			for c := range planes(p) {
				p.Data[c*p.Height*p.Width+at] += part.Data[(c*part.Height+i)*part.Width+j] * w
			}
		}
	}
}

// ramp rises from both ends over feather values; a tile that is not wider than
// that has none.
func ramp(n, feather int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = 1
	}
	if feather >= n {
		return out
	}
	for t := range feather {
		a := float32(t+1) / float32(feather)
		out[t] *= a
		out[n-1-t] *= a
	}
	return out
}
