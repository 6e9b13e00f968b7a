package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/dtype"
)

// embedding gathers rows of a table.
func (d *Device) embedding(c *call) error {
	if err := c.layouts(2); err != nil {
		return err
	}
	ids, table := &c.in[0], &c.in[1]
	if len(table.shape) != 2 || len(c.out.shape) != len(ids.shape)+1 ||
		!slices.Equal(c.out.shape[:len(ids.shape)], ids.shape) || c.out.shape[len(ids.shape)] != table.shape[1] {
		return c.shapes(2)
	}
	if ids.dt != dtype.I32 && ids.dt != dtype.I64 {
		return fmt.Errorf("the ids are %v, expected %v or %v", ids.dt, dtype.I32, dtype.I64)
	}
	from, to := c.attrs.RowFrom, c.attrs.RowTo
	tiled := to > 0
	if !tiled {
		to = table.shape[0]
	}
	if from < 0 || to-from != table.shape[0] {
		return fmt.Errorf("the table %s has %d rows, expected the rows %d to %d", table.name, table.shape[0], from, to)
	}
	n := table.shape[1]
	return d.pool.run(ids.elems(), func(w *worker, i int) error {
		id := integer(ids, i)
		switch {
		case id < 0 || id >= int64(to) && !tiled:
			return fmt.Errorf("id %d at place %d is not in the table %s of %d rows", id, i, table.name, to)
		case id < int64(from) || id >= int64(to):
			return nil // in another tile
		}
		row := (int(id) - from) * n
		for at := 0; at < n; at += lineLen {
			y := w.lines[0][:min(lineLen, n-at)]
			table.read(y, row+at, 1)
			c.store(w, y, i*n+at)
		}
		return nil
	})
}

// integer returns an element of int32s or int64s.
func integer(v *view, i int) int64 {
	if v.dt == dtype.I64 {
		return int64(binary.LittleEndian.Uint64(v.data[8*i:]))
	}
	return int64(int32(binary.LittleEndian.Uint32(v.data[4*i:])))
}

// rope rotates the pairs of each head.
func (d *Device) rope(c *call) error {
	if err := c.layouts(3); err != nil {
		return err
	}
	x, cos, sin, n := &c.in[0], &c.in[1], &c.in[2], c.attrs.Heads
	if len(x.shape) != 3 || !x.is(c.out.shape...) || n < 1 || x.shape[2]%(2*n) != 0 {
		return c.shapes(3)
	}
	positions, half := x.shape[1], x.shape[2]/n/2
	perBatch := 0 // elements of cos from a batch to the next
	switch {
	case !slices.Equal(cos.shape, sin.shape):
		return c.shapes(3)
	case cos.is(positions, half), cos.is(1, positions, half):
	case cos.is(x.shape[0], positions, half):
		perBatch = positions * half
	default:
		return c.shapes(3)
	}
	if 2*half > lineLen {
		return fmt.Errorf("a head has %d features, expected at most %d", 2*half, lineLen)
	}
	return d.pool.run(x.shape[0]*positions, func(w *worker, i int) error {
		batch, position := i/positions, i%positions
		at := batch*perBatch + position*half
		cosines, sines := cos.slice(w.lines[1][:], at, 1, half), sin.slice(w.lines[2][:], at, 1, half)
		row := batch*x.strides[0] + position*x.strides[1]
		y := w.lines[0][:2*half]
		for head := range n {
			x.read(y, row+head*2*half, 1)
			if c.attrs.Interleaved {
				for j, cosine := range cosines {
					a, b, sine := y[2*j], y[2*j+1], sines[j]
					y[2*j], y[2*j+1] = a*cosine-b*sine, a*sine+b*cosine
				}
			} else {
				for j, cosine := range cosines {
					a, b, sine := y[j], y[half+j], sines[j]
					y[j], y[half+j] = a*cosine-b*sine, a*sine+b*cosine
				}
			}
			c.store(w, y, (i*n+head)*2*half)
		}
		return nil
	})
}

// sinusoid computes the angles in float32, as PyTorch does.
func (d *Device) sinusoid(c *call) error {
	if err := c.layouts(1); err != nil {
		return err
	}
	t, dim, period := &c.in[0], c.attrs.Dim, c.attrs.MaxPeriod
	if len(t.shape) != 1 || dim < 2 || dim%2 != 0 || !c.out.is(t.shape[0], dim) || !(period > 0) {
		return c.shapes(1)
	}
	half := dim / 2
	rate := float32(-math.Log(float64(period)))
	return d.pool.run(t.shape[0], func(w *worker, i int) error {
		time := t.at(i)
		y := w.lines[0][:]
		for at := 0; at < dim; at += lineLen {
			y = y[:min(lineLen, dim-at)]
			for j := range y {
				k := (at + j) % half
				frequency := float32(math.Exp(float64(float32(rate*float32(k)) / float32(half))))
				angle := float64(float32(time * frequency))
				if at+j < half {
					y[j] = float32(math.Cos(angle))
				} else {
					y[j] = float32(math.Sin(angle))
				}
			}
			c.store(w, y, i*dim+at)
		}
		return nil
	})
}
