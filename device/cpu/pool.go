package cpu

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/weights"
)

// A pool is the threads of a device. The goroutine that calls run is one of
// them, the first worker; the others wait for work until close.
type pool struct {
	workers []*worker
	wake    []chan struct{} // one a worker, the first unused
	ended   sync.WaitGroup

	// The work that is being done.
	ctx    context.Context
	task   func(w *worker, i int) error
	tasks  int64
	next   atomic.Int64
	busy   sync.WaitGroup
	failed atomic.Bool
	mu     sync.Mutex
	err    error
}

// lineLen is the number of elements that kernels handle at once where they go
// through memory in lines.
const lineLen = 1024

// A worker is a thread with the memory that its kernels work in. Its size is
// fixed, so that it can be counted before anything runs.
type worker struct {
	pool *pool
	*scratch
}

type scratch struct {
	a     [blockM * blockK]float32 // packed rows of a product
	b     [blockN * blockK]float32 // packed columns
	c     [blockM * blockN]float32 // a tile of the result
	sum   [maxSum]float32          // attention's weighted sum of values
	peak  [blockM]float32          // attention's largest score of each query
	total [blockM]float32          // and the sum of its exponentials
	line  [lineLen]float32         // an operand of a step
	lines [4][lineLen]float32      // for the kernels
	stats [statRows]moments        // of the rows of a norm
}

// workspace is the size of a worker's memory in bytes.
const workspace = 4*(blockM*blockK+blockN*blockK+blockM*blockN+maxSum+2*blockM+5*lineLen) + 16*statRows

func newPool(threads int) *pool {
	p := &pool{}
	for i := range threads {
		w, wake := &worker{p, new(scratch)}, make(chan struct{})
		p.workers, p.wake = append(p.workers, w), append(p.wake, wake)
		if i > 0 {
			p.ended.Go(func() {
				for range wake {
					p.work(w)
					p.busy.Done()
				}
			})
		}
	}
	return p
}

func (p *pool) close() {
	for _, c := range p.wake {
		close(c)
	}
	p.ended.Wait()
}

// run calls task for 0..n-1, each once, on all threads, until one fails or
// the context is cancelled. It returns the first error.
func (p *pool) run(n int, task func(w *worker, i int) error) error {
	p.task, p.tasks = task, int64(n)
	p.next.Store(0)
	p.failed.Store(false)
	p.err = nil
	helpers := min(len(p.workers), n) - 1
	if helpers > 0 {
		p.busy.Add(helpers)
		for i := range helpers {
			p.wake[1+i] <- struct{}{}
		}
	}
	p.work(p.workers[0])
	if helpers > 0 {
		p.busy.Wait()
	}
	p.task = nil
	return p.err
}

// work does tasks until there is none left. It is where a fault on a mapped
// file, or a panic, becomes an error.
func (p *pool) work(w *worker) {
	tasks := func() error {
		for !p.failed.Load() {
			i := p.next.Add(1) - 1
			if i >= p.tasks {
				return nil
			}
			if err := p.ctx.Err(); err != nil {
				return err
			}
			if err := p.task(w, int(i)); err != nil {
				return err
			}
		}
		return nil
	}
	err := fault.Guard(func() error { return weights.Guard(tasks) })
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err == nil {
			p.err = err
		}
		p.failed.Store(true)
	}
}

// stopped returns an error when the work is to end early. Tasks that take
// long ask between their blocks.
func (w *worker) stopped() error { return w.pool.ctx.Err() }
