package plan

import (
	"fmt"

	"github.com/weir-run/weir/ir"
)

const defaultMaxExtent = 64 << 20

// Compile plans a graph. It fails if the graph does, or if a weight is larger
// than an extent and cannot be cut into rows.
//
// The extents depend on the weights and on the order in which the graph was
// built, not on the shapes of activations: a model that is planned for another
// batch or image size, or in less memory, has the same ones.
func Compile(g *ir.Graph, o Options) (*Program, error) {
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("cannot plan: %w", err)
	}
	if o.MaxExtent == 0 {
		o.MaxExtent = defaultMaxExtent
	}
	s, err := lower(halve(dropDead(g)))
	if err != nil {
		return nil, err
	}
	order := weightOrder(s)
	fuse(s)
	s, a := placeWithin(s, o.Arena)
	return s.program(g.Name, order, a, o)
}

// program returns the program of a schedule with its weights in extents.
func (s *schedule) program(name string, order [][]ir.Value, a *arena, o Options) (*Program, error) {
	tiles, err := cutRows(s, o.MaxExtent)
	if err != nil {
		return nil, fmt.Errorf("cannot plan %s: %w", name, err)
	}
	w := packWeights(s, order, tiles, o)
	p := &Program{
		Name: name, Ops: make([]Op, len(s.ops)), Extents: w.extents,
		Arena: a.size, LowerBound: a.lowerBound, Regions: s.regions, Pieces: s.pieces,
	}
	for i, op := range s.ops {
		out := &p.Ops[i]
		out.Op = op.Op
		out.In = nil
		out.Out = s.operand(op.out, a, w)
		out.Args = make([]Operand, len(op.args))
		for j, arg := range op.args {
			out.Args[j] = s.operand(arg, a, w)
		}
		out.Extents = extentsOf(out.Args)
	}
	for _, v := range s.inputs {
		p.Inputs = append(p.Inputs, s.binding(s.values[v].Name, whole(v, s.values[v].Shape), a))
	}
	for _, out := range s.outputs {
		p.Outputs = append(p.Outputs, s.binding(out.name, out.window, a))
	}
	return p, nil
}

// operand returns the place of a window.
func (s *schedule) operand(w window, a *arena, l *weightLayout) Operand {
	info := &s.values[w.of]
	block, bytes := info.DType.Block()
	o := Operand{
		Extent: -1, DType: info.DType, Shape: w.shape, Strides: w.strides,
		Offset: int64(w.offset/block) * int64(bytes), Skip: w.offset % block,
	}
	if info.Kind != ir.Weight {
		o.Offset += a.offsets[w.of]
		return o
	}
	at := l.at[w.of][0]
	if tile := l.tileBytes[w.of]; tile > 0 {
		at = l.at[w.of][o.Offset/tile]
		o.Offset %= tile
	}
	o.Name, o.Extent, o.Part = info.Name, at.extent, at.part
	return o
}

// binding returns the place of an input or output.
func (s *schedule) binding(name string, w window, a *arena) Binding {
	info := &s.values[w.of]
	return Binding{
		Name: name, Offset: a.offsets[w.of], DType: info.DType, Shape: w.shape,
		Bytes: s.bytes(w.of),
	}
}
