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

// scaleColumns is scaleRows for a DoRA of columns.
func (c loaded) scaleColumns(values, change []float32, rows int) {
	columns := len(values) / rows
	for i := range rows {
		v, d := values[i*columns:][:columns], change[i*columns:][:columns]
		for j, by := range c.lengths {
			v[j] += c.Strength * ((v[j]+c.Scale*d[j])*by - v[j])
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
	squares, err := w.columnSquares(ctx, changes)
	if err != nil {
		return nil, err
	}
	// An input of the layer has as many columns as the kernel has elements.
	kernel := w.columns / len(magnitude.values)
	by := make([]float32, w.columns)
	for k, length := range magnitude.values {
		var square float64
		for _, x := range squares[k*kernel:][:kernel] {
			square += x
		}
		for j := range kernel {
			by[k*kernel+j] = float32(ratio(length, square))
		}
	}
	w.norms.known[i] = by
	return by, nil
}

// columnSquares returns the squares of the lengths of the columns of the
// weight with all changes but the last, plus the last one's delta.
func (w *Weight) columnSquares(ctx context.Context, changes []loaded) ([]float64, error) {
	last := changes[len(changes)-1]
	from, to := last.From, last.From+last.Rows
	if last.Rows == 0 {
		from, to = 0, w.base.Shape[0]
	}
	parts := make([][]float64, (to-from+w.blockRows()-1)/w.blockRows())
	err := w.each(ctx, from, to, func(b *block) error {
		if err := b.apply(ctx, changes[:len(changes)-1]); err != nil {
			return err
		}
		change := b.change[:len(b.values)]
		if err := last.rows(ctx, change, b.from-from, b.n); err != nil {
			return err
		}
		part := make([]float64, w.columns)
		for i := range b.n {
			v, d := b.values[i*w.columns:][:w.columns], change[i*w.columns:][:w.columns]
			for j := range part {
				x := float64(v[j] + last.Scale*d[j])
				part[j] += x * x
			}
		}
		parts[b.index] = part
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Whoever was first, the sums are taken in the order of the rows.
	sum := make([]float64, w.columns)
	for _, part := range parts {
		for j, x := range part {
			sum[j] += x
		}
	}
	return sum, nil
}
