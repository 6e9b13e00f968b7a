package plan

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/weir-run/weir/ir"
)

// weightOrder returns the weights in the order of their first use, those that
// an operation is the first to use together.
func weightOrder(s *draft) [][]ir.Value {
	seen := make([]bool, len(s.values))
	var order [][]ir.Value
	for _, op := range s.ops {
		var group []ir.Value
		for _, arg := range op.args {
			if s.values[arg.of].Kind == ir.Weight && !seen[arg.of] {
				seen[arg.of] = true
				group = append(group, arg.of)
			}
		}
		if group != nil {
			order = append(order, group)
		}
	}
	return order
}

// A place is a part of an extent.
type place struct{ extent, part int }

// A weightLayout says where the weights are.
type weightLayout struct {
	extents   []Extent
	at        map[ir.Value][]place // one for each tile of rows
	tileBytes map[ir.Value]int64   // of weights that are cut into tiles
}

// packWeights puts the weights into extents. The weights of consecutive
// operations share one up to a quarter of the largest size, so that an extent
// is worth its transfer and still small beside the memory that holds many; the
// weights of one operation share one if they fit. A weight of more than the
// largest size is cut into the tiles that cutRows has chosen. Weights of
// different groups share none, so that those of one group have the same extents
// whatever other groups there are.
func packWeights(s *draft, order [][]ir.Value, tiles map[ir.Value]int, o Options) *weightLayout {
	l := &weightLayout{at: map[ir.Value][]place{}, tileBytes: map[ir.Value]int64{}}
	open := map[string]*packing{}
	for _, together := range order {
		for name, weights := range s.grouped(together, o.Group) {
			p := open[name]
			if p == nil {
				p = &packing{weightLayout: l, draft: s, max: o.MaxExtent}
				open[name] = p
			}
			p.add(weights, tiles)
		}
	}
	for i := range l.extents {
		l.extents[i].Name = commonName(l.extents[i].Parts)
	}
	return l
}

// grouped returns the runs of weights that belong to the same group, with its
// name.
func (s *draft) grouped(weights []ir.Value, group func(weight string) string) iter.Seq2[string, []ir.Value] {
	return func(yield func(string, []ir.Value) bool) {
		if group == nil {
			yield("", weights)
			return
		}
		for len(weights) > 0 {
			name, n := group(s.values[weights[0]].Name), 1
			for n < len(weights) && group(s.values[weights[n]].Name) == name {
				n++
			}
			if !yield(name, weights[:n]) {
				return
			}
			weights = weights[n:]
		}
	}
}

// A packing is the extent of a group that is being filled.
type packing struct {
	*weightLayout
	*draft
	max  int64
	last int   // the extent, if there is one
	end  int64 // of its last part
	any  bool
}

// open begins another extent.
func (p *packing) open() {
	p.last, p.end, p.any = len(p.extents), 0, true
	p.extents = append(p.extents, Extent{})
}

// add puts the weights of an operation into the extent, or into the next.
func (p *packing) add(weights []ir.Value, tiles map[ir.Value]int) {
	var together int64
	for _, v := range weights {
		together += aligned(p.bytes(v))
	}
	tiny := p.end <= p.max/64 // too little to be moved by itself
	if !p.any || aligned(p.end)+together > p.max/4 && !(tiny && aligned(p.end)+together <= p.max) {
		p.open()
	}
	for _, v := range weights {
		n := p.bytes(v)
		step := n
		if rows := tiles[v]; rows > 0 {
			info := &p.values[v]
			step = info.DType.Bytes(int64(rows * info.Shape.Elems() / info.Shape[0]))
			p.tileBytes[v] = step
		}
		for from := int64(0); from < n; from += step {
			m := min(step, n-from)
			if p.end > 0 && aligned(p.end)+m > p.max {
				p.open()
			}
			p.put(v, from, m)
		}
	}
}

// put makes bytes of a weight the last part of the extent.
func (p *packing) put(v ir.Value, from, n int64) {
	e := &p.extents[p.last]
	p.at[v] = append(p.at[v], place{p.last, len(e.Parts)})
	e.Parts = append(e.Parts, Part{Weight: p.values[v].Name, From: from, Bytes: n, At: aligned(p.end)})
	e.Bytes = aligned(p.end) + n
	p.end = e.Bytes
}

// aligned returns n rounded up to a multiple of Align.
func aligned(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// commonName returns the dotted components that the names of all parts begin
// with, or the first and the last name if they have nothing in common.
func commonName(parts []Part) string {
	first, last := parts[0].Weight, parts[len(parts)-1].Weight
	common := strings.Split(first, ".")
	for _, p := range parts[1:] {
		names := strings.Split(p.Weight, ".")
		n := 0
		for n < len(common) && n < len(names) && common[n] == names[n] {
			n++
		}
		common = common[:n]
	}
	if len(common) == 0 {
		return fmt.Sprintf("%s … %s", first, last)
	}
	return strings.Join(common, ".")
}

// extentsOf returns the extents that operands are in, ascending.
func extentsOf(args []Operand) []int {
	var list []int
	for _, a := range args {
		if a.Extent >= 0 {
			list = append(list, a.Extent)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
