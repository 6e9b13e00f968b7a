package plan

import (
	"cmp"

	"github.com/weir-run/weir/ir"
)

// placeWithin gives every activation its place in an arena of at most limit
// bytes, where 0 is no limit. If they do not fit as they are, regions of the
// schedule are made in pieces. When nothing helps, the result is the smallest
// arena that was found.
func placeWithin(s *schedule, limit int64) (*schedule, *arena) {
	best, a := s, placeValues(s)
	if limit == 0 {
		return best, a
	}
	for target, least := limit, false; a.size > limit && target > 0; {
		cut := chunk(s, target)
		b := placeValues(cut)
		if b.size <= a.size {
			best, a = cut, b
		}
		switch {
		case least:
			return best, a
		case b.lowerBound > target: // once more, in no more pieces than that takes
			target, least = b.lowerBound, true
		default:
			target -= max(b.size-limit, limit/64) // what the gaps take
		}
	}
	return best, a
}

// chunk makes regions of a schedule in pieces, until at most limit bytes are
// live at once or nothing helps any more. It begins where most is live, as
// "AutoChunk" (Zhao et al. 2024) does.
//
// Every piece reads the weights of its region again, so of the regions that
// are small enough it takes the one whose pieces read the fewest bytes of
// weights in all.
func chunk(s *schedule, limit int64) *schedule {
	s = &schedule{values: s.values[:len(s.values):len(s.values)], ops: s.ops, inputs: s.inputs, outputs: s.outputs}
	hopeless := map[*operation]bool{}
	for l := newLiveness(s); ; {
		t := l.fullest(hopeless)
		if t < 0 || l.live[t] <= limit {
			return s
		}
		r, step := l.bestRegion(t, limit)
		if r == nil {
			hopeless[l.ops[t]] = true
			continue
		}
		ops := append(make([]*operation, 0, len(s.ops)+r.pieces(step)*len(r.forms)), s.ops[:r.from]...)
		ops = append(ops, r.cut(s, step)...)
		s.ops = append(ops, l.ops[r.to:]...)
		s.regions++
		s.pieces = max(s.pieces, r.pieces(step))
		l = newLiveness(s)
	}
}

// maxRegion is how many operations a region has at most: a block of a
// transformer with the side paths of a LoRA.
const maxRegion = 48

// bestRegion returns the region around operation t in which least is live, or
// among those in which at most limit bytes are the one that reads the fewest
// bytes of weights, and the rows of its pieces. It returns nil if there is none
// in which less is live than at t now.
func (l *liveness) bestRegion(t int, limit int64) (best *region, step int) {
	var bestCost [3]int64
	for to := t + 1; to <= min(len(l.ops), t+maxRegion) && !l.ops[to-1].piece; to++ {
		last := l.ops[to-1]
		for axis, n := range last.out.shape[:last.axes()] {
			if n == 1 || last.out.shape[:axis].Elems() > maxPieces {
				continue
			}
			for from := t; from >= max(0, to-maxRegion) && !l.ops[from].piece; from-- {
				r, ok := l.region(from, to, axis)
				if !ok {
					continue
				}
				r.measure()
				n := r.step(limit)
				cost := [3]int64{max(r.peak(n), limit), int64(r.pieces(n)-1) * r.weights, int64(to - from)}
				if r.peak(n) < l.live[t] && r.pieces(n) > 1 && (best == nil || less(cost, bestCost)) {
					best, step, bestCost = r, n, cost
				}
			}
		}
	}
	return best, step
}

func less(a, b [3]int64) bool {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2])) < 0
}

// A liveness is when the values of a schedule are in use.
type liveness struct {
	*schedule
	// made is the first operation that writes a value, -1 for inputs and
	// weights, and last the one that reads it last, len(ops) for outputs.
	made, last []int
	live       []int64 // bytes in use during each operation
	entering   []int64 // and just before it
}

func newLiveness(s *schedule) *liveness {
	// The operations are those of now, whatever becomes of the schedule.
	n := len(s.ops)
	l := &liveness{schedule: &schedule{values: s.values, ops: s.ops, inputs: s.inputs, outputs: s.outputs},
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

// fullest returns the operation during which most bytes are in use, except
// some, or -1.
func (l *liveness) fullest(except map[*operation]bool) int {
	most := -1
	for t, op := range l.ops {
		if (most < 0 || l.live[t] > l.live[most]) && !except[op] {
			most = t
		}
	}
	return most
}
