package plan

import (
	"cmp"
	"slices"

	"github.com/weir-run/weir/ir"
)

// placeWithin gives every activation its place in an arena of at most limit
// bytes, where 0 is no limit. If they do not fit as they are, regions of the
// draft are made in pieces. When nothing helps, the result is the smallest
// arena that was found.
func placeWithin(s *draft, limit int64) (*draft, *arena) {
	best, a := s, placeValues(s)
	if limit == 0 {
		return best, a
	}
	for target := limit; a.size > limit && target > 0; {
		cut := chunk(s, target)
		b := placeValues(cut)
		if b.size < a.size {
			best, a = cut, b
		}
		if b.lowerBound > target {
			break
		}
		target -= max(b.size-limit, limit/64) // what the gaps take
	}
	return best, a
}

// chunk makes regions of a draft in pieces, until at most limit bytes are
// live at once or nothing helps any more. It begins where most is live, as
// "AutoChunk" (Zhao et al. 2024) does.
//
// Every piece reads the weights of its region again, so of the regions that
// are small enough it takes the one whose pieces read the fewest bytes of
// weights in all. Since what runs whole moves before the pieces, where it can be
// part of another region, it looks again until it finds none.
func chunk(s *draft, limit int64) *draft {
	s = &draft{values: slices.Clip(s.values), ops: s.ops, inputs: s.inputs, outputs: s.outputs}
	for {
		l := newLiveness(s)
		cuts := l.regions(limit)
		if len(cuts) == 0 {
			return s
		}
		s.ops = nil
		next := 0
		for _, c := range cuts {
			s.ops = append(append(s.ops, l.ops[next:c.from]...), c.cut(s, c.step)...)
			s.pieces = max(s.pieces, c.pieces(c.step))
			next = c.to
		}
		s.ops = append(s.ops, l.ops[next:]...)
		s.regions += len(cuts)
	}
}

// A cutting is a region with the number of rows that its pieces have.
type cutting struct {
	*region
	step int
}

// regions returns regions that lie apart, in order, around the operations
// during which more than limit bytes are live. Where that cannot be reached,
// the others need not be smaller than what remains there.
func (l *liveness) regions(limit int64) []cutting {
	pieces := make([]bool, len(l.ops))
	var full []int
	for t, op := range l.ops {
		pieces[t] = op.piece
		if l.live[t] > limit {
			full = append(full, t)
		}
	}
	slices.SortStableFunc(full, func(a, b int) int { return cmp.Compare(l.live[b], l.live[a]) })
	taken := slices.Clone(pieces)
	var cuts []cutting
	for _, t := range full {
		if l.live[t] <= limit {
			break
		}
		c := l.bestRegion(t, limit, taken)
		if c.region == nil {
			if l.bestRegion(t, limit, pieces).region == nil {
				limit = l.live[t]
			}
			continue
		}
		limit = max(limit, c.peak(c.step))
		cuts = append(cuts, c)
		for i := c.from; i < c.to; i++ {
			taken[i] = true
		}
	}
	slices.SortFunc(cuts, func(a, b cutting) int { return cmp.Compare(a.from, b.from) })
	return cuts
}

// maxRegion is how many operations a region has at most: a block of a
// transformer with the side paths of a LoRA.
const maxRegion = 48

// bestRegion returns the region around operation t in which least is live, or
// among those in which at most limit bytes are the one that reads the fewest
// bytes of weights. The region is nil if there is none in which less is live
// than at t now, or all have operations that are taken.
func (l *liveness) bestRegion(t int, limit int64, taken []bool) (best cutting) {
	var least [3]int64
	for to := t + 1; to <= min(len(l.ops), t+maxRegion) && !taken[to-1]; to++ {
		last := l.ops[to-1]
		for axis, n := range last.out.shape[:last.axes()] {
			if n == 1 || last.out.shape[:axis].Elems() > maxPieces {
				continue
			}
			for from := t; from >= max(0, to-maxRegion) && !taken[from]; from-- {
				r, ok := l.region(from, to, axis)
				if !ok {
					continue
				}
				r.measure()
				step := r.step(limit)
				cost := [3]int64{max(r.peak(step), limit), int64(r.pieces(step)-1) * r.weights, int64(to - from)}
				if r.peak(step) < l.live[t] && r.pieces(step) > 1 && (best.region == nil || less(cost, least)) {
					best, least = cutting{r, step}, cost
				}
			}
		}
	}
	return best
}

func less(a, b [3]int64) bool {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2])) < 0
}

// A liveness is when the values of a draft, as it is now, are in use.
type liveness struct {
	*draft
	// made is the first operation that writes a value, -1 for inputs and
	// weights, and last the one that reads it last, len(ops) for outputs.
	made, last []int
	live       []int64 // bytes in use during each operation
	entering   []int64 // and just before it
}

func newLiveness(s *draft) *liveness {
	n := len(s.ops)
	l := &liveness{draft: &draft{values: s.values, ops: s.ops, inputs: s.inputs, outputs: s.outputs},
		made: make([]int, len(s.values)), last: make([]int, len(s.values)), live: make([]int64, n+2), entering: make([]int64, n+2)}
	for v := range l.made {
		l.made[v], l.last[v] = -1, -1
	}
	for t, op := range s.ops {
		for _, arg := range op.args {
			l.last[arg.of] = t
		}
		if l.made[op.out.of] < 0 {
			l.made[op.out.of] = t
		}
	}
	for _, out := range s.outputs {
		l.last[out.window.of] = n
	}
	for v, info := range s.values {
		if info.Kind != ir.Weight && l.last[v] > l.made[v] {
			l.entering[l.made[v]+1] += aligned(s.bytes(ir.Value(v)))
			l.entering[l.last[v]+1] -= aligned(s.bytes(ir.Value(v)))
		}
	}
	for _, x := range lifetimes(s, shareMemory(s)) {
		l.live[max(x.from, 0)] += x.size
		l.live[x.to+1] -= x.size
	}
	for t := 1; t < n+2; t++ {
		l.live[t] += l.live[t-1]
		l.entering[t] += l.entering[t-1]
	}
	return l
}
