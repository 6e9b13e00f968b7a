// Package run runs programs: it finds the weights of a program in a
// checkpoint, has the pager bring them in, and gives the operations to the
// device one after another.
package run

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/weights"
)

// Inputs are the values of a program's inputs by name: []float32 for F32 and
// []int32 for I32, in row-major order.
type Inputs map[string]any

// Outputs are the results of a program by name.
type Outputs map[string][]float32

// A Model is a program bound to weights. It may be run any number of times and
// by several goroutines, which share its weights and each have activations of
// their own.
type Model struct {
	program *plan.Program
	files   []*weights.File
	pager   *pager.Pager
	space   *pager.Space
	sched   *pager.Schedule
}

// Program returns the program that the model runs.
func (m *Model) Program() *plan.Program { return m.program }

// Split returns what of the weights stayed where the device reads them in the
// last run, and what of the rest need not be read from disk.
func (m *Model) Split() (top, ram pager.Split) { return m.sched.Split() }

// Room returns how many bytes the activations and weights of a run may now take
// together where the device reads them.
func (m *Model) Room() int64 { return m.sched.Room() }

// Scratch returns how many bytes of the host's memory are taken while the model
// runs, to merge what is merged into its weights.
func (m *Model) Scratch() int64 { return m.sched.Scratch() }

// Prefetch tells that the model will run soon: its first weights are brought in
// as far as there is room that nobody uses.
func (m *Model) Prefetch() { m.sched.Prefetch() }

// Predict tells what stays where, what is moved and how long a run takes, by
// the policy that runs follow, when operations take as long as their costs at so
// many a second.
func (m *Model) Predict(compute float64, rates pager.Rates) pager.Prediction {
	times := m.program.Costs()
	for i := range times {
		times[i] /= compute
	}
	return m.PredictTimes(times, rates)
}

// PredictTimes is Predict for operations that take so many seconds each.
func (m *Model) PredictTimes(times []float64, rates pager.Rates) pager.Prediction {
	return m.sched.Predict(m.program.Arena, times, rates)
}

// Times returns how many seconds each operation has taken in the runs so far,
// the later ones counting more; zeros before the first.
func (m *Model) Times() []float64 { return m.sched.Times() }

// Release gives the model's page table back. Its weights stay resident for
// other models that use the same until their memory is needed. No run may be
// under way.
func (m *Model) Release() { m.space.Release() }

// Run runs the program once. observe, if it is not nil, is called after each
// operation with how many of how many are done. The run ends early with the
// context's error when it is cancelled.
func (m *Model) Run(ctx context.Context, in Inputs, observe func(done, total int)) (Outputs, error) {
	for _, f := range m.files {
		if err := f.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", m.program.Name, err)
		}
	}
	pass, err := m.pager.Begin(ctx, m.sched, m.program.Arena)
	if err != nil {
		return nil, err
	}
	defer pass.End()
	r := &run{Model: m, dev: m.pager.Device(), arena: pass.Activations(), pass: pass, observe: observe}
	if err := r.upload(ctx, in); err != nil {
		return nil, fmt.Errorf("%s: %w", m.program.Name, err)
	}
	if err := r.ops(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", m.program.Name, err)
	}
	return r.download(ctx)
}

// A run is one run of a model.
type run struct {
	*Model
	dev     device.Device
	arena   device.Buffer
	pass    *pager.Pass
	observe func(done, total int)
	args    []device.Tensor
}

// upload copies the inputs to their places in the arena.
func (r *run) upload(ctx context.Context, in Inputs) error {
	for _, b := range r.program.Inputs {
		raw, err := bytesOf(in[b.Name], b)
		if err != nil {
			return err
		}
		if err := r.dev.Upload(ctx, r.arena, b.Offset, raw).Wait(ctx); err != nil {
			return fmt.Errorf("input %s: %w", b.Name, err)
		}
	}
	return nil
}

// bytesOf returns a value as the bytes that an input consists of.
func bytesOf(value any, b plan.Binding) ([]byte, error) {
	n := b.Shape.Elems()
	switch v := value.(type) {
	case nil:
		return nil, fmt.Errorf("the run was not given the input %s", b.Name)
	case []float32:
		if b.DType == dtype.F32 && len(v) == n {
			return dtype.BytesOf(v), nil
		}
		return nil, fmt.Errorf("input %s: expected %d values of %v in the shape %v, found %d of F32", b.Name, n, b.DType, b.Shape, len(v))
	case []int32:
		if b.DType == dtype.I32 && len(v) == n {
			return dtype.BytesOf(v), nil
		}
		return nil, fmt.Errorf("input %s: expected %d values of %v in the shape %v, found %d of I32", b.Name, n, b.DType, b.Shape, len(v))
	}
	return nil, fmt.Errorf("input %s is a %T, expected []float32 or []int32", b.Name, value)
}

// ops runs the operations, with the weights of each pinned while it runs.
func (r *run) ops(ctx context.Context) error {
	pass := r.pass
	for i := range r.program.Ops {
		if err := pass.Acquire(ctx, i); err != nil {
			return err
		}
		// An operation that was started has ended when Wait returns, whatever
		// became of it, so its weights can be let go of.
		start := time.Now()
		err := r.op(ctx, &r.program.Ops[i])
		if trace := r.pager.Trace(); trace != nil {
			op := &r.program.Ops[i]
			trace.Span("compute", op.Kind.String(), start, op.Name)
		}
		pass.Release(i)
		if err != nil {
			return err
		}
		if r.observe != nil {
			r.observe(i+1, len(r.program.Ops))
		}
	}
	return nil
}

func (r *run) op(ctx context.Context, op *plan.Op) error {
	r.args = r.args[:0]
	for _, o := range op.Args {
		r.args = append(r.args, r.tensor(o))
	}
	return r.dev.Run(ctx, &op.Op, device.Args{Out: r.tensor(op.Out), In: r.args}).Wait(ctx)
}

// tensor returns where an operand is.
func (r *run) tensor(o plan.Operand) device.Tensor {
	t := device.Tensor{Name: o.Name, Buffer: r.arena, Offset: o.Offset, Skip: o.Skip, DType: o.DType, Shape: o.Shape, Strides: o.Strides}
	if o.Extent >= 0 {
		var at int64
		t.Buffer, at = r.pass.Part(o.Extent, o.Part)
		t.Offset += at
	}
	return t
}

// download copies the outputs from the arena.
func (r *run) download(ctx context.Context) (Outputs, error) {
	out := Outputs{}
	for _, b := range r.program.Outputs {
		v := make([]float32, b.Shape.Elems())
		if err := r.dev.Download(ctx, dtype.BytesOf(v), r.arena, b.Offset).Wait(ctx); err != nil {
			return nil, fmt.Errorf("%s: output %s: %w", r.program.Name, b.Name, err)
		}
		out[b.Name] = v
	}
	return out, nil
}
