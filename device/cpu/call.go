package cpu

import (
	"errors"
	"fmt"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// A call is an operation with its operands. A device has one and uses its
// memory again for each operation.
type call struct {
	kind  ir.Kind
	attrs ir.Attrs
	out   view
	dst   []float32 // the elements of out
	in    []view
	steps epilogue
}

// bind checks that the operands are where and as the operation needs them.
func (c *call) bind(d *Device, op *ir.Op, args device.Args) error {
	if kernels[op.Kind] == nil {
		return errors.New("the device has no such operation: views are the planner's")
	}
	c.kind, c.attrs = op.Kind, op.Attrs
	var err error
	if c.out, err = newView(args.Out); err != nil {
		return fmt.Errorf("the output %w", err)
	}
	if b := args.Out.Buffer.(*buffer); b.mapped {
		return errors.New("the output is mapped memory of the host, which is never written")
	}
	if c.out.f32 == nil || !c.out.has(ir.Contiguous) {
		return fmt.Errorf("the output has dtype %v, shape %v, strides %v and offset %d: expected contiguous %v aligned to 4 bytes",
			c.out.dt, c.out.shape, c.out.strides, args.Out.Offset, dtype.F32)
	}
	c.dst = c.out.f32
	c.in = c.in[:0]
	for i, t := range args.In {
		v, err := newView(t)
		if err != nil {
			return fmt.Errorf("operand %d %s %w", i, t.Name, err)
		}
		c.in = append(c.in, v)
	}
	return c.bindSteps(op)
}

// bindSteps makes the steps that are applied to each result: the bias of a
// product is the first of them.
func (c *call) bindSteps(op *ir.Op) error {
	e := &c.steps
	e.steps = e.steps[:0]
	if c.attrs.HasBias && (c.kind == ir.Linear || c.kind == ir.Conv) {
		if err := c.needs(3); err != nil {
			return err
		}
		s := step{fn: ir.Add, operand: 2}
		channel := len(c.out.shape) - 1
		if c.kind == ir.Conv {
			channel = 1
		}
		if len(c.out.shape) < 2 && c.kind == ir.Conv || len(c.out.shape) < 1 || !c.in[2].is(c.out.shape[channel]) {
			return fmt.Errorf("the bias has the shape %v, which does not fit the output %v", c.in[2].shape, c.out.shape)
		}
		s.strides[channel] = c.in[2].strides[0]
		e.steps = append(e.steps, s)
	}
	for i, from := range op.Steps {
		s := step{fn: from.Func, a: from.A, b: from.B}
		if int(from.Func) > int(ir.PReLU) {
			return fmt.Errorf("step %d is an unknown function: %v", i, from.Func)
		}
		if from.Func.Binary() {
			if from.Operand < 0 || from.Operand >= len(c.in) {
				return fmt.Errorf("step %d (%s) reads operand %d of %d", i, from.Func, from.Operand, len(c.in))
			}
			s.operand = from.Operand
			v := &c.in[s.operand]
			var ok bool
			if s.strides, ok = broadcast(v, c.out.shape); !ok {
				return fmt.Errorf("step %d (%s): the operand %s %v cannot be broadcast to %v", i, from.Func, v.name, v.shape, c.out.shape)
			}
		}
		e.steps = append(e.steps, s)
	}
	e.in = c.in
	e.join(c.out.shape)
	return nil
}

// needs returns an error when there are fewer than n operands.
func (c *call) needs(n int) error {
	if len(c.in) < n {
		return fmt.Errorf("there are %d operands, expected at least %d", len(c.in), n)
	}
	return nil
}

// layouts returns an error when one of the first n operands is not in the
// layout that the operation reads.
func (c *call) layouts(n int) error {
	if err := c.needs(n); err != nil {
		return err
	}
	for i := range c.in[:n] {
		v := &c.in[i]
		if !v.has(c.kind.InputLayout(i)) {
			return fmt.Errorf("operand %d %s has the shape %v and the strides %v, which the operation cannot read", i, v.name, v.shape, v.strides)
		}
	}
	return nil
}

// shapes returns the error of operands that do not fit each other.
func (c *call) shapes(n int) error {
	s := fmt.Sprintf("the output %v does not fit", c.out.shape)
	for i := range c.in[:min(n, len(c.in))] {
		s += fmt.Sprintf(" operand %d %s %v", i, c.in[i].name, c.in[i].shape)
	}
	return fmt.Errorf("%s with %+v", s, c.attrs)
}

// store applies the steps to results and stores them as elements at.. of the
// output. It changes values.
func (c *call) store(w *worker, values []float32, at int) {
	c.steps.apply(w, values, at)
	copy(c.dst[at:][:len(values)], values)
}
