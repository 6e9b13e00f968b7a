package plan

import (
	"fmt"
	"slices"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// lower turns the views of a graph into windows, and inserts copies where an
// operation needs another layout or where strides cannot express a view.
func lower(g *ir.Graph) (*draft, error) {
	l := &lowering{
		draft:   &draft{values: slices.Clone(g.Values), ops: make([]*operation, 0, len(g.Ops))},
		windows: make([]window, len(g.Values)),
		copies:  map[ir.Value]window{},
	}
	for v, info := range g.Values {
		if info.Kind != ir.Activation {
			l.windows[v] = whole(ir.Value(v), info.Shape)
		}
		if info.Kind == ir.Input {
			l.inputs = append(l.inputs, ir.Value(v))
		}
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		for _, v := range op.In {
			if l.windows[v].of == ir.None {
				return nil, fmt.Errorf("%s %s uses a value before it is made", op.Kind, op.Name)
			}
		}
		if op.Kind.IsView() {
			l.windows[op.Out] = l.view(op, g.Shape(op.Out))
			continue
		}
		if err := l.add(op, g.Shape(op.Out)); err != nil {
			return nil, err
		}
	}
	for _, out := range g.Outputs {
		w := l.windows[out.Value]
		if w.of == ir.None {
			return nil, fmt.Errorf("nothing makes the output %s", out.Name)
		}
		if l.values[w.of].Kind != ir.Activation || w.shape.Elems() != l.values[w.of].Shape.Elems() || !w.contiguous() {
			w = l.copy(out.Value, out.Name)
		}
		l.outputs = append(l.outputs, output{out.Name, w.canonical()})
	}
	return l.draft, nil
}

type lowering struct {
	*draft
	windows []window            // by value of the graph
	copies  map[ir.Value]window // contiguous copies of values that are not
}

// view returns the window that a view is.
func (l *lowering) view(op *ir.Op, shape ir.Shape) window {
	w, a := l.windows[op.In[0]], &op.Attrs
	switch op.Kind {
	case ir.Permute:
		return w.permute(a.Axes)
	case ir.Slice:
		return w.slice(a.Axis, a.From, a.To)
	case ir.Expand:
		return w.expand(shape)
	}
	r, ok := w.reshape(shape)
	if !ok {
		r, _ = l.copy(op.In[0], op.Name).reshape(shape)
	}
	return r
}

// add appends an operation that computes.
func (l *lowering) add(op *ir.Op, shape ir.Shape) error {
	n := &operation{Op: *op, out: whole(op.Out, shape), args: make([]window, len(op.In))}
	for i, v := range op.In {
		w := l.windows[v]
		switch {
		case op.Kind == ir.Elementwise && i == 0, isStepOperand(op.Steps, i):
			w = w.expand(shape)
		case w.fits(op.Kind.InputLayout(i)):
		case op.Kind == ir.Embedding && i == 0:
			return fmt.Errorf("%s %s: the ids %v must be contiguous, not have the strides %v", op.Kind, op.Name, w.shape, w.strides)
		default:
			w = l.copy(v, op.Name)
		}
		n.args[i] = w.canonical()
	}
	l.windows[op.Out] = n.out
	l.ops = append(l.ops, n)
	return nil
}

// isStepOperand reports whether a step reads operand i.
func isStepOperand(steps []ir.Step, i int) bool {
	return slices.ContainsFunc(steps, func(s ir.Step) bool { return s.Func.Binary() && s.Operand == i })
}

// copy returns a contiguous copy of a value, float32 as all activations.
func (l *lowering) copy(v ir.Value, name string) window {
	if w, ok := l.copies[v]; ok {
		return w
	}
	src := l.windows[v]
	l.values = append(l.values, ir.ValueInfo{Kind: ir.Activation, Name: name, DType: dtype.F32, Shape: src.shape})
	w := whole(ir.Value(len(l.values)-1), src.shape)
	op := ir.Op{Kind: ir.Elementwise, Name: name, Out: w.of}
	l.ops = append(l.ops, &operation{Op: op, out: w, args: []window{src.canonical()}})
	l.copies[v] = w
	return w
}
