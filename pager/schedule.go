package pager

import (
	"fmt"
	"slices"
)

// A Schedule is the order in which a program uses the extents of a space. It
// is made once and begun for each run.
type Schedule struct {
	space *Space
	uses  [][]int
	// order holds, for each extent, the uses it is part of, ascending.
	order [][]int
	// give is the extents in the order in which they are given up as memory gets
	// less. However many are, they are spread evenly over the time of a pass.
	give    []int
	bytes   int64 // of all extents that are used
	largest int64 // of the extents of one use
	extent  int64 // of the largest extent
	scratch int64 // of the host's memory, for computing one extent at a time

	// What was learnt from the passes so far: how many seconds each use is worked
	// with, how many bytes beside those that are kept are best set aside for
	// streaming on each tier, and what was kept the last time.
	times  []float64
	passes int
	depth  [2]int64
	room   [2]int64 // that depth was chosen for
	split  [2]Split
}

// A Split says what of a program's weights stays in memory while it runs, and
// what passes through in each run, in bytes.
type Split struct{ Kept, Streamed int64 }

// Split returns what the last pass of the schedule kept where kernels read
// it, and what of the rest came from the host's memory rather than from disk.
// On a unified device both are the same.
func (s *Schedule) Split() (top, ram Split) {
	p := s.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.split[p.top.index], s.split[p.ram.index]
}

// Scratch returns how many bytes of the host's memory are claimed while a pass of
// the schedule runs, to compute the extents that are not mapped.
func (s *Schedule) Scratch() int64 { return s.scratch }

// Room returns how many bytes weights and activations of the schedule may now take
// together where kernels read them. It is 0 where computing extents finds no room.
func (s *Schedule) Room() int64 {
	p := s.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ram.Claimed+p.furtherLocked(s) > p.ram.Budget {
		return 0
	}
	return p.roomForLocked(p.top, s)
}

// furtherLocked returns how much more than for the passes that run must be claimed
// to compute the extents of a schedule.
func (p *Pager) furtherLocked(s *Schedule) int64 { return max(s.scratch-p.scratch, 0) }

// roomForLocked returns how many bytes of a tier are left for activations and
// weights when the extents of a schedule can be computed.
func (p *Pager) roomForLocked(t *tier, s *Schedule) int64 {
	n := t.Budget - t.Claimed
	if t == p.ram {
		n -= p.furtherLocked(s)
	}
	return n
}

// reserveLocked claims what computing an extent takes of the passes that run.
func (p *Pager) reserveLocked() {
	var most int64
	for _, ps := range p.passes {
		most = max(most, ps.sched.scratch)
	}
	p.makeRoomLocked(p.ram, most-p.scratch, demand)
	p.ram.Claimed += most - p.scratch
	p.scratch = most
	p.ram.grown()
}

// Times returns how many seconds each use was worked with in the passes so
// far, the later ones counting more; zeros before the first.
func (s *Schedule) Times() []float64 {
	p := s.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(s.times)
}

// Schedule returns a schedule of the space: uses are, for each use in order,
// the indices in the manifest of the extents that must be resident at once,
// and costs are how long each takes to work with, in any unit, or nil if they
// are all alike.
func (s *Space) Schedule(uses [][]int, costs []float64) (*Schedule, error) {
	if costs != nil && len(costs) != len(uses) {
		return nil, fmt.Errorf("%s: %d costs of %d uses", s.name, len(costs), len(uses))
	}
	c := &Schedule{space: s, uses: uses, order: make([][]int, len(s.extents)), times: make([]float64, len(uses))}
	for i, use := range uses {
		var need int64
		for k, x := range use {
			if x < 0 || x >= len(s.extents) {
				return nil, fmt.Errorf("%s: use %d names extent %d of %d", s.name, i, x, len(s.extents))
			}
			if slices.Contains(use[:k], x) {
				return nil, fmt.Errorf("%s: use %d names extent %d twice", s.name, i, x)
			}
			e := s.extents[x]
			need += e.Bytes
			if len(c.order[x]) == 0 {
				c.bytes += e.Bytes
				c.extent = max(c.extent, e.Bytes)
				c.scratch = max(c.scratch, e.scratch())
			}
			c.order[x] = append(c.order[x], i)
		}
		c.largest = max(c.largest, need)
	}
	if costs == nil {
		costs = slices.Repeat([]float64{1}, len(uses))
	}
	c.give = c.evenly(costs)
	// One use is worked with, and one extent is on its way beside one that is
	// ready.
	c.depth = [2]int64{c.largest + 2*c.extent, c.largest + 2*c.extent}
	return c, nil
}

// evenly returns the extents in the order in which they are given up when uses
// cost as much time as they say.
func (s *Schedule) evenly(costs []float64) []int {
	var used []int // extents, by first use
	var points []float64
	var bytes []int64
	now := 0.0
	for i, use := range s.uses {
		for _, x := range use {
			if s.order[x][0] == i {
				used = append(used, x)
				points, bytes = append(points, now), append(bytes, s.space.extents[x].Bytes)
			}
		}
		now += costs[i]
	}
	order := spread(points, bytes, now)
	for i, k := range order {
		order[i] = used[k]
	}
	return order
}

// spread returns the indices of ascending points in [0, end) in an order of
// which every beginning is spread evenly: the point nearest to the middle, and
// then those of both halves in turn, of which the one that has given fewer
// bytes gives next. For points that lie evenly it is the van der Corput
// sequence.
func spread(points []float64, sizes []int64, end float64) []int {
	var halve func(from, to int, low, high float64) []int
	halve = func(from, to int, low, high float64) []int {
		if from >= to {
			return nil
		}
		middle := (low + high) / 2
		m, _ := slices.BinarySearch(points[from:to], middle)
		m = min(from+m, to-1)
		left, right := halve(from, m, low, middle), halve(m+1, to, middle, high)
		out := append(make([]int, 0, to-from), m)
		var given int64 // by the left half more than by the right one
		for len(left)+len(right) > 0 {
			if given <= 0 && len(left) > 0 || len(right) == 0 {
				given += sizes[left[0]]
				out, left = append(out, left[0]), left[1:]
			} else {
				given -= sizes[right[0]]
				out, right = append(out, right[0]), right[1:]
			}
		}
		return out
	}
	return halve(0, len(points), 0, end)
}

// givenUpLocked returns how many of the extents that may be given up, the first
// n in the order of give, are given up when those that stay may take room bytes
// in all, and depth bytes of it are needed to let the others through.
func (s *Schedule) givenUpLocked(n int, room, depth int64) int {
	var total int64
	for _, x := range s.give[:n] {
		total += s.space.extents[x].Bytes
	}
	if total <= room {
		return 0
	}
	for k, x := range s.give[:n] {
		if total <= max(room-depth, 0) {
			return k
		}
		total -= s.space.extents[x].Bytes
	}
	return n
}

// inOrderLocked returns the extents in the order in which the classic way gives
// them up: the last first.
func (s *Schedule) inOrderLocked() []int {
	last := slices.Clone(s.give)
	slices.SortFunc(last, func(a, b int) int { return s.order[b][0] - s.order[a][0] })
	return last
}

// givenUpClassicLocked returns how many extents the classic way gives up, of
// those in the order of inOrderLocked: it knows no schedule, so it keeps room for
// one use.
func (s *Schedule) givenUpClassicLocked(room int64) int {
	total := s.bytes
	if total <= room {
		return 0
	}
	order := s.inOrderLocked()
	for k, x := range order {
		if total <= room-s.largest {
			return k
		}
		total -= s.space.extents[x].Bytes
	}
	return len(order)
}
