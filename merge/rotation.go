package merge

import (
	"context"
	"math"

	"github.com/weir-run/weir/model/lora"
)

// A rotation is the delta of an OFT or BOFT. Its rows depend on those rows of
// the weight that are mixed with them: all that are asked for at once must be
// whole groups.
type rotation struct {
	*Change
	size   int    // b, the rows that a block mixes
	blocks matrix // [levels·count·b, b]
	levels int
	by     float32   // what the blocks are multiplied by to keep the constraint
	scale  []float32 // of the rows of the result, or nil
}

func (c *Change) loadRotation(ctx context.Context) (delta, error) {
	blocks, err := loadMatrix(ctx, c.Set, c.First.Whole)
	if err != nil {
		return nil, err
	}
	ref, _ := c.Set.Lookup(c.First.Whole)
	size := ref.Shape[len(ref.Shape)-1]
	r := rotation{Change: c, size: size, blocks: matrix{size, blocks.values}, levels: 1, by: 1}
	if c.Product == lora.Butterfly {
		r.levels = ref.Shape[0]
	}
	if c.Constraint > 0 {
		if norm := r.norm() + 1e-8; norm > float64(c.Constraint) {
			r.by = float32(float64(c.Constraint) / norm)
		}
	}
	if c.Second.Whole != "" {
		scale, err := loadMatrix(ctx, c.Set, c.Second.Whole)
		if err != nil {
			return nil, err
		}
		r.scale = scale.values
	}
	return r, nil
}

// norm returns the norm of B-Bᵀ of all blocks together.
func (r rotation) norm() float64 {
	var square float64
	for at := 0; at < len(r.blocks.values); at += r.size * r.size {
		b := r.blocks.values[at:][:r.size*r.size]
		for i := range r.size {
			for j := range i {
				q := float64(b[i*r.size+j]) - float64(b[j*r.size+i])
				square += 2 * q * q
			}
		}
	}
	return math.Sqrt(square)
}

func (r rotation) rows(ctx context.Context, room *room, dst, weight []float32, from, n int) error {
	copy(dst, weight)
	count := r.blocks.height() / r.size / r.levels
	for level := range r.levels {
		for block := from / r.size; block < (from+n)/r.size; block++ {
			matrix, err := r.matrix(ctx, room, level*count+block)
			if err != nil {
				return err
			}
			r.mix(room, matrix, dst, len(dst)/n, func(i int) int { return r.row(level, block, i) - from })
		}
	}
	columns := len(dst) / n
	for i := range n {
		row, w := dst[i*columns:][:columns], weight[i*columns:][:columns]
		by := float32(1)
		if r.scale != nil {
			by = r.scale[from+i]
		}
		for j := range row {
			row[j] = by*row[j] - w[j]
		}
	}
	return nil
}

// mixedColumns is how many columns of rows are mixed at a time.
const mixedColumns = 256

// mix multiplies the rows of a block, which has them where row says, by a matrix.
func (r rotation) mix(room *room, matrix, dst []float32, columns int, row func(i int) int) {
	for at := 0; at < columns; at += mixedColumns {
		some := min(mixedColumns, columns-at)
		mixed := sized(&room.mixed, r.size*some, 0)
		clear(mixed)
		for i := range r.size {
			sum := mixed[i*some:][:some]
			for j := range r.size {
				by := matrix[i*r.size+j]
				for k, v := range dst[row(j)*columns+at:][:some] {
					sum[k] += by * v
				}
			}
		}
		for i := range r.size {
			copy(dst[row(i)*columns+at:][:some], mixed[i*some:])
		}
	}
}

// row returns the row of the weight that is row i of a block at a level. At
// level l, a run of 2·2ˡ·b/2 rows is cut in two halves, and each block has
// neighbours of one half and as many of the other.
func (r rotation) row(level, block, i int) int {
	if r.Product == lora.Rotation {
		return block*r.size + i
	}
	// The rows of a run are put in the order of both halves' first rows, both
	// halves' second rows and so on, and the blocks are cut from that.
	half := r.size / 2 << level
	at := block*r.size + i
	run, within := at/(2*half), at%(2*half)
	return run*2*half + within%2*half + within/2
}

// matrix returns what the rows of a block are multiplied by: Rᵀ moved the
// strength from I for a rotation, and R for a butterfly.
func (r rotation) matrix(ctx context.Context, room *room, index int) ([]float32, error) {
	n := r.size
	b := r.blocks.values[index*n*n:][:n*n]
	cayley, err := room.solve(ctx, n, func(i, j int) float64 { return (float64(b[i*n+j]) - float64(b[j*n+i])) * float64(r.by) })
	if err != nil {
		return nil, err
	}
	out := sized(&room.rotation, n*n, 0)
	s := float64(r.Strength)
	for i := range n {
		for j := range n {
			v := cayley[i*n+j]
			if r.Product == lora.Rotation {
				v = cayley[j*n+i]
			}
			v *= s
			if i == j {
				v += 1 - s
			}
			out[i*n+j] = float32(v)
		}
	}
	return out, nil
}

// solve returns (I+Q)(I-Q)⁻¹ of a skew-symmetric Q[n,n]: the X that solves
// (I-Q)X = I+Q, as both commute. The eigenvalues of I-Q are not smaller than 1,
// so that it can be solved by elimination.
func (r *room) solve(ctx context.Context, n int, q func(i, j int) float64) ([]float64, error) {
	a, x := sized(&r.cayley[0], n*n, 0), sized(&r.cayley[1], n*n, 0)
	for i := range n {
		for j := range n {
			a[i*n+j], x[i*n+j] = -q(i, j), q(i, j)
		}
		a[i*n+i]++
		x[i*n+i]++
	}
	subtract := func(m []float64, to, from int, by float64) {
		t, f := m[to*n:][:n], m[from*n:][:n]
		for k := range t {
			t[k] -= by * f[k]
		}
	}
	// The symmetric part of I-Q is I, and stays positive definite in what is left
	// to eliminate, so that no pivot is near 0.
	for p := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i := p + 1; i < n; i++ {
			if by := a[i*n+p] / a[p*n+p]; by != 0 {
				subtract(a, i, p, by)
				subtract(x, i, p, by)
			}
		}
	}
	for p := n - 1; p >= 0; p-- {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i := p + 1; i < n; i++ {
			subtract(x, p, i, a[p*n+i])
		}
		for k := range n {
			x[p*n+k] /= a[p*n+p]
		}
	}
	return x, nil
}
