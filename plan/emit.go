package plan

import "github.com/weir-run/weir/ir"

// emit writes down the program that the passes have decided.
func (c *compilation) emit() *Program {
	s := c.draft
	p := &Program{
		Name: c.graph.Name, Ops: make([]Op, len(s.ops)), Extents: c.weights.extents,
		Arena: c.arena.size, LowerBound: c.arena.lowerBound, Regions: s.regions, Pieces: s.pieces,
	}
	for i, op := range s.ops {
		out := &p.Ops[i]
		out.Op = op.Op
		out.In = nil
		out.Out = c.operand(op.out)
		out.Args = make([]Operand, len(op.args))
		for j, arg := range op.args {
			out.Args[j] = c.operand(arg)
		}
		out.Extents = extentsOf(out.Args)
	}
	for _, v := range s.inputs {
		p.Inputs = append(p.Inputs, c.binding(s.values[v].Name, whole(v, s.values[v].Shape)))
	}
	for _, out := range s.outputs {
		p.Outputs = append(p.Outputs, c.binding(out.name, out.window))
	}
	return p
}

// operand returns the place of a window.
func (c *compilation) operand(w window) Operand {
	info := &c.draft.values[w.of]
	block, bytes := info.DType.Block()
	o := Operand{
		Extent: -1, DType: info.DType, Shape: w.shape, Strides: w.strides,
		Offset: int64(w.offset/block) * int64(bytes), Skip: w.offset % block,
	}
	if info.Kind != ir.Weight {
		o.Offset += c.arena.offsets[w.of]
		return o
	}
	l := c.weights
	at := l.at[w.of][0]
	if tile := l.tileBytes[w.of]; tile > 0 {
		at = l.at[w.of][o.Offset/tile]
		o.Offset %= tile
	}
	o.Name, o.Extent, o.Part = info.Name, at.extent, at.part
	return o
}

// binding returns the place of an input or output.
func (c *compilation) binding(name string, w window) Binding {
	info := &c.draft.values[w.of]
	return Binding{
		Name: name, Offset: c.arena.offsets[w.of], DType: info.DType, Shape: w.shape,
		Bytes: c.draft.bytes(w.of),
	}
}
