package merge

import (
	"context"
	"math"
)

// scaleRows gives rows of the weight plus the change the lengths of a DoRA,
// and moves the weight towards that by the strength.
func (c loaded) scaleRows(values, change []float32, from, rows int) {
	columns := len(values) / rows
	for i := range rows {
		v, d := values[i*columns:][:columns], change[i*columns:][:columns]
		var square float64
		for j := range d {
			d[j] = v[j] + c.Scale*d[j]
			square += float64(d[j]) * float64(d[j])
		}
		by := float32(ratio(c.lengths[from+i], square))
		for j, x := range d {
			v[j] += c.Strength * (x*by - v[j])
		}
	}
}

// scaleColumns is scaleRows for a DoRA of columns, of which each has as many
// elements of a row as the kernel.
func (c loaded) scaleColumns(values, change []float32, rows int) {
	kernel := len(values) / rows / len(c.lengths)
	for len(values) > 0 {
		for _, by := range c.lengths {
			for j, d := range change[:kernel] {
				values[j] += c.Strength * ((values[j]+c.Scale*d)*by - values[j])
			}
			values, change = values[kernel:], change[kernel:]
		}
	}
}

// ratio returns by what a vector is multiplied to become so long. One of zeros
// has no direction and stays what it is.
func ratio(length float32, square float64) float64 {
	if square == 0 {
		return 0
	}
	return float64(length) / math.Sqrt(square)
}

// norms are what DoRAs of columns multiply those by, for which the whole
// weight must be gone through, once.
type norms struct {
	lock  chan struct{} // holds a token; who has it may use the map
	known map[int][]float32
}

func newNorms() norms {
	n := norms{make(chan struct{}, 1), map[int][]float32{}}
	n.lock <- struct{}{}
	return n
}

// lengths returns the lengths of change i, the last of those that are loaded.
func (w *Weight) lengths(ctx context.Context, i int, changes []loaded) ([]float32, error) {
	c := &w.changes[i]
	magnitude, err := loadMatrix(ctx, c.Set, c.Magnitude)
	if err != nil || !c.Columns {
		return magnitude.values, err
	}
	select {
	case <-w.norms.lock:
		defer func() { w.norms.lock <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if known, ok := w.norms.known[i]; ok {
		return known, nil
	}
	squares, err := w.columnSquares(ctx, len(magnitude.values), changes)
	if err != nil {
		return nil, err
	}
	by := magnitude.values
	for k := range by {
		by[k] = float32(ratio(by[k], squares[k]))
	}
	w.norms.known[i] = by
	return by, nil
}

// columnSquares returns the squares of the lengths of the columns of the
// weight with all changes but the last, plus the last one's delta.
func (w *Weight) columnSquares(ctx context.Context, columns int, changes []loaded) ([]float64, error) {
	last := changes[len(changes)-1]
	from, to := last.From, last.From+last.Rows
	if last.Rows == 0 {
		from, to = 0, w.base.Shape[0]
	}
	kernel := w.columns / columns
	parts := make([][]float64, (to-from+w.blockRows()-1)/w.blockRows())
	err := w.each(ctx, from, to, func(b *block) error {
		if err := b.apply(ctx, changes[:len(changes)-1]); err != nil {
			return err
		}
		change := b.change[:len(b.values)]
		if err := last.rows(ctx, change, b.from-from, b.n); err != nil {
			return err
		}
		part := make([]float64, columns)
		for values := b.values; len(values) > 0; {
			for k := range part {
				for j, v := range values[:kernel] {
					x := float64(v + last.Scale*change[j])
					part[k] += x * x
				}
				values, change = values[kernel:], change[kernel:]
			}
		}
		parts[b.index] = part
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Whoever was first, the sums are taken in the order of the rows.
	sum := make([]float64, columns)
	for _, part := range parts {
		for k, x := range part {
			sum[k] += x
		}
	}
	return sum, nil
}
