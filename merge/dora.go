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
func (r *reading) lengths(ctx context.Context, i int, changes []loaded) ([]float32, error) {
	c := &r.changes[i]
	magnitude, err := loadMatrix(ctx, c.Set, c.Magnitude)
	if err != nil || !c.Columns {
		return magnitude.values, err
	}
	select {
	case <-r.norms.lock:
		defer func() { r.norms.lock <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if known, ok := r.norms.known[i]; ok {
		return known, nil
	}
	squares, err := r.columnSquares(ctx, changes)
	if err != nil {
		return nil, err
	}
	// An input of the layer has as many columns as the kernel has elements.
	kernel := r.columns / len(magnitude.values)
	by := make([]float32, r.columns)
	for k, length := range magnitude.values {
		var square float64
		for _, x := range squares[k*kernel:][:kernel] {
			square += x
		}
		for j := range kernel {
			by[k*kernel+j] = float32(float64(length) / (math.Sqrt(square) + epsilon))
		}
	}
	r.norms.known[i] = by
	return by, nil
}

// squareRuns is into how many sums those of squares are cut, each of which one
// goroutine makes: the same ones whoever is how fast.
const squareRuns = 16

// columnSquares returns the squares of the lengths of the columns of the
// weight with all changes but the last, plus the last one's delta.
func (r *reading) columnSquares(ctx context.Context, changes []loaded) ([]float64, error) {
	last := changes[len(changes)-1]
	from, to := last.span(0, r.height)
	bounds := r.bounds(from, to, (to-from+squareRuns-1)/squareRuns)
	sums := make([][]float64, len(bounds)-1)
	err := r.each(ctx, bounds, func(b *block, run int) error {
		if err := b.apply(ctx, changes[:len(changes)-1]); err != nil {
			return err
		}
		rows, from, values := b.under(last.Change)
		change := sized(&b.change, len(values), b.most)
		if err := last.rows(ctx, &b.room, change, values, from, rows); err != nil {
			return err
		}
		if sums[run] == nil {
			sums[run] = make([]float64, r.columns)
		}
		for i := range rows {
			v, d := values[i*r.columns:][:r.columns], change[i*r.columns:][:r.columns]
			for j := range v {
				x := float64(v[j] + last.Scale*d[j])
				sums[run][j] += x * x
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	squares := make([]float64, r.columns)
	for _, sum := range sums {
		for j, x := range sum {
			squares[j] += x
		}
	}
	return squares, nil
}
