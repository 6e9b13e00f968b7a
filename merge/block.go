package merge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/weights"
)

// blockElements is about how many elements are worked with at a time by each
// goroutine: they stay in its core's cache.
const blockElements = 64 << 10

// A block is some rows of a weight.
type block struct {
	index, from, n int
	values         []float32 // of the weight, in base
	base           weights.Rows
	change         []float32 // room for the elements of a change
}

// room returns memory for n elements of a change.
func (b *block) room(n int) []float32 {
	b.change = slices.Grow(b.change[:0], n)[:n]
	return b.change
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

// each calls visit with all blocks that have the rows from..to, with the values
// of the base in them. It is called by several goroutines, for different blocks.
func (w *Weight) each(ctx context.Context, from, to int, visit func(b *block) error) error {
	bounds := w.bounds(from, to)
	blocks := len(bounds) - 1
	workers := min(w.threads, blocks)
	errs := make([]error, workers)
	var next atomic.Int64
	var done sync.WaitGroup
	for i := range workers {
		done.Go(func() {
			b := &block{}
			errs[i] = fault.Guard(func() error {
				for {
					index := int(next.Add(1)) - 1
					if index >= blocks {
						return nil
					}
					b.index, b.from, b.n = index, bounds[index], bounds[index+1]-bounds[index]
					if err := w.read(ctx, b); err != nil {
						return err
					}
					if err := visit(b); err != nil {
						return err
					}
				}
			})
			next.Store(int64(blocks)) // the others need not go on
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

// read fills a block with rows of the base.
func (w *Weight) read(ctx context.Context, b *block) error {
	err := b.base.Read(ctx, w.base, b.from, b.n)
	b.values = b.base.Values
	return err
}
