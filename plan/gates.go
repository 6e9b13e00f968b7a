package plan

import (
	"cmp"
	"slices"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// splitGates makes several linear operations of one whose result is only used
// in parts, each with its rows of the weight: the projection of a gated unit,
// a·gelu(b), or one to queries, keys and values. Then the activation and the gate
// fuse into the parts, and the whole projection, often the largest value of a
// model, never exists. A side path that is added to the projection is cut with
// it. Parts may be cut again.
func splitGates(g *ir.Graph) *ir.Graph {
	for {
		h := &gateSplit{
			Graph: &ir.Graph{Name: g.Name, Values: slices.Clone(g.Values), Outputs: g.Outputs, Ops: make([]ir.Op, 0, len(g.Ops))},
			parts: map[ir.Value]*parts{},
		}
		h.find(g)
		if len(h.parts) == 0 {
			return g
		}
		h.rewrite(g)
		g = h.Graph
	}
}

type gateSplit struct {
	*ir.Graph
	parts   map[ir.Value]*parts // of values that are cut
	waiting map[ir.Value]waiting
}

// The parts of a value are those of its last dimension.
type parts struct {
	values []ir.Value
	ends   []int // part k is from ends[k] to ends[k+1]
}

// size is the length of the dimension that is cut.
func (p *parts) size() int { return p.ends[len(p.ends)-1] }

// rewrite appends the operations of g. Parts of those that are cut are made when
// the first operation needs them, so that few of them wait at once.
func (h *gateSplit) rewrite(g *ir.Graph) {
	h.waiting = map[ir.Value]waiting{}
	for i := range g.Ops {
		op := &g.Ops[i]
		switch {
		case h.parts[op.Out] != nil:
			for k, v := range h.parts[op.Out].values {
				h.waiting[v] = waiting{op, k}
			}
		case op.Kind == ir.Slice && h.parts[op.In[0]] != nil:
			// It is made as a part.
		default:
			h.make(op.In)
			h.Ops = append(h.Ops, *op)
		}
	}
	for _, out := range g.Outputs {
		h.make([]ir.Value{out.Value})
	}
}

// A waiting is part k of an operation, which nothing has needed yet.
type waiting struct {
	op *ir.Op
	k  int
}

// make appends the operations that make those of the values that are waited for.
func (h *gateSplit) make(values []ir.Value) {
	for _, v := range values {
		if w, ok := h.waiting[v]; ok {
			delete(h.waiting, v)
			h.emitPart(w.op, w.k)
		}
	}
}

// find fills the parts.
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
		if len(c) < 2 || uses[v] != len(c) || !h.canCut(maker, uses, v) {
			continue
		}
		if p := partsOf(c); p != nil && p.size() == g.Shape(v)[len(g.Shape(v))-1] {
			h.cut(maker, uses, v, p)
		}
	}
}

// partsOf returns the results of slices as parts, if each begins where the one
// before ends and the first at 0.
func partsOf(cuts []*ir.Op) *parts {
	slices.SortFunc(cuts, func(a, b *ir.Op) int { return cmp.Compare(a.Attrs.From, b.Attrs.From) })
	p := &parts{ends: []int{0}}
	for _, c := range cuts {
		if c.Attrs.From != p.size() {
			return nil
		}
		p.values, p.ends = append(p.values, c.Out), append(p.ends, c.Attrs.To)
	}
	return p
}

// canCut reports whether a value is that of a linear operation, or of an
// elementwise one on a linear one that only it uses.
func (h *gateSplit) canCut(maker []*ir.Op, uses []int, v ir.Value) bool {
	op := maker[v]
	if op == nil || h.parts[v] != nil {
		return false
	}
	if op.Kind == ir.Linear {
		return len(op.Steps) == 0
	}
	return op.Kind == ir.Elementwise && slices.ContainsFunc(op.In, func(in ir.Value) bool {
		return uses[in] == 1 && h.Shape(in).Equal(h.Shape(v)) && h.canCut(maker, uses, in)
	})
}

// cut records the parts of a value, and of those that it is made of if nothing
// else uses them.
func (h *gateSplit) cut(maker []*ir.Op, uses []int, v ir.Value, p *parts) {
	h.parts[v] = p
	if maker[v].Kind != ir.Elementwise {
		return
	}
	for _, in := range maker[v].In {
		if uses[in] == 1 && h.Shape(in).Equal(h.Shape(v)) && h.canCut(maker, uses, in) {
			q := &parts{make([]ir.Value, len(p.values)), p.ends}
			for k := range q.values {
				q.values[k] = h.part(in, len(h.Shape(in))-1, p, k)
			}
			h.cut(maker, uses, in, q)
		}
	}
}

// part adds a value for part k of dimension axis of v.
func (h *gateSplit) part(v ir.Value, axis int, p *parts, k int) ir.Value {
	shape := slices.Clone(h.Shape(v))
	shape[axis] = p.ends[k+1] - p.ends[k]
	h.Values = append(h.Values, ir.ValueInfo{Kind: ir.Activation, Name: h.Values[v].Name, DType: dtype.F32, Shape: shape})
	return ir.Value(len(h.Values) - 1)
}

// slice appends the view that is part k of dimension axis of v.
func (h *gateSplit) slice(name string, v ir.Value, axis int, p *parts, k int) ir.Value {
	out := h.part(v, axis, p, k)
	h.Ops = append(h.Ops, ir.Op{
		Kind: ir.Slice, Name: name, In: []ir.Value{v}, Out: out,
		Attrs: ir.Attrs{Axis: axis, From: p.ends[k], To: p.ends[k+1]},
	})
	return out
}

// emitPart appends the operation that makes part k of the result of op.
func (h *gateSplit) emitPart(op *ir.Op, k int) {
	p := h.parts[op.Out]
	part := *op
	part.Out = p.values[k]
	part.In = slices.Clone(op.In)
	for i, v := range op.In {
		shape := h.Shape(v)
		switch {
		case op.Kind == ir.Linear && i == 0:
		case op.Kind == ir.Linear: // weight and bias
			part.In[i] = h.slice(op.Name, v, 0, p, k)
		case h.parts[v] != nil:
			part.In[i] = h.parts[v].values[k]
		case len(shape) > 0 && shape[len(shape)-1] == p.size():
			part.In[i] = h.slice(op.Name, v, len(shape)-1, p, k)
		}
	}
	h.make(part.In)
	h.Ops = append(h.Ops, part)
}
