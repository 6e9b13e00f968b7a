package plan

import (
	"cmp"
	"slices"

	"github.com/weir-run/weir/ir"
)

// An arena is where the activations are.
type arena struct {
	size, lowerBound int64
	offsets          []int64 // by value
}

// A lifetime is the time during which memory holds values, from the operation
// that makes the first to the one that reads the last, both included. Time
// -1 is before the first operation.
type lifetime struct {
	value    ir.Value // the first
	from, to int
	size, at int64
}

// placeValues gives every activation its place in the arena.
func placeValues(s *draft) *arena {
	home := shareMemory(s)
	lives := lifetimes(s, home)
	a := &arena{offsets: make([]int64, len(s.values)), lowerBound: lowerBound(lives)}
	a.size = packLifetimes(lives, a.lowerBound)
	for _, l := range lives {
		a.offsets[l.value] = l.at
	}
	for v := range a.offsets {
		a.offsets[v] = a.offsets[home[v]]
	}
	return a
}

// lifetimes returns how long each home of values is in use. Inputs are there
// from the beginning and outputs to the end.
func lifetimes(s *draft, home []ir.Value) []*lifetime {
	of := make([]*lifetime, len(s.values))
	var lives []*lifetime
	touch := func(v ir.Value, t int) {
		if s.values[v].Kind == ir.Weight {
			return
		}
		h := home[v]
		if of[h] == nil {
			of[h] = &lifetime{value: h, from: t, size: aligned(s.bytes(h))}
			lives = append(lives, of[h])
		}
		of[h].to = t
	}
	for _, v := range s.inputs {
		touch(v, -1)
	}
	for t, op := range s.ops {
		for _, arg := range op.args {
			touch(arg.of, t)
		}
		touch(op.out.of, t)
	}
	for _, out := range s.outputs {
		touch(out.window.of, len(s.ops))
	}
	return lives
}

// lowerBound returns the largest sum of sizes that are in use at once.
func lowerBound(lives []*lifetime) int64 { return slices.Max(append(breadths(lives), 0)) }

// breadths returns the sum of the sizes that are in use at each time, the first
// of which is -1.
func breadths(lives []*lifetime) []int64 {
	last := -1
	for _, l := range lives {
		last = max(last, l.to)
	}
	sums := make([]int64, last+3)
	for _, l := range lives {
		sums[l.from+1] += l.size
		sums[l.to+2] -= l.size
	}
	for i := 1; i < len(sums); i++ {
		sums[i] += sums[i-1]
	}
	return sums
}

// packLifetimes gives each lifetime its place so that no two that overlap in
// time overlap in memory, and returns the memory they need. They are placed one
// after another, each into the smallest gap that holds it. Several orders are
// tried until one needs no more than the lower bound, and the best is kept.
func packLifetimes(lives []*lifetime, bound int64) int64 {
	best, places := int64(-1), make([]int64, len(lives))
	for _, order := range []func([]*lifetime) []*lifetime{bySize, byBeginning, byBreadth} {
		if size := packInOrder(order(slices.Clone(lives))); best < 0 || size < best {
			best = size
			for i, l := range lives {
				places[i] = l.at
			}
		}
		if best == bound {
			break
		}
	}
	for i, l := range lives {
		l.at = places[i]
	}
	return best
}

// bySize puts the largest first, as in "Efficient Memory Management for Deep
// Neural Net Inference" (Pisarchyk and Lee, 2020), greedy by size.
func bySize(lives []*lifetime) []*lifetime {
	slices.SortStableFunc(lives, func(a, b *lifetime) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.from, b.from))
	})
	return lives
}

// byBeginning puts first what begins first.
func byBeginning(lives []*lifetime) []*lifetime {
	slices.SortStableFunc(lives, func(a, b *lifetime) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.size, a.size))
	})
	return lives
}

// byBreadth puts first what is in use when most is, the largest first: greedy by
// breadth of the same paper.
func byBreadth(lives []*lifetime) []*lifetime {
	most := make(map[*lifetime]int64, len(lives)) // in use at once while it is
	sums := breadths(lives)
	for _, l := range lives {
		for t := l.from; t <= l.to; t++ {
			most[l] = max(most[l], sums[t+1])
		}
	}
	slices.SortStableFunc(lives, func(a, b *lifetime) int {
		return cmp.Or(cmp.Compare(most[b], most[a]), cmp.Compare(b.size, a.size), cmp.Compare(a.from, b.from))
	})
	return lives
}

// packInOrder places the lifetimes one after the other and returns the memory
// they need.
func packInOrder(lives []*lifetime) int64 {
	type block struct {
		at, end  int64
		from, to int
	}
	var placed []block // by place
	var size int64
	for _, l := range lives {
		best, bestGap, end := int64(-1), int64(0), int64(0)
		for i := range placed {
			p := &placed[i]
			if p.from > l.to || p.to < l.from {
				continue
			}
			if gap := p.at - end; gap >= l.size && (best < 0 || gap < bestGap) {
				best, bestGap = end, gap
			}
			end = max(end, p.end)
		}
		if best < 0 {
			best = end
		}
		l.at = best
		size = max(size, best+l.size)
		i, _ := slices.BinarySearchFunc(placed, best, func(p block, at int64) int { return cmp.Compare(p.at, at) })
		placed = slices.Insert(placed, i, block{best, best + l.size, l.from, l.to})
	}
	return size
}
