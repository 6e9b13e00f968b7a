package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/ir"
)

// weightOrder returns the weights in the order of their first use, those that
// an operation is the first to use together.
func weightOrder(s *schedule) [][]ir.Value {
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
// largest size is cut into the tiles that cutRows has chosen.
func packWeights(s *schedule, order [][]ir.Value, tiles map[ir.Value]int, maxExtent int64) *weightLayout {
	l := &weightLayout{at: map[ir.Value][]place{}, tileBytes: map[ir.Value]int64{}}
	var end int64 // of the last part of the last extent
	put := func(v ir.Value, from, n int64) {
		e := &l.extents[len(l.extents)-1]
		l.at[v] = append(l.at[v], place{len(l.extents) - 1, len(e.Parts)})
		e.Parts = append(e.Parts, Part{Weight: s.values[v].Name, From: from, Bytes: n, At: aligned(end)})
		e.Bytes = aligned(end) + n
		end = e.Bytes
	}
	open := func() {
		l.extents = append(l.extents, Extent{})
		end = 0
	}
	for _, group := range order {
		var together int64
		for _, v := range group {
			together += aligned(s.bytes(v))
		}
		tiny := end <= maxExtent/64 // too little to be moved by itself
		if len(l.extents) == 0 || aligned(end)+together > maxExtent/4 && !(tiny && aligned(end)+together <= maxExtent) {
			open()
		}
		for _, v := range group {
			n := s.bytes(v)
			step := n
			if rows := tiles[v]; rows > 0 {
				info := &s.values[v]
				step = info.DType.Bytes(int64(rows * info.Shape.Elems() / info.Shape[0]))
				l.tileBytes[v] = step
			}
			for from := int64(0); from < n; from += step {
				m := min(step, n-from)
				if end > 0 && aligned(end)+m > maxExtent {
					open()
				}
				put(v, from, m)
			}
		}
	}
	for i := range l.extents {
		l.extents[i].Name = commonName(l.extents[i].Parts)
	}
	return l
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
