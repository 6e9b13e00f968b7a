package merge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
)

// blockElements is about how many elements are worked with at a time by each
// goroutine: they stay in its core's cache.
const blockElements = 64 << 10

// A block is some rows of a weight, and the room that the next one has after it.
type block struct {
	room
	from, n int
	values  []float32 // of the weight
}

// blockRows returns how many rows a block has, if no rotation needs more.
func (w *Weight) blockRows() int { return max(1, blockElements/w.columns) }

// bounds returns where the blocks begin that have the rows from..to, and the
// end of the last one. No block ends within rows that a rotation mixes.
func (w *Weight) bounds(from, to int) []int {
	rows := w.blockRows()
	all := []int{w.uncut(from, -1)}
	for at := all[0]; at < to; {
		at = w.uncut(min(at+rows, to), 1)
		all = append(all, at)
	}
	return all
}

// uncut returns the nearest row from row on, upwards or downwards, at which no
// rotation's rows are cut.
func (w *Weight) uncut(row, step int) int {
	cut := func() int {
		for i := range w.changes {
			c := &w.changes[i]
			if first, end := c.span(0, w.height); c.Group > 1 && first < row && row < end {
				if within := (row - first) % c.Group; within > 0 {
					return within - max(step, 0)*c.Group
				}
			}
		}
		return 0
	}
	for n := cut(); n != 0; n = cut() {
		row -= n
	}
	return row
}

// A reading is one call of ReadAt.
type reading struct {
	*Weight
	blocks []*block // one for each goroutine
}

// reading returns what reads the rows from..to.
func (w *Weight) reading(from, to int) *reading {
	bounds := w.bounds(from, to)
	r := &reading{w, make([]*block, w.workers(len(bounds)-1, w.largestBlock()))}
	for i := range r.blocks {
		r.blocks[i] = &block{}
	}
	return r
}

// each calls visit with blocks of the weight that have the rows from..to, and the
// values of the base in them. It is called by several goroutines, for different
// blocks. Each goroutine takes so many blocks in a row, in order, of which visit is
// told the number.
func (r *reading) each(ctx context.Context, from, to, row int, visit func(b *block, run int) error) error {
	bounds := r.bounds(from, to)
	runs := (len(bounds) - 1 + row - 1) / row
	most := 0
	for i, bound := range bounds[1:] {
		most = max(most, bound-bounds[i])
	}
	errs := make([]error, min(len(r.blocks), runs))
	var next atomic.Int64
	var done sync.WaitGroup
	for i := range errs {
		done.Go(func() {
			b := r.blocks[i]
			b.most = max(b.most, most*r.columns)
			errs[i] = fault.Guard(func() error {
				for {
					run := int(next.Add(1)) - 1
					if run >= runs {
						return nil
					}
					for at := run * row; at < min((run+1)*row, len(bounds)-1); at++ {
						b.from, b.n = bounds[at], bounds[at+1]-bounds[at]
						if err := r.read(ctx, b); err != nil {
							return err
						}
						if err := visit(b, run); err != nil {
							return err
						}
					}
				}
			})
			next.Store(int64(runs)) // the others need not go on
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

// read fills a block with rows of the base. Of block-quantized tensors the
// blocks are read that have them.
func (w *Weight) read(ctx context.Context, b *block) error {
	elems, bytes := w.base.DType.Block()
	first, end := b.from*w.columns, (b.from+b.n)*w.columns
	skip := first % elems
	n := (end - first + skip + elems - 1) / elems
	raw := sized(&b.raw, n*bytes, w.rawBytes(b.most))
	if err := w.base.ReadAt(ctx, raw, int64(first/elems)*int64(bytes)); err != nil {
		return err
	}
	stored := sized(&b.stored, n*elems, b.most+2*elems)
	dtype.ToF32(stored, raw, w.base.DType)
	b.values = stored[skip : skip+end-first]
	return nil
}
