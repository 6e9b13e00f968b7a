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

// blockRows returns how many rows a block has at most, if no rotation needs more.
func (w *Weight) blockRows() int { return max(1, blockElements/w.columns) }

// bounds returns where the blocks of so many rows begin that have the rows
// from..to, and the end of the last one. No block ends within rows that a
// rotation mixes.
func (w *Weight) bounds(from, to, rows int) []int {
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

func (w *Weight) reading() *reading {
	r := &reading{w, make([]*block, w.workers())}
	for i := range r.blocks {
		r.blocks[i] = &block{}
	}
	return r
}

// each calls visit with blocks of the weight, and the values of the base in them. It
// is called by several goroutines, for different blocks. Those of a run, which is
// from one of the bounds to the next, go to one goroutine, in order.
func (r *reading) each(ctx context.Context, bounds []int, visit func(b *block, run int) error) error {
	runs := len(bounds) - 1
	most := r.largestBlock() * r.columns
	errs := make([]error, min(len(r.blocks), runs))
	var next atomic.Int64
	var done sync.WaitGroup
	for i := range errs {
		done.Go(func() {
			b := r.blocks[i]
			b.most = most
			errs[i] = fault.Guard(func() error {
				for {
					run := int(next.Add(1)) - 1
					if run >= runs {
						return nil
					}
					blocks := r.bounds(bounds[run], bounds[run+1], r.rows)
					for i, end := range blocks[1:] {
						b.from, b.n = blocks[i], end-blocks[i]
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
	return w.base.Decode(ctx, b.values, b.from, b.n)
}
