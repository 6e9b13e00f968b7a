package plan

import (
	"slices"

	"github.com/weir-run/weir/ir"
)

// A region is a run of operations whose results are made a piece at a time.
//
// All those that are cut have the same first dimensions, which are the rows of
// the region. A piece is a range of the last of these dimensions at one place
// of the others, so that it is contiguous in every result. What a later
// operation needs is written to its place at once; what only the piece itself
// needs is as small as the piece.
type region struct {
	*liveness
	from, to int      // operations from..to of the draft
	rows     ir.Shape // the last is the dimension that is cut
	forms    []form   // of each operation

	// before is the most bytes that are live while operations run whole; then
	// base are live all the time and perRow for each row of a piece.
	before, base, perRow int64
	// grain is the number of rows of which pieces must consist for their
	// results to be aligned.
	grain   int
	weights int64 // bytes of weights that every piece reads
}

// A form says how a region makes the result of an operation: whole before the
// first piece, in pieces, or both.
type form uint8

const (
	inWhole form = 1 << iota
	inPieces
)

// region returns the region of the operations from..to that is cut as the last
// of them is along the dimension axis, if it can be.
func (l *liveness) region(from, to, axis int) (*region, bool) {
	r := &region{liveness: l, from: from, to: to, rows: l.ops[to-1].out.shape[:axis+1], forms: make([]form, to-from)}
	for t := to - 1; t >= from; t-- {
		op, f := l.ops[t], &r.forms[t-from]
		if *f == 0 {
			*f = inPieces // it is only used after the region
		}
		if *f&inPieces != 0 && !r.cuts(op) || *f == inWhole|inPieces && !cheap(op) {
			*f = inWhole
		}
		for i, arg := range op.args {
			maker := l.made[arg.of]
			if maker < from {
				continue
			}
			if *f&inPieces != 0 && op.rowwise(i, r.rows, l.ops[maker].out.shape) {
				r.forms[maker-from] |= inPieces
			} else if *f&inPieces != 0 {
				r.forms[maker-from] |= inWhole
			}
			if *f&inWhole != 0 {
				r.forms[maker-from] |= inWhole
			}
		}
	}
	if r.forms[0]&inPieces == 0 || r.forms[len(r.forms)-1]&inPieces == 0 {
		return nil, false // the same as a smaller one
	}
	return r, r.align()
}

// cuts reports whether the result of an operation has the rows of the region.
func (r *region) cuts(op *operation) bool {
	return !op.piece && len(r.rows) <= op.axes() && op.out.shape[:len(r.rows)].Equal(r.rows)
}

// cheap reports whether an operation may be computed twice: for all that need
// its whole result, and again in pieces, so that the whole need not be kept.
func cheap(op *operation) bool {
	return op.Kind == ir.Elementwise || op.Kind == ir.LayerNorm || op.Kind == ir.RMSNorm
}

// joins reports whether the pieces of the result of operation t are parts of
// the whole, for operations after the region.
func (r *region) joins(t int) bool {
	return r.forms[t-r.from] == inPieces && r.last[r.ops[t].out.of] >= r.to
}

// inPiece reports whether an operation of the region, in pieces, reads the piece
// of operand i rather than the whole.
func (r *region) inPiece(op *operation, i int) bool {
	t := r.made[op.args[i].of]
	return t >= r.from && r.forms[t-r.from]&inPieces != 0 && !r.joins(t) && op.rowwise(i, r.rows, r.ops[t].out.shape)
}

// rowElems returns the elements of a row of the result of an operation.
func (r *region) rowElems(op *operation) int { return op.out.shape[len(r.rows):].Elems() }

// align computes the grain, and reports whether every piece can be aligned.
func (r *region) align() bool {
	const elems = Align / 4 // all activations are float32
	r.grain = 1
	for t := r.from; t < r.to; t++ {
		if !r.joins(t) {
			continue
		}
		n := r.rowElems(r.ops[t])
		r.grain = lcm(r.grain, lcm(elems, n)/n)
		if r.places() > 1 && r.length()*n%elems != 0 {
			return false
		}
	}
	return true
}

// length returns how long the dimension is that is cut.
func (r *region) length() int { return r.rows[len(r.rows)-1] }

// places returns how often there is that dimension.
func (r *region) places() int { return r.rows[:len(r.rows)-1].Elems() }

// measure finds out how much is live in the region: all whole operations run
// first, then every piece.
func (r *region) measure() {
	const always = 1 << 30
	last := map[ir.Value]int{}      // the operation that reads the whole value last
	lastPiece := map[ir.Value]int{} // and the one that reads its piece last
	for t, op := range r.ops[r.from:r.to] {
		for i, arg := range op.args {
			if r.forms[t]&inWhole != 0 {
				last[arg.of] = max(last[arg.of], t)
			}
			switch {
			case r.forms[t]&inPieces == 0:
			case r.inPiece(op, i):
				lastPiece[arg.of] = t
			case r.values[arg.of].Kind == ir.Weight:
				r.weights += r.bytes(arg.of)
			default:
				last[arg.of] = always
			}
		}
	}
	live := r.entering[r.from]
	for t, op := range r.ops[r.from:r.to] {
		if r.forms[t]&inWhole == 0 {
			continue
		}
		live += aligned(r.bytes(op.out.of))
		r.before = max(r.before, live)
		for _, arg := range op.args {
			if n, ok := last[arg.of]; ok && n == t && r.last[arg.of] < r.to && r.values[arg.of].Kind != ir.Weight {
				live -= aligned(r.bytes(arg.of))
				delete(last, arg.of)
			}
		}
	}
	var piece int64
	for t, op := range r.ops[r.from:r.to] {
		switch {
		case r.forms[t]&inPieces == 0:
			continue
		case r.joins(t + r.from):
			live += aligned(r.bytes(op.out.of))
		default:
			piece += 4 * int64(r.rowElems(op))
		}
		r.perRow = max(r.perRow, piece)
		for _, arg := range op.args {
			if n, ok := lastPiece[arg.of]; ok && n == t {
				piece -= 4 * int64(r.rowElems(r.ops[r.made[arg.of]]))
				delete(lastPiece, arg.of)
			}
		}
	}
	r.base = live
}

// maxPieces is into how many pieces a region is cut at most, so that they are
// still worth the weights that each of them reads.
const maxPieces = 64

// step returns how many rows a piece should have for at most limit bytes to be
// live, or as few as there may be if that cannot be.
func (r *region) step(limit int64) int {
	n := r.length()
	step := max(1, ceilDiv(n*r.places(), maxPieces))
	if r.perRow > 0 {
		step = max(step, int(min((limit-r.base)/r.perRow, int64(n))))
	}
	step = max(step/r.grain, 1) * r.grain
	// As few pieces as possible, all about as large.
	return ceilDiv(ceilDiv(n, ceilDiv(n, step)), r.grain) * r.grain
}

// peak returns the most bytes that are live when pieces have so many rows.
func (r *region) peak(step int) int64 {
	return max(r.before, r.base+r.perRow*int64(min(step, r.length())))
}

// pieces returns how many pieces of so many rows there are.
func (r *region) pieces(step int) int { return r.places() * ceilDiv(r.length(), step) }

// A piece is the part of a region's rows that is made at once.
type piece struct {
	*region
	at       []int // in the dimensions before the one that is cut
	from, to int
	values   map[ir.Value]ir.Value // of this piece, by the whole value
}

// cut returns the operations of the region with pieces of so many rows, and
// adds the values of the pieces to the draft s.
func (r *region) cut(s *draft, step int) []*operation {
	var ops []*operation
	for t, op := range r.ops[r.from:r.to] {
		if r.forms[t]&inWhole != 0 {
			ops = append(ops, op)
		}
	}
	for place := range r.places() {
		at := make([]int, len(r.rows)-1)
		for d, rest := len(at)-1, place; d >= 0; d-- {
			at[d], rest = rest%r.rows[d], rest/r.rows[d]
		}
		for from := 0; from < r.length(); from += step {
			p := &piece{r, at, from, min(from+step, r.length()), map[ir.Value]ir.Value{}}
			for t := range r.forms {
				if r.forms[t]&inPieces != 0 {
					ops = append(ops, p.cut(s, r.from+t))
				}
			}
		}
	}
	return ops
}

// cut returns operation t as it makes its piece.
func (p *piece) cut(s *draft, t int) *operation {
	op := p.ops[t]
	cut := &operation{Op: op.Op, args: slices.Clone(op.args), piece: true}
	for i, w := range op.args {
		w = p.window(w, func(d int) int { return op.axis(i, d) })
		if p.inPiece(op, i) {
			w.offset -= p.start(p.ops[p.made[w.of]])
			w.of = p.values[w.of]
		}
		cut.args[i] = w.canonical()
	}
	cut.out = p.window(op.out, func(d int) int { return d }).canonical()
	if !p.joins(t) {
		info := s.values[op.out.of]
		info.Shape = cut.out.shape
		s.values = append(s.values, info)
		p.values[op.out.of] = ir.Value(len(s.values) - 1)
		cut.out = whole(p.values[op.out.of], info.Shape)
	}
	cut.Out = cut.out.of
	return cut
}

// window returns the part of a window that belongs to the piece; axis returns
// the dimension that goes along with one of the rows, or -1.
func (p *piece) window(w window, axis func(d int) int) window {
	for d := range p.rows {
		from, to := p.from, p.to
		if d < len(p.at) {
			from, to = p.at[d], p.at[d]+1
		}
		if e := axis(d); e >= 0 {
			w = w.slice(e, from, to)
		}
	}
	return w
}

// start returns where the piece begins in the whole result of an operation.
func (p *piece) start(op *operation) int {
	row := 0
	for d, i := range p.at {
		row = (row + i) * p.rows[d+1]
	}
	return (row + p.from) * p.rowElems(op)
}
