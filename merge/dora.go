package merge

import (
	"context"
	"math"
)

// epsilon is added to lengths that dora_scale is divided by, as ComfyUI does:
// the distance of the float32 numbers above 1.
const epsilon = 0x1p-23

// scaleRows gives rows of the weight plus the change the lengths of a DoRA,
// and moves the weight towards that by the strength.
func (c loaded) scaleRows(values, change []float32, from, rows int) {
	columns := len(values) / rows
	for i := range rows {
		v, d := values[i*columns:][:columns], change[i*columns:][:columns]
		var before, after float64
		for j := range d {
			before += float64(v[j]) * float64(v[j])
			d[j] = v[j] + c.Scale*d[j]
			after += float64(d[j]) * float64(d[j])
		}
		length := float64(c.lengths[from+i])
		by := float32(ratio(length, after))
		if c.Before {
			by = float32(length / (math.Sqrt(before) + epsilon))
		}
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
func ratio(length, square float64) float64 {
	if square == 0 {
		return 0
	}
	return length / math.Sqrt(square)
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
			by[k*kernel+j] = float32(float64(length) / (math.Sqrt(square) + epsilon))
		}
	}
	w.norms.known[i] = by
	return by, nil
}

// columnSquares returns the squares of the lengths of the columns of the
// weight with all changes but the last, plus the last one's delta.
func (w *Weight) columnSquares(ctx context.Context, changes []loaded) ([]float64, error) {
	last := changes[len(changes)-1]
	from, to := last.span(0, w.height)
	parts := make([][]float64, len(w.bounds(from, to))-1)
	err := w.each(ctx, from, to, func(b *block) error {
		if err := b.apply(ctx, changes[:len(changes)-1]); err != nil {
			return err
		}
		rows, from, values := b.under(last.Change)
		change := b.room(len(values))
		if err := last.rows(ctx, change, values, from, rows); err != nil {
			return err
		}
		part := make([]float64, w.columns)
		for i := range rows {
			v, d := values[i*w.columns:][:w.columns], change[i*w.columns:][:w.columns]
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
