package cpu

import (
	"fmt"
	"math"

	"github.com/weir-run/weir/ir"
)

// pad copies rows of the last dimension to their places and puts the padding
// around them.
func (d *Device) pad(c *call) error {
	if err := c.layouts(1); err != nil {
		return err
	}
	x, a := &c.in[0], &c.attrs
	rank := len(x.shape)
	if rank == 0 || len(c.out.shape) != rank || len(a.PadBefore) != rank || len(a.PadAfter) != rank || a.PadMode > ir.PadReflect {
		return c.shapes(1)
	}
	for i, n := range x.shape {
		before, after := a.PadBefore[i], a.PadAfter[i]
		if n+before+after != c.out.shape[i] || a.PadMode == ir.PadReflect && max(before, after) >= n {
			return c.shapes(1)
		}
	}
	columns := c.out.shape[rank-1]
	rows := c.out.elems() / columns
	height := max(pieceRows*pieceColumns/columns, 1)
	return d.pool.run(ceilDiv(rows, height), func(w *worker, i int) error {
		for row := i * height; row < min((i+1)*height, rows); row++ {
			// The row of x that this row of the output is made of.
			off, inside := 0, true
			for dim, rest := rank-2, row; dim >= 0; dim-- {
				from := padFrom(rest%c.out.shape[dim]-a.PadBefore[dim], x.shape[dim], a.PadMode)
				inside = inside && from >= 0
				off += from * x.strides[dim]
				rest /= c.out.shape[dim]
			}
			for at := 0; at < columns; at += lineLen {
				y := w.lines[0][:min(lineLen, columns-at)]
				clear(y)
				if inside {
					padRow(y, x, off, at-a.PadBefore[rank-1], x.shape[rank-1], a.PadMode)
				}
				c.store(w, y, row*columns+at)
			}
		}
		return nil
	})
}

// padRow fills y, which is zero, with the elements from.. of a row of n.
func padRow(y []float32, x *view, off, from, n int, mode ir.PadMode) {
	for i := 0; i < len(y); {
		at := from + i
		if at >= 0 && at < n {
			length := min(n-at, len(y)-i)
			x.read(y[i:i+length], off+at, 1)
			i += length
			continue
		}
		if at = padFrom(at, n, mode); at >= 0 {
			y[i] = x.at(off + at)
		}
		i++
	}
}

// padFrom returns which of n elements is at i of a padded dimension, or -1.
func padFrom(i, n int, mode ir.PadMode) int {
	switch {
	case i >= 0 && i < n:
		return i
	case mode == ir.PadEdge:
		return min(max(i, 0), n-1)
	case mode == ir.PadReflect && i < 0:
		return -i
	case mode == ir.PadReflect:
		return 2*(n-1) - i
	}
	return -1
}

// taps are the elements that each element of a resized dimension is a
// weighted sum of: count for each, one after the other.
type taps struct {
	count   int
	from    []int32
	weights []float32
}

// fill finds the taps of a dimension of n elements resized to size, with
// coordinates in float32 as PyTorch's.
func (t *taps) fill(mode ir.ResampleMode, n, size int) {
	t.from, t.weights = t.from[:0], t.weights[:0]
	add := func(i int, weight float32) {
		t.from = append(t.from, int32(min(max(i, 0), n-1)))
		t.weights = append(t.weights, weight)
	}
	step := float32(n) / float32(size)
	for i := range size {
		switch mode {
		case ir.Nearest:
			t.count = 1
			add(int(float32(i)*step), 1)
		case ir.NearestExact:
			t.count = 1
			add(int((float32(i)+0.5)*step), 1)
		case ir.Bilinear:
			t.count = 2
			at := max(float32(float32(i)+0.5)*step-0.5, 0)
			first := int(at)
			fraction := at - float32(first)
			add(first, 1-fraction)
			add(first+1, fraction)
		case ir.Bicubic:
			t.count = 4
			at := float32(float32(i)+0.5)*step - 0.5
			first := int(math.Floor(float64(at)))
			f := at - float32(first)
			add(first-1, cubicFar(f+1))
			add(first, cubicNear(f))
			add(first+1, cubicNear(1-f))
			add(first+2, cubicFar(2-f))
		}
	}
}

// The cubic convolution kernel with a = -0.75, within 1 and within 2 of its
// centre.
func cubicNear(x float32) float32 { return (1.25*x-2.25)*x*x + 1 }
func cubicFar(x float32) float32  { return ((-0.75*x+3.75)*x-6)*x + 3 }

// resample is a weighted sum over the taps of every resized dimension.
func (d *Device) resample(c *call) error {
	if err := c.layouts(1); err != nil {
		return err
	}
	x, size, mode := &c.in[0], c.attrs.Size, c.attrs.Mode
	rank, dims := len(x.shape), len(c.attrs.Size)
	if dims < 1 || dims > 3 || rank < dims || len(c.out.shape) != rank || mode > ir.Bicubic {
		return c.shapes(1)
	}
	in, out := [3]int{1, 1, 1}, [3]int{1, 1, 1}
	for i, n := range x.shape {
		if i >= rank-dims {
			in[3-rank+i], out[3-rank+i] = n, size[i-rank+dims]
		} else if n != c.out.shape[i] {
			return c.shapes(1)
		}
	}
	for i, n := range size {
		if n < 1 || n != c.out.shape[rank-dims+i] {
			return c.shapes(1)
		}
	}
	for i := range 3 {
		if i < 3-dims {
			d.taps[i].fill(ir.Nearest, 1, 1)
		} else {
			d.taps[i].fill(mode, in[i], out[i])
		}
	}
	tz, ty, tx := &d.taps[0], &d.taps[1], &d.taps[2]
	rows := c.out.elems() / out[2]
	height := max(pieceRows*pieceColumns/(out[2]*tz.count*ty.count*tx.count), 1)
	return d.pool.run(ceilDiv(rows, height), func(w *worker, i int) error {
		for row := i * height; row < min((i+1)*height, rows); row++ {
			plane, z, y := row/(out[0]*out[1]), row/out[1]%out[0], row%out[1]
			for at := 0; at < out[2]; at += lineLen {
				line := w.lines[0][:min(lineLen, out[2]-at)]
				clear(line)
				for a := range tz.count {
					for b := range ty.count {
						az, by := z*tz.count+a, y*ty.count+b
						off := ((plane*in[0]+int(tz.from[az]))*in[1] + int(ty.from[by])) * in[2]
						tx.add(line, x, off, at, tz.weights[az]*ty.weights[by])
					}
				}
				c.store(w, line, row*out[2]+at)
			}
		}
		return nil
	})
}

// add adds the elements at.. of a resized row, times weight, to line.
func (t *taps) add(line []float32, x *view, off, at int, weight float32) {
	for i := range line {
		var sum float32
		for j := (at + i) * t.count; j < (at+i+1)*t.count; j++ {
			sum += t.weights[j] * x.at(off+int(t.from[j]))
		}
		line[i] += weight * sum
	}
}

// reduce combines, for each element of the output, the elements of the
// reduced dimensions.
func (d *Device) reduce(c *call) error {
	if err := c.layouts(1); err != nil {
		return err
	}
	x, how := &c.in[0], c.attrs.Reduction
	rank := len(x.shape)
	if len(c.out.shape) != rank || rank == 0 || how > ir.Maximum {
		return fmt.Errorf("%w by %v", c.shapes(1), how)
	}
	// Split the dimensions into those that stay and those that are reduced.
	var kept, reduced strides
	keptShape, reducedShape := make([]int, rank), make([]int, rank)
	for i, n := range x.shape {
		kept[i], reduced[i] = x.strides[i], x.strides[i]
		keptShape[i], reducedShape[i] = n, 1
	}
	for _, i := range c.attrs.Axes {
		if i < 0 || i >= rank {
			return c.shapes(1)
		}
		keptShape[i], reducedShape[i] = 1, x.shape[i]
	}
	if !c.out.is(keptShape...) {
		return c.shapes(1)
	}
	outer, inner := join(keptShape, []*strides{&kept}), join(reducedShape, []*strides{&reduced})
	n := ir.Shape(reducedShape).Elems()
	all := c.out.elems()
	width := min(max(pieceRows*pieceColumns/n, 1), lineLen)
	return d.pool.run(ceilDiv(all, width), func(w *worker, i int) error {
		first := i * width
		y := w.lines[0][:min(width, all-first)]
		for j := range y {
			if j%64 == 0 {
				if err := w.stopped(); err != nil {
					return err
				}
			}
			y[j] = reduceOne(w, x, outer.locate(first+j, &kept), n, &inner, &reduced, how)
		}
		c.store(w, y, first)
		return nil
	})
}

func reduceOne(w *worker, x *view, off, n int, s *space, by *strides, how ir.Reduction) float32 {
	sum, peak := 0.0, float32(math.Inf(-1))
	last := s.last()
	for at := 0; at < n; {
		run := x.slice(w.lines[1][:], off+s.locate(at, by), by[s.rank-1], min(lineLen, last-at%last))
		if how == ir.Maximum {
			peak = max(peak, maximum(run))
		} else {
			for _, v := range run {
				sum += float64(v)
			}
		}
		at += len(run)
	}
	switch how {
	case ir.Maximum:
		return peak
	case ir.Mean:
		sum /= float64(n)
	}
	return float32(sum)
}
