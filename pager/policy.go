package pager

import "math"

// never is the next use of extents that no running pass uses.
const never = math.MaxInt64

// demand, as the distance of what room is made for, is that of a use that
// waits.
const demand = -1

// balanceLocked decides what each running pass keeps on each tier. One that
// fits keeps everything. Otherwise its room, less what streaming needs, holds a
// fixed part, and the rest, spread evenly over the pass, passes through: for a
// cycle no choice moves fewer bytes (Belady, 1966). What a pass keeps on a
// discrete device it need not keep in the host's memory too.
func (p *Pager) balanceLocked() {
	var all int64
	for _, ps := range p.passes {
		all += ps.sched.bytes
	}
	for _, ps := range p.passes {
		n := len(ps.sched.give)
		for _, t := range p.tiers() {
			room := t.Budget - t.Activations - t.Claimed
			if p.idle != nil && t == p.top {
				room += p.idle.size
			}
			if all > room { // others run too: each has its share
				room = int64(float64(room) * (float64(ps.sched.bytes) / float64(max(all, 1))))
			}
			n = ps.giveUpLocked(t, n, room)
		}
	}
}

// giveUpLocked divides the first n extents in the order of give: the pass gives
// up as many of the first as it must on a tier with so many bytes of room, and
// keeps the others. It returns how many it gives up.
func (ps *Pass) giveUpLocked(t *tier, n int, room int64) int {
	s := ps.sched
	s.adaptLocked(t, n, room)
	k := s.givenUpLocked(n, room, s.depth[t.index])
	give := s.give
	if ps.space.pager.options.Mode == Classic {
		// The first that fit stay, whatever is best.
		give = s.inOrderLocked()
		k = s.givenUpClassicLocked(room)
	}
	split := Split{}
	for i, x := range give {
		e := ps.space.extents[x]
		keeps := i >= k && i < n
		if i < k {
			split.Streamed += e.Bytes
		} else {
			split.Kept += e.Bytes
		}
		if kept := ps.kept[t.index]; kept[x] != keeps {
			kept[x] = keeps
			if keeps {
				t.of(e).keeps++
			} else {
				t.of(e).keeps--
			}
		}
		t.place(e)
	}
	s.split[t.index] = split
	return k
}

// adaptLocked chooses how much of the room is for streaming, once it is known
// how long uses and transfers take, and again when the room has changed.
func (s *Schedule) adaptLocked(t *tier, n int, room int64) {
	i := t.index
	if s.passes == 0 || t.rate == 0 || s.bytes <= room {
		return
	}
	known := s.passes <= 4 || s.passes%8 == 0 // times settle within a few passes
	if change := room - s.room[i]; !known && change < room/8 && change > -room/8 {
		return
	}
	s.depth[i], s.room[i] = s.deepenLocked(n, room, s.depth[i], s.times, t.rate), room
}

// makeRoomLocked evicts until n more bytes fit in the budget: for a use that
// waits whatever is not pinned, for one that is some uses away only what is
// needed later. It reports whether they fit; if not, what it has evicted stays
// evicted.
func (p *Pager) makeRoomLocked(t *tier, n, distance int64) bool {
	for t.Held()+n > t.Budget {
		if p.idle != nil && t == p.top {
			p.freeIdleLocked()
			continue
		}
		e := p.victimLocked(t, distance)
		if e == nil {
			return false
		}
		p.evictLocked(t, e)
	}
	return true
}

// victimLocked chooses what to evict: what no running pass uses and was used
// longest ago; then what passes let go of, the one needed last; then, for a use
// that waits, what they keep.
func (p *Pager) victimLocked(t *tier, distance int64) *extent {
	for e := t.cold.first; e != nil; e = t.of(e).next {
		if t.of(e).pins == 0 { // the other tier may be reading it
			return e
		}
	}
	if e := p.furthestLocked(t, &t.loose, distance); e != nil || distance != demand {
		return e
	}
	return p.furthestLocked(t, &t.kept, distance)
}

// furthestLocked returns the extent of a list that is needed last, and not
// within the distance.
func (p *Pager) furthestLocked(t *tier, l *list, distance int64) *extent {
	var best *extent
	for e := l.first; e != nil; e = t.of(e).next {
		if t.of(e).pins > 0 {
			continue
		}
		if next := p.nextUseLocked(t, e); next > distance {
			best, distance = e, next
		}
	}
	return best
}

// nextUseLocked returns in how many uses an extent is needed on a tier, by the
// pass that needs it first.
func (p *Pager) nextUseLocked(t *tier, e *extent) int64 {
	if t != p.top && p.top.of(e).keeps > 0 && p.top.of(e).resident {
		return never // it is where it is needed
	}
	next := int64(never)
	for _, ps := range p.passes {
		next = min(next, ps.distanceLocked(e))
	}
	return next
}

// evictLocked ends the residency of an extent that is not pinned, and gives its
// memory back.
func (p *Pager) evictLocked(t *tier, e *extent) {
	t.Evictions++
	if p.options.Trace != nil {
		p.options.Trace.Mark(t.name, "evict "+e.Name)
	}
	if t == p.ram && e.mapped {
		for _, part := range e.Parts {
			part.Source.(Mapped).Drop(part.Offset, part.Bytes)
		}
	}
	p.releaseLocked(t, e)
	for _, ps := range p.passes {
		ps.missedLocked(t, e)
	}
	p.forgetLocked(e)
	p.notifyLocked()
}

// releaseLocked ends the residency of an extent, of which files may keep a copy
// in the page cache.
func (p *Pager) releaseLocked(t *tier, e *extent) {
	s := t.of(e)
	if !s.resident {
		return
	}
	if s.buffer != nil {
		p.freeLocked(t, s.buffer)
	}
	t.Resident -= e.Bytes
	s.resident, s.buffer, s.windows = false, nil, nil
	t.place(e)
}
