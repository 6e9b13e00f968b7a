package plan

import (
	"slices"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
)

// maxTiles bounds the operations of a program whose weights are cut into tiles.
// A program of more would take the memory that it is to spare.
const maxTiles = 1 << 17

// cutRows cuts the weights that are larger than maxExtent into tiles of rows,
// and the operations that use them into one for each tile. It returns the rows
// of a tile of each such weight. It fails if a weight is used in a way that
// needs all of it at once, or if there would be too many operations.
func cutRows(s *draft, maxExtent int64) (map[ir.Value]int, error) {
	tiles := map[ir.Value]int{}
	units := map[ir.Value]int{} // rows that must stay together
	for _, op := range s.ops {
		for i, arg := range op.args {
			info := &s.values[arg.of]
			if info.Kind != ir.Weight || s.bytes(arg.of) <= maxExtent {
				continue
			}
			unit, ok := rowUnit(op, i, info.Shape)
			rows := 0
			if ok {
				unit = lcm(max(units[arg.of], 1), lcm(unit, blockRows(info)))
				piece := info.DType.Bytes(int64(unit * info.Shape.Elems() / info.Shape[0]))
				rows = int(min(maxExtent/piece*int64(unit), int64(info.Shape[0]))) / unit * unit
			}
			if rows == 0 {
				return nil, fault.New(fault.Memory, "weight %s (%v %v, %d bytes) is larger than an extent of %d bytes and %s %s cannot use it in tiles of rows; "+
					"plan with larger extents", info.Name, info.DType, info.Shape, s.bytes(arg.of), maxExtent, op.Kind, op.Name)
			}
			// As few tiles as possible, all about as large.
			n := ceilDiv(info.Shape[0], rows)
			tiles[arg.of] = ceilDiv(ceilDiv(info.Shape[0], n), unit) * unit
			units[arg.of] = unit
		}
	}
	if len(tiles) == 0 {
		return nil, nil
	}
	tile := func(op *operation) int { // the rows of a tile, 0 for an operation that is not cut
		if len(op.args) < 2 {
			return 0
		}
		return tiles[op.args[1].of]
	}
	total := 0
	for _, op := range s.ops {
		if rows := tile(op); rows > 0 {
			total += ceilDiv(op.args[1].shape[0], rows)
		}
	}
	if total > maxTiles {
		return nil, fault.New(fault.Memory, "the weights would be used in %d tiles of at most %d bytes, expected at most %d tiles; plan with larger extents", total, maxExtent, maxTiles)
	}
	var ops []*operation
	for _, op := range s.ops {
		if rows := tile(op); rows > 0 {
			ops = append(ops, s.cut(op, rows)...)
		} else {
			ops = append(ops, op)
		}
	}
	s.ops = ops
	return tiles, nil
}

// blockRows returns how many rows of a weight are whole blocks: tiles begin and
// end where blocks do.
func blockRows(info *ir.ValueInfo) int {
	block, _ := info.DType.Block()
	row := info.Shape.Elems() / info.Shape[0]
	return lcm(row, block) / row
}

// rowUnit returns how many rows of a weight of the given shape, which is
// operand i, must stay together, and whether the operation can use the weight
// in tiles of rows.
func rowUnit(op *operation, i int, shape ir.Shape) (unit int, ok bool) {
	if i != 1 || isStepOperand(op.Steps, i) {
		return 0, false
	}
	switch op.Kind {
	case ir.Linear, ir.Embedding:
		unit = 1
	case ir.Conv:
		unit = 1
		if op.Attrs.Groups > 1 {
			unit = op.args[1].shape[0] / op.Attrs.Groups
		}
	default:
		return 0, false
	}
	// The operand must be a run of rows.
	w, row := op.args[1], shape.Elems()/shape[0]
	return unit, w.contiguous() && w.shape.Elems()/w.shape[0] == row && w.offset%(row*unit) == 0
}

// cut returns an operation for each tile of the weight that op uses.
func (s *draft) cut(op *operation, rows int) []*operation {
	w := op.args[1]
	first := w.offset / (w.shape.Elems() / w.shape[0]) // row of the weight
	var ops []*operation
	for from := 0; from < w.shape[0]; {
		to := min(w.shape[0], from+rows-(first+from)%rows)
		tile := *op
		tile.Attrs.RowFrom, tile.Attrs.RowTo = from, to
		tile.args = slices.Clone(op.args)
		tile.args[1] = w.slice(0, from, to)
		ops = append(ops, &tile)
		from = to
	}
	return ops
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// lcm returns the least common multiple.
func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
