package cpu

import "github.com/weir-run/weir/ir"

// An epilogue is the steps of an operation, applied to its results while they
// are in the cache.
type epilogue struct {
	in    []view
	steps []step
	space space
}

type step struct {
	fn      ir.Func
	a, b    float32
	operand int // in epilogue.in, of binary functions
	strides strides
}

// join finds the space of the output of the given shape.
func (e *epilogue) join(shape []int) {
	var store [16]*strides
	operands := store[:0]
	for i := range e.steps {
		if e.steps[i].fn.Binary() {
			operands = append(operands, &e.steps[i].strides)
		}
	}
	e.space = join(shape, operands)
}

// apply applies the steps to values, the results at.. of the output in
// row-major order.
func (e *epilogue) apply(w *worker, values []float32, at int) {
	if len(e.steps) == 0 {
		return
	}
	last := e.space.last()
	for len(values) > 0 {
		n := min(len(values), last-at%last, lineLen)
		run := values[:n]
		for i := range e.steps {
			s := &e.steps[i]
			if !s.fn.Binary() {
				applyUnary(s.fn, s.a, s.b, run)
				continue
			}
			v, off, stride := &e.in[s.operand], e.space.locate(at, &s.strides), s.strides[e.space.rank-1]
			if stride == 0 {
				applyScalar(s.fn, run, v.at(off))
			} else {
				applyBinary(s.fn, run, v.slice(w.line[:], off, stride, n))
			}
		}
		values, at = values[n:], at+n
	}
}
