package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/weights"
)

// trials is how often a rate is measured; the best counts, for whatever
// disturbs a measurement only makes it slower.
const trials = 4

// best returns n over the least number of seconds that f takes.
func best(n float64, f func() error) (float64, error) {
	least := time.Duration(0)
	for i := range trials {
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		if took := max(time.Since(start), 1); i == 0 || took < least {
			least = took
		}
	}
	return n / least.Seconds(), nil
}

// MeasureCompute returns how fast operations are here, in the unit of
// [plan.Program.Costs] a second: by a product of matrices, which nearly all of
// a denoiser is.
func (e *Engine) MeasureCompute(ctx context.Context) (float64, error) {
	// Three matrices of float32, in the memory there is.
	size := int(min(768, math.Sqrt(float64(e.pager.Budget())/16)))
	g := ir.New("product of matrices")
	g.Output("y", g.Linear(g.Input("x", dtype.F32, size, size), g.Input("w", dtype.F32, size, size), ir.None))
	p, err := plan.Compile(g, plan.Options{})
	if err != nil {
		return 0, err
	}
	m, err := run.Bind(p, &weights.Set{}, e.pager)
	if err != nil {
		return 0, err
	}
	defer m.Release()
	in := run.Inputs{"x": make([]float32, size*size), "w": make([]float32, size*size)}
	return best(p.Costs()[0], func() error {
		_, err := m.Run(ctx, in, nil)
		return err
	})
}

// MeasureLink returns how many bytes a second reach the memory of the device.
func (e *Engine) MeasureLink(ctx context.Context) (float64, error) {
	bytes := make([]byte, min(64<<20, e.dev.Info().Free))
	b, err := e.dev.Alloc(int64(len(bytes)))
	if err != nil {
		return 0, err
	}
	defer e.dev.Free(b)
	return best(float64(len(bytes)), func() error { return e.dev.Upload(ctx, b, 0, bytes).Wait(ctx) })
}

// MeasureDisk returns how many bytes a second are read from the files that are
// open, when the system has forgotten what it has of them; systems that cannot
// be told to forget are as fast as memory.
func (e *Engine) MeasureDisk(ctx context.Context) (float64, error) {
	e.mu.Lock()
	var refs []weights.Ref
	for _, set := range e.files {
		for _, f := range set.Files() {
			refs = append(refs, f.Refs()...)
		}
	}
	e.mu.Unlock()
	slices.SortFunc(refs, func(a, b weights.Ref) int { return cmp.Compare(b.Length, a.Length) })
	const enough = 128 << 20
	var total int64
	for i, r := range refs {
		if total += r.Length; total >= enough {
			refs = refs[:i+1]
			break
		}
	}
	if total == 0 {
		return 0, errors.New("no file of weights is open whose disk could be measured")
	}
	rate, err := best(float64(total), func() error {
		for _, r := range refs {
			if err := r.Load(ctx, 0, r.Length); err != nil {
				return err
			}
			r.Drop(0, r.Length)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measuring a disk: %w", err)
	}
	return rate, nil
}
