package pager

// A flow is what of a schedule passes through a tier: for each use in order
// how long it takes to work with, in seconds, and which extents must have been
// brought in for it.
type flow struct {
	times []float64
	bytes [][]int64 // of the extents that a use is the first to need
}

// flow returns the flow of a schedule when the extents for which streamed is
// true are not kept.
func (s *Schedule) flow(times []float64, streamed []bool) flow {
	f := flow{times, make([][]int64, len(s.uses))}
	for i, use := range s.uses {
		for _, x := range use {
			if streamed[x] && s.order[x][0] == i {
				f.bytes[i] = append(f.bytes[i], s.space.extents[x].Bytes)
			}
		}
	}
	return f
}

// period returns how many seconds a pass takes when it is repeated: transfers
// of rate bytes a second run ahead of the uses, as far as depth bytes of room
// allow, and a use waits for its own.
func (f flow) period(depth int64, rate float64) float64 {
	type item struct {
		bytes   int64
		release float64
	}
	var items []item // all so far
	oldest := 0      // the first of those that have the room
	var held int64
	var link, now, begun float64
	const passes = 3 // the first fills the room, the last is what lasts
	for range passes {
		begun = now
		for i, extents := range f.bytes {
			for _, n := range extents {
				start := link
				for held+n > depth && oldest < len(items) {
					start = max(start, items[oldest].release)
					held -= items[oldest].bytes
					oldest++
				}
				link = start + float64(n)/rate
				held += n
				now = max(now, link)
			}
			now += f.times[i]
			for _, n := range extents {
				items = append(items, item{n, now})
			}
		}
	}
	return now - begun
}

// streamed returns which extents are not kept when the first k of the first n
// in the order of give are given up.
func (s *Schedule) streamed(k int) []bool {
	out := make([]bool, len(s.order))
	for _, x := range s.give[:k] {
		out[x] = true
	}
	return out
}

// deepen returns the depth with which a pass is fastest, of room bytes for the
// first n extents in the order of give: the more is set aside for streaming,
// the less transfers and uses wait for each other, and the more must be
// streamed.
func (s *Schedule) deepen(n int, room int64, times []float64, rate float64) int64 {
	best, fastest := s.largest+s.extent, 0.0
	const steps = 24
	for i := range steps {
		depth := s.largest + s.extent + int64(i)*max(room/2-s.largest-s.extent, 0)/steps
		k := s.keeps(n, room, depth)
		if k == 0 {
			return depth // everything stays
		}
		t := s.flow(times, s.streamed(k)).period(depth, rate)
		if i == 0 || t < 0.99*fastest {
			best, fastest = depth, t
		}
	}
	return best
}
