package merge

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/weights"
)

// A matrix is one in memory, row by row.
type matrix struct {
	columns int
	values  []float32
}

func (m matrix) height() int         { return len(m.values) / m.columns }
func (m matrix) row(i int) []float32 { return m.values[i*m.columns:][:m.columns] }

// loadMatrix reads a tensor, whose dimensions but the first are those of
// columns.
func loadMatrix(ctx context.Context, set *weights.Set, name string) (matrix, error) {
	ref, ok := set.Lookup(name)
	if !ok {
		return matrix{}, fmt.Errorf("the LoRA has no tensor %s", name)
	}
	values, err := ref.ReadF32(ctx)
	if err != nil {
		return matrix{}, err
	}
	return matrix{len(values) / ref.Shape[0], values}, nil
}

// whole returns all rows of a delta that does not depend on the weight.
func whole(ctx context.Context, d delta) (matrix, error) {
	height, columns := size(d)
	m := matrix{columns: columns}
	m.values = make([]float32, height*m.columns)
	rows := min(height, max(1, blockElements/m.columns))
	r := &room{most: rows * columns}
	for from := 0; from < height; from += rows {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		n := min(rows, height-from)
		if err := d.rows(ctx, r, m.values[from*m.columns:][:n*m.columns], nil, from, n); err != nil {
			return m, err
		}
	}
	return m, nil
}

// size returns the rows and columns of a delta.
func size(d delta) (rows, columns int) {
	switch d := d.(type) {
	case product:
		return d.a.height(), d.b.columns
	case stored:
		return d.Shape[0], int(d.Elements()) / d.Shape[0]
	case hadamard:
		return size(d.first)
	case kronecker:
		return d.first.height() * d.second.height(), d.first.columns * d.second.columns
	}
	return 0, 0
}

// transposed returns the matrix with rows and columns exchanged.
func (m matrix) transposed() matrix {
	t := matrix{m.height(), make([]float32, len(m.values))}
	for i := range t.columns {
		for j, v := range m.row(i) {
			t.values[j*t.columns+i] = v
		}
	}
	return t
}

// tucker returns, for a core[r,q,kernel] and b[q,k], the sum over q of
// core[r,q,·]·b[q,k] as a matrix of r rows and k·kernel columns. What is left
// of a product with a core is then a product of two matrices.
func tucker(ctx context.Context, core, b matrix) (matrix, error) {
	kernel := core.columns / b.height()
	out := matrix{b.columns * kernel, make([]float32, core.height()*b.columns*kernel)}
	for r := range core.height() {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		for q := range b.height() {
			taps := core.row(r)[q*kernel:][:kernel]
			for k, v := range b.row(q) {
				sum := out.row(r)[k*kernel:][:kernel]
				for i, tap := range taps {
					sum[i] += tap * v
				}
			}
		}
	}
	return out, nil
}

// stripe is how many columns of a product are computed at a time, so that as
// many of all rows of the second matrix stay in the cache.
const stripe = 1024

// multiply writes a·b to dst, which has n rows as a has. Each element is the
// sum over the rows of b in groups of four, in order, whatever n is.
func multiply(dst, a []float32, b matrix, n int) {
	rank := b.height()
	for from := 0; from < b.columns; from += stripe {
		to := min(from+stripe, b.columns)
		for i := range n {
			row := dst[i*b.columns+from : i*b.columns+to]
			clear(row)
			factors := a[i*rank:][:rank]
			k := 0
			for ; k+4 <= rank; k += 4 {
				add4(row, factors[k:k+4], b.values[k*b.columns+from:], b.columns)
			}
			for ; k < rank; k++ {
				x := factors[k]
				for j, v := range b.row(k)[from:to] {
					row[j] += x * v
				}
			}
		}
	}
}

// add4 adds four rows of a matrix, each times its factor, to one.
func add4(row, factors, rows []float32, columns int) {
	n := len(row)
	r0, r1, r2, r3 := rows[:n], rows[columns:][:n], rows[2*columns:][:n], rows[3*columns:][:n]
	x0, x1, x2, x3 := factors[0], factors[1], factors[2], factors[3]
	for j := range row {
		row[j] += x0*r0[j] + x1*r1[j] + x2*r2[j] + x3*r3[j]
	}
}
