package plan

import (
	"slices"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// splitGates makes two linear operations of one whose result is only used in two
// parts, each with its rows of the weight: the projection of a gated unit,
// a·gelu(b). Then the activation and the gate fuse into the two, and the whole
// projection, often the largest value of a model, never exists. A side path
// that is added to the projection is cut with it.
func splitGates(g *ir.Graph) *ir.Graph {
	h := &gateSplit{
		Graph:  &ir.Graph{Name: g.Name, Values: slices.Clone(g.Values), Outputs: g.Outputs, Ops: make([]ir.Op, 0, len(g.Ops))},
		halves: map[ir.Value]*halves{},
	}
	h.find(g)
	if len(h.halves) == 0 {
		return g
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		switch {
		case h.halves[op.Out] != nil:
			for k := range 2 {
				h.emitHalf(op, k)
			}
		case op.Kind == ir.Slice && h.halves[op.In[0]] != nil:
			// It is made as a half.
		default:
			h.Ops = append(h.Ops, *op)
		}
	}
	return h.Graph
}

type gateSplit struct {
	*ir.Graph
	halves map[ir.Value]*halves // of values that are cut
}

// The halves of a value are those of its last dimension.
type halves struct {
	value [2]ir.Value
	ends  [3]int // the first from ends[0] to ends[1], the second to ends[2]
}

// find fills the halves.
func (h *gateSplit) find(g *ir.Graph) {
	uses, maker := make([]int, len(g.Values)), make([]*ir.Op, len(g.Values))
	cuts := map[ir.Value][]*ir.Op{}
	for i := range g.Ops {
		op := &g.Ops[i]
		maker[op.Out] = op
		for _, v := range op.In {
			uses[v]++
		}
		if op.Kind == ir.Slice && op.Attrs.Axis == len(g.Shape(op.Out))-1 {
			cuts[op.In[0]] = append(cuts[op.In[0]], op)
		}
	}
	for _, out := range g.Outputs {
		uses[out.Value]++
	}
	for i := range g.Ops {
		v := g.Ops[i].Out
		c := cuts[v]
		if len(c) != 2 || uses[v] != 2 || !h.canCut(maker, uses, v) {
			continue
		}
		if c[0].Attrs.From > 0 {
			c[0], c[1] = c[1], c[0]
		}
		shape := g.Shape(v)
		p := &halves{[2]ir.Value{c[0].Out, c[1].Out}, [3]int{0, c[0].Attrs.To, shape[len(shape)-1]}}
		if c[0].Attrs.From == 0 && c[1].Attrs.From == p.ends[1] && c[1].Attrs.To == p.ends[2] {
			h.cut(maker, uses, v, p)
		}
	}
}

// canCut reports whether a value is that of a linear operation, or of an
// elementwise one on a linear one that only it uses.
func (h *gateSplit) canCut(maker []*ir.Op, uses []int, v ir.Value) bool {
	op := maker[v]
	if op == nil || h.halves[v] != nil {
		return false
	}
	if op.Kind == ir.Linear {
		return len(op.Steps) == 0
	}
	return op.Kind == ir.Elementwise && slices.ContainsFunc(op.In, func(in ir.Value) bool {
		return uses[in] == 1 && h.Shape(in).Equal(h.Shape(v)) && h.canCut(maker, uses, in)
	})
}

// cut records the halves of a value, and of those that it is made of if
// nothing else uses them.
func (h *gateSplit) cut(maker []*ir.Op, uses []int, v ir.Value, p *halves) {
	h.halves[v] = p
	if maker[v].Kind != ir.Elementwise {
		return
	}
	for _, in := range maker[v].In {
		if uses[in] == 1 && h.Shape(in).Equal(h.Shape(v)) && h.canCut(maker, uses, in) {
			q := &halves{ends: p.ends}
			for k := range q.value {
				q.value[k] = h.half(in, len(h.Shape(in))-1, p, k)
			}
			h.cut(maker, uses, in, q)
		}
	}
}

// half adds a value for half k of dimension axis of v.
func (h *gateSplit) half(v ir.Value, axis int, p *halves, k int) ir.Value {
	shape := slices.Clone(h.Shape(v))
	shape[axis] = p.ends[k+1] - p.ends[k]
	h.Values = append(h.Values, ir.ValueInfo{Kind: ir.Activation, Name: h.Values[v].Name, DType: dtype.F32, Shape: shape})
	return ir.Value(len(h.Values) - 1)
}

// slice appends the view that is half k of dimension axis of v.
func (h *gateSplit) slice(name string, v ir.Value, axis int, p *halves, k int) ir.Value {
	out := h.half(v, axis, p, k)
	h.Ops = append(h.Ops, ir.Op{
		Kind: ir.Slice, Name: name, In: []ir.Value{v}, Out: out,
		Attrs: ir.Attrs{Axis: axis, From: p.ends[k], To: p.ends[k+1]},
	})
	return out
}

// emitHalf appends the operation that makes half k of the result of op.
func (h *gateSplit) emitHalf(op *ir.Op, k int) {
	p := h.halves[op.Out]
	half := *op
	half.Out = p.value[k]
	half.In = slices.Clone(op.In)
	for i, v := range op.In {
		shape := h.Shape(v)
		switch {
		case op.Kind == ir.Linear && i == 0:
		case op.Kind == ir.Linear: // weight and bias
			half.In[i] = h.slice(op.Name, v, 0, p, k)
		case h.halves[v] != nil:
			half.In[i] = h.halves[v].value[k]
		case len(shape) > 0 && shape[len(shape)-1] == p.ends[2]:
			half.In[i] = h.slice(op.Name, v, len(shape)-1, p, k)
		}
	}
	h.Ops = append(h.Ops, half)
}
