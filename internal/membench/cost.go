//go:build linux

package membench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/weir-run/weir/device/cpu"
	"github.com/weir-run/weir/pager"
)

// still is a source of zeros that is always in memory.
type still struct{ bytes []byte }

func (s still) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, s.bytes[off:])
	return nil
}
func (s still) Bytes(off, n int64) ([]byte, error)         { return s.bytes[off : off+n], nil }
func (s still) Load(ctx context.Context, _, _ int64) error { return ctx.Err() }
func (s still) Drop(_, _ int64)                            {}

// pager measures what the pager itself costs.
func (b *Bench) pager(ctx context.Context) error {
	b.title("pager: its own cost")
	const extents = 10000
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	p := pager.New(dev, pager.Options{})
	defer p.Close()
	source := still{make([]byte, 4096)}
	m := pager.Manifest{Name: "zeros"}
	var uses [][]int
	for i := range extents {
		m.Extents = append(m.Extents, pager.Extent{Key: fmt.Sprint(i), Bytes: 4096, Parts: []pager.Part{{Source: source, Bytes: 4096}}})
		uses = append(uses, []int{i})
	}
	space, err := p.Reserve(m)
	if err != nil {
		return err
	}
	sched, err := space.Schedule(uses, nil)
	if err != nil {
		return err
	}
	run := func() (begin, acquire time.Duration, err error) {
		start := time.Now()
		pass, err := p.Begin(ctx, sched, 0)
		if err != nil {
			return 0, 0, err
		}
		begun := time.Now()
		for i := range uses {
			if err := pass.Acquire(ctx, i); err != nil {
				return 0, 0, err
			}
			pass.Release(i)
		}
		acquired := time.Now()
		pass.End()
		return time.Since(start) - acquired.Sub(begun), acquired.Sub(begun), nil
	}
	if _, _, err := run(); err != nil { // everything is resident after it
		return err
	}
	const passes = 50
	var begins, acquires []float64
	var before, after runtime.MemStats
	var allocs uint64
	for range passes {
		begin, acquire, err := run()
		if err != nil {
			return err
		}
		begins, acquires = append(begins, begin.Seconds()), append(acquires, acquire.Seconds()/extents)
	}
	pass, err := p.Begin(ctx, sched, 0)
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&before)
	for i := range uses {
		if err := pass.Acquire(ctx, i); err != nil {
			return err
		}
		pass.Release(i)
	}
	runtime.ReadMemStats(&after)
	pass.End()
	allocs = (after.Mallocs - before.Mallocs) / extents
	b.table("|", []string{
		fmt.Sprintf("Acquire and Release of a resident extent|%.0f ns, %d allocations", 1e9*median(acquires), allocs),
		fmt.Sprintf("Begin and End of a pass with %d extents|%.2f ms", extents, 1e3*median(begins)),
	})
	b.bar("pager: a use", median(acquires) < 1e-6 && allocs == 0, "%.0f ns and %d allocations, less than 1000 ns and none", 1e9*median(acquires), allocs)
	return nil
}
