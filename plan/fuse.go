package plan

import (
	"slices"

	"github.com/weir-run/weir/ir"
)

// fuse appends the steps of an Elementwise to the operation that makes the
// value it starts from, if nothing else reads that value. The first step may
// be turned around when its function is commutative. So activations, residual
// connections, gates and modulation become part of the operation before them.
//
// Of two operations that it could be appended to, it goes to the later one,
// which has the other one's result as an operand.
func fuse(s *draft) {
	f := &fusion{draft: s, uses: make([]int, len(s.values)), maker: make([]int, len(s.values))}
	for v := range f.maker {
		f.maker[v] = -1
	}
	for t, op := range s.ops {
		f.maker[op.out.of] = t
		for _, arg := range op.args {
			f.uses[arg.of]++
		}
	}
	for _, out := range s.outputs {
		f.uses[out.window.of]++
	}
	for t, op := range s.ops {
		if op.Kind == ir.Elementwise {
			f.try(t)
		}
	}
	s.ops = slices.DeleteFunc(s.ops, func(op *operation) bool { return op == nil })
}

type fusion struct {
	*draft
	uses  []int // windows on each value
	maker []int // index of the operation that makes each value, or -1
}

// try fuses the Elementwise at index t if it can.
func (f *fusion) try(t int) {
	op := f.ops[t]
	starts := []int{0}
	if len(op.Steps) > 0 && commutative(op.Steps[0].Func) {
		starts = append(starts, op.Steps[0].Operand)
		if f.maker[op.args[starts[1]].of] > f.maker[op.args[0].of] {
			starts[0], starts[1] = starts[1], starts[0]
		}
	}
	for _, start := range starts {
		if fused, ok := f.append(op, start); ok {
			into := f.maker[op.args[start].of]
			at := into
			if f.latest(op, start) > into {
				if !f.mayMove(into, t) {
					continue
				}
				at = t
			}
			f.ops[into], f.ops[t] = nil, nil
			f.ops[at] = fused
			f.maker[fused.out.of] = at
			return
		}
	}
}

// commutative reports whether f(x, y) is f(y, x).
func commutative(f ir.Func) bool {
	return f == ir.Add || f == ir.Mul || f == ir.Max || f == ir.Min
}

// append returns the operation that makes args[start] with the steps of the
// Elementwise op, which start from it.
func (f *fusion) append(op *operation, start int) (*operation, bool) {
	from := op.args[start]
	if f.maker[from.of] < 0 || f.uses[from.of] != 1 || !from.contiguous() || from.shape.Elems() != f.values[from.of].Shape.Elems() {
		return nil, false
	}
	maker := f.ops[f.maker[from.of]]
	fused := &operation{
		Op:   maker.Op,
		out:  whole(op.out.of, maker.out.shape),
		args: slices.Clone(maker.args),
	}
	fused.Out = op.Out
	fused.Steps = slices.Clone(maker.Steps)
	for i, step := range op.Steps {
		if step.Func.Binary() {
			operand := step.Operand
			if i == 0 && operand == start {
				operand = 0 // turned around
			}
			w, ok := op.args[operand].reshape(maker.out.shape)
			if !ok {
				return nil, false
			}
			step.Operand = len(fused.args)
			fused.args = append(fused.args, w.canonical())
		}
		fused.Steps = append(fused.Steps, step)
	}
	return fused, true
}

// latest returns the index of the last operation that makes an operand of op
// other than args[start].
func (f *fusion) latest(op *operation, start int) int {
	last := -1
	for i, arg := range op.args {
		if i != start {
			last = max(last, f.maker[arg.of])
		}
	}
	return last
}

// mayMove reports whether the operation at index from can be put off until to.
// Its operands are then kept for longer, but its result is not there in the
// meantime. That costs nothing to speak of if what is made in the meantime is
// small beside the result: the time embedding between a convolution and the
// addition of it, the scale of a modulation.
func (f *fusion) mayMove(from, to int) bool {
	budget := f.bytes(f.ops[from].out.of) / 8
	for _, op := range f.ops[from+1 : to] {
		if op != nil {
			if budget -= f.bytes(op.out.of); budget < 0 {
				return false
			}
		}
	}
	return true
}
