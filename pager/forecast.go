package pager

// A forecast plays what a schedule will do: uses work one after another,
// transfers run ahead of them as far as the room for streaming allows, and a
// use waits for its own.
type forecast struct {
	sched *Schedule
	times []float64 // how many seconds each use is worked with
	// The tiers that extents pass through, from the disk on: the host's memory
	// and, on a discrete device, the device's. What is streamed through the first
	// is streamed through the second.
	tiers []channel
}

// A channel is the way to a tier.
type channel struct {
	rate     float64 // bytes a second
	streamed []bool  // by extent: what is not kept
	depth    int64   // the room for what is streamed

	free  float64 // when the last transfer ended
	held  int64   // by what is streamed
	items []item  // that took room, in order
	first int     // of those that still have it
}

// An item is an extent that passed through.
type item struct {
	bytes    int64
	released float64 // when it gave its room back
}

// transfer returns when the extent arrives that can set out at the time given.
func (c *channel) transfer(x int, bytes int64, ready float64) float64 {
	start := max(c.free, ready)
	if c.streamed[x] {
		for c.held+bytes > c.depth && c.first < len(c.items) {
			start = max(start, c.items[c.first].released)
			c.held -= c.items[c.first].bytes
			c.first++
		}
		c.held += bytes
	}
	c.free = start + float64(bytes)/c.rate
	return c.free
}

// release gives the room of an extent back.
func (c *channel) release(x int, bytes int64, now float64) {
	if c.streamed[x] {
		c.items = append(c.items, item{bytes, now})
	}
}

// passes returns how many seconds each of n passes takes. Cold, nothing is in
// memory when the first begins.
func (f *forecast) passes(n int, cold bool) []float64 {
	took := make([]float64, n)
	now := 0.0
	for pass := range n {
		begun := now
		for i, use := range f.sched.uses {
			for _, x := range use {
				if f.sched.order[x][0] == i {
					now = max(now, f.fetch(x, cold && pass == 0))
				}
			}
			now += f.times[i]
			top := &f.tiers[len(f.tiers)-1]
			for _, x := range use {
				if uses := f.sched.order[x]; uses[len(uses)-1] == i {
					top.release(x, f.sched.space.extents[x].Bytes, now)
				}
			}
		}
		took[pass] = now - begun
	}
	return took
}

// fetch brings an extent where it is used and returns when it is there. What
// passes through a lower tier leaves it when it has reached the next.
func (f *forecast) fetch(x int, cold bool) (at float64) {
	bytes := f.sched.space.extents[x].Bytes
	for k := range f.tiers {
		c := &f.tiers[k]
		if !cold && !c.streamed[x] {
			continue
		}
		at = c.transfer(x, bytes, at)
		if k > 0 {
			f.tiers[k-1].release(x, bytes, at)
		}
	}
	return at
}

// streamedLocked returns which extents are not kept when the first k in the
// order of give are given up.
func (s *Schedule) streamedLocked(k int) []bool {
	out := make([]bool, len(s.order))
	for _, x := range s.give[:k] {
		out[x] = true
	}
	return out
}

// deepenLocked returns the depth with which a pass is fastest, of room bytes
// for the first n extents in the order of give: the more is set aside for
// streaming, the less transfers and uses wait for each other, and the more must
// be streamed. To change it moves extents, so another depth than the present
// one must be worth it.
func (s *Schedule) deepenLocked(n int, room, present int64, times []float64, rate float64) int64 {
	least := s.largest + s.extent
	most := max(room/2, least)
	best := min(max(present, least), most)
	fastest := s.periodLocked(n, room, best, times, rate)
	const steps = 24
	for i := range int64(steps) {
		depth := least + i*(most-least)/steps
		if t := s.periodLocked(n, room, depth, times, rate); t < 0.99*fastest {
			best, fastest = depth, t
		}
	}
	return best
}

// periodLocked returns how many seconds a repeated pass takes with such a
// depth.
func (s *Schedule) periodLocked(n int, room, depth int64, times []float64, rate float64) float64 {
	f := forecast{s, times, []channel{{rate: rate, streamed: s.streamedLocked(s.givenUpLocked(n, room, depth)), depth: depth}}}
	const passes = 3 // the first fills the room, the last is what lasts
	return f.passes(passes, false)[passes-1]
}

// Rates are how fast everything is, in bytes a second.
type Rates struct {
	Disk float64 // from files to the host's memory
	Link float64 // from there to a discrete device
}

// A Prediction is what a schedule will do when it is alone.
type Prediction struct {
	// Top is what stays where kernels read it and what passes through in each
	// pass, and RAM the same of the host's memory: what is streamed there is read
	// from disk. On a unified device both are the same.
	Top, RAM Split
	// First is how many seconds the first pass takes, with nothing in memory, and
	// Later each that follows.
	First, Later float64
	// Compute is how many of them are work, whatever has to be waited for.
	Compute float64
	// Bound is how long a later pass takes at least, whatever the policy.
	Bound float64
}

// Predict tells what the policy will do with the schedule under the budgets
// there are now, for a pass that needs so many bytes for activations and whose
// uses take so many seconds each. It decides as a pass does that has measured
// those times and rates, and moves nothing.
func (s *Schedule) Predict(activations int64, times []float64, r Rates) Prediction {
	p := s.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	var levels []level // where kernels read first
	var memory int64   // from where a rate ends to where kernels read
	bound := 0.0
	n := len(s.give)
	for _, t := range p.tiers() {
		l := level{room: p.roomForLocked(t, s), rate: r.Disk}
		if t == p.top {
			l.room -= activations
		}
		if t == p.vram {
			l.rate = r.Link
		}
		l.depth = s.deepenLocked(n, l.room, s.depth[t.index], times, l.rate)
		n = s.givenUpLocked(n, l.room, l.depth)
		levels = append(levels, l)
		memory += l.room
		bound = max(bound, s.bound(times, memory, l.rate))
	}
	var out Prediction
	// What is in the room for streaming and is needed soonest stays there, as long
	// as the room is not needed for more. So a pass is as fast as with the best
	// part of the room for streaming and the rest for what is kept.
	const parts = 8
	for part := range parts + 1 {
		x := s.playLocked(levels, float64(part)/parts, times)
		if part == 0 || x.Later < out.Later {
			out = x
		}
	}
	out.Bound = bound
	for _, t := range times {
		out.Compute += t
	}
	return out
}

// A level is a tier as a prediction sees it.
type level struct {
	room, depth int64
	rate        float64
}

// playLocked predicts with a part of the room that is set aside for streaming.
func (s *Schedule) playLocked(levels []level, part float64, times []float64) (out Prediction) {
	f := forecast{sched: s, times: times}
	n := len(s.give)
	for i, l := range levels {
		depth := int64(part * float64(l.depth))
		n = s.givenUpLocked(n, l.room, depth)
		f.tiers = append([]channel{{rate: l.rate, streamed: s.streamedLocked(n), depth: depth}}, f.tiers...)
		out.RAM = s.splitAtLocked(n)
		if i == 0 {
			out.Top = out.RAM
		}
	}
	const passes = 4
	took := f.passes(passes, true)
	out.First, out.Later = took[0], took[passes-1]
	return out
}

// splitAtLocked returns what is kept and what is streamed when the first k
// extents in the order of give are given up.
func (s *Schedule) splitAtLocked(k int) (split Split) {
	split.Kept = s.bytes
	for _, x := range s.give[:k] {
		split.Kept -= s.space.extents[x].Bytes
		split.Streamed += s.space.extents[x].Bytes
	}
	return split
}

// bound returns how many seconds a pass takes at least, whatever is kept, when
// what is missing comes at rate bytes a second into room bytes of memory: for
// any stretch of uses, those outside of it take their time, and what of the
// stretch was not there when it began must come in before it ends.
func (s *Schedule) bound(times []float64, room int64, rate float64) float64 {
	n := len(s.uses)
	// Sums up to each use of two passes one after the other.
	work, bytes := make([]float64, 2*n+1), make([]int64, 2*n+1)
	for i := range 2 * n {
		work[i+1], bytes[i+1] = work[i]+times[i%n], bytes[i]
		for _, x := range s.uses[i%n] {
			if s.order[x][0] == i%n {
				bytes[i+1] += s.space.extents[x].Bytes
			}
		}
	}
	least := work[n]
	for from := range n {
		for to := from + 1; to <= from+n; to++ {
			missing := bytes[to] - bytes[from] - room
			least = max(least, work[n]-(work[to]-work[from])+float64(missing)/rate)
		}
	}
	return least
}
