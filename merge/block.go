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

// A block is some rows of a weight.
type block struct {
	index, from, n int
	raw            []byte    // in the dtype of the weight
	values, change []float32 // of the weight, and room for as many of a change
}

// blockRows returns how many rows a block has.
func (w *Weight) blockRows() int { return max(1, blockElements/w.columns) }

// each calls visit with all blocks of the rows from..to, with the values of
// the base in them. It is called by several goroutines, for different blocks.
func (w *Weight) each(ctx context.Context, from, to int, visit func(b *block) error) error {
	rows := w.blockRows()
	blocks := (to - from + rows - 1) / rows
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
					if err := w.read(ctx, b, index, from, to); err != nil {
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
func (w *Weight) read(ctx context.Context, b *block, index, from, to int) error {
	rows := w.blockRows()
	size := w.columns * w.base.DType.Size()
	if b.raw == nil {
		n := min(rows, to-from)
		b.raw, b.values, b.change = make([]byte, n*size), make([]float32, n*w.columns), make([]float32, n*w.columns)
	}
	b.index, b.from = index, from+index*rows
	b.n = min(rows, to-b.from)
	b.raw, b.values = b.raw[:b.n*size], b.values[:b.n*w.columns]
	if err := w.base.ReadAt(ctx, b.raw, int64(b.from*size)); err != nil {
		return err
	}
	dtype.ToF32(b.values, b.raw, w.base.DType)
	return nil
}
