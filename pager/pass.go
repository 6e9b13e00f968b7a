package pager

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-run/weir/device"
)

// A Pass is one run of a program: it knows every use, in order. Its methods
// are called by one goroutine at a time.
type Pass struct {
	space  *Space
	sched  *Schedule
	serial int64
	arena  *arena

	// What follows is guarded by the pager's lock.
	at      int    // the use that was acquired last
	ahead   [2]int // uses from at on that were looked at, of each tier, counting on into the next repetition
	pinned  []bool // by use
	kept    [2][]bool
	partial int // extents that a use has pinned which waits for the others
	// When the use that is worked with was acquired, and how many uses were.
	worked time.Time
	uses   int
}

// Begin starts a pass that needs so many bytes for activations. Those come
// first: extents give way, and passes that leave too little room are waited
// for. It fails when the activations do not fit beside the weights of each use,
// naming the numbers. End must be called.
func (p *Pager) Begin(ctx context.Context, s *Schedule, activations int64) (*Pass, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("%s: the pager is closed", s.space.name)
	}
	p.startLocked()
	a, err := p.admitLocked(ctx, s, activations)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.space.name, err)
	}
	p.begun++
	ps := &Pass{space: s.space, sched: s, serial: p.begun, arena: a, at: -1, pinned: make([]bool, len(s.uses))}
	ps.kept = [2][]bool{make([]bool, len(s.order)), make([]bool, len(s.order))}
	p.passes = append(p.passes, ps)
	p.reserveLocked()
	if p.coming == s || p.begun >= p.expires {
		p.coming = nil
	}
	for _, x := range s.give {
		s.space.extents[x].passes++
	}
	p.balanceLocked()
	p.rouseLocked()
	return ps, nil
}

// admitLocked waits until a pass can run to its end, whatever the others do:
// until all activations and the largest use of any pass fit together.
func (p *Pager) admitLocked(ctx context.Context, s *Schedule, activations int64) (*arena, error) {
	t := p.top
	for {
		switch {
		case p.fitsLocked(s, activations):
			a, err := p.activateLocked(activations)
			switch {
			case err != nil && len(p.passes) == 0:
				return nil, err
			case a == nil:
			case p.fitsLocked(s, 0):
				return a, nil
			default: // another pass began while the device gave the memory
				p.deactivateLocked(a)
				p.notifyLocked()
			}
		case len(p.passes) == 0:
			if s.scratch > 0 {
				return nil, fmt.Errorf("a step needs %d bytes of weights beside %d bytes of activations and %d bytes of the host's memory to compute weights in, and %s: %w",
					s.largest, activations, s.scratch, p.roomsLocked(), device.ErrNoMemory)
			}
			return nil, fmt.Errorf("a step needs %d bytes of weights beside %d bytes of activations, and the budget is %d: %w",
				s.largest, activations, t.Budget, device.ErrNoMemory)
		}
		if err := p.waitLocked(ctx, p.changed); err != nil {
			return nil, err
		}
	}
}

// fitsLocked reports whether a schedule can run beside the passes that do, with
// so many bytes of activations besides those there are.
func (p *Pager) fitsLocked(s *Schedule, activations int64) bool {
	t := p.top
	all, largest := t.Activations+t.Claimed+activations, s.largest
	further := p.furtherLocked(s)
	switch {
	case t == p.ram:
		all += further
	case p.ram.Claimed+further > p.ram.Budget && (len(p.passes) > 0 || p.ram.Claimed+further > p.ram.total):
		return false
	}
	if p.idle != nil {
		all -= p.idle.size
	}
	for _, ps := range p.passes {
		largest = max(largest, ps.sched.largest)
	}
	return all+largest <= t.Budget || t.soft && len(p.passes) == 0 && all <= t.total
}

// Activations returns the memory of the pass's activations.
func (ps *Pass) Activations() device.Buffer { return ps.arena.buffer }

// End ends the pass: what is pinned is let go. The memory of the activations
// is kept for the next pass until it is needed for something else.
func (ps *Pass) End() {
	p := ps.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, pinned := range ps.pinned {
		if pinned {
			ps.unpinLocked(i)
		}
	}
	ps.doneLocked()
	if ps.uses == len(ps.sched.uses) {
		ps.sched.passes++
		if ps.sched.passes == 1 {
			// What was estimated is known now.
			ps.sched.give = ps.sched.evenly(ps.sched.times)
		}
	}
	p.passes = slices.DeleteFunc(p.passes, func(x *Pass) bool { return x == ps })
	p.reserveLocked()
	tiers := p.tiers()
	// What is given up first is the oldest: what others leave of the rest is
	// spread evenly.
	for _, x := range ps.sched.give {
		e := ps.space.extents[x]
		e.passes--
		for _, t := range tiers {
			if ps.kept[t.index][x] {
				t.of(e).keeps--
			}
			t.place(e)
		}
	}
	p.freeIdleLocked()
	p.idle = ps.arena
	p.balanceLocked()
	p.notifyLocked()
}

// repeatsLocked reports whether the pass is taken to be followed by another one
// like it, as long as nothing else is known to come.
func (ps *Pass) repeatsLocked() bool {
	coming := ps.space.pager.coming
	return coming == nil || coming == ps.sched
}

// distanceLocked returns in how many uses the pass needs an extent, counting on
// into its next repetition, or never.
func (ps *Pass) distanceLocked(e *extent) int64 {
	x, ok := ps.space.index[e]
	if !ok {
		return never
	}
	uses := ps.sched.order[x]
	if len(uses) == 0 {
		return never
	}
	at := max(ps.at, 0)
	k := 0
	if len(uses) == 1 {
		if uses[0] < at {
			k = 1
		}
	} else {
		k, _ = slices.BinarySearch(uses, at)
	}
	if k < len(uses) {
		return int64(uses[k] - at)
	}
	if !ps.repeatsLocked() {
		return never
	}
	return int64(uses[0] + len(ps.sched.uses) - at)
}

// Acquire waits until the extents of use i are resident and pins them. When it
// fails, nothing is pinned. Uses may be acquired in any order, but only the
// scheduled one is fast.
func (ps *Pass) Acquire(ctx context.Context, i int) error {
	p := ps.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	if ps.pinned[i] {
		return fmt.Errorf("%s: use %d is acquired twice", ps.space.name, i)
	}
	ps.doneLocked()
	ps.advanceLocked(i)
	t := p.top
	for n, x := range ps.sched.uses[i] {
		s := t.of(ps.space.extents[x])
		if !s.resident {
			if err := ps.faultLocked(ctx, i, n); err != nil {
				return err
			}
			break
		}
		s.pins++
	}
	p.clock++
	for _, x := range ps.sched.uses[i] {
		t.of(ps.space.extents[x]).used = p.clock
	}
	ps.pinned[i] = true
	ps.worked = time.Now()
	p.rouseLocked()
	return nil
}

// doneLocked notes how long the last use was worked with.
func (ps *Pass) doneLocked() {
	if ps.worked.IsZero() || ps.at < 0 {
		return
	}
	took := time.Since(ps.worked).Seconds()
	if old := ps.sched.times[ps.at]; old > 0 {
		took = (old + took) / 2
	}
	ps.sched.times[ps.at] = took
	ps.worked = time.Time{}
	ps.uses++
}

// advanceLocked moves the pass to a use.
func (ps *Pass) advanceLocked(i int) {
	step := i - ps.at
	for t := range ps.ahead {
		if step < 0 {
			ps.ahead[t] = 0
		} else {
			ps.ahead[t] = max(ps.ahead[t]-step, 0)
		}
	}
	ps.at = i
}

// missedLocked makes the loader look again at an extent that was evicted.
func (ps *Pass) missedLocked(t *tier, e *extent) {
	if d := ps.distanceLocked(e); d != never {
		ps.ahead[t.index] = min(ps.ahead[t.index], int(d))
	}
}

// faultLocked pins the extents of use i, of which the first n are pinned
// already, as they become resident. It waits for room as doc.go tells, and lets
// go of the lock while it waits and loads.
func (ps *Pass) faultLocked(ctx context.Context, i, n int) (err error) {
	p := ps.space.pager
	t := p.top
	use := ps.sched.uses[i]
	start := time.Now()
	let := func() {
		for _, x := range use[:n] {
			p.unpinLocked(t, ps.space.extents[x])
		}
		n, ps.partial = 0, 0
		p.notifyLocked()
	}
	defer func() {
		ps.partial = 0
		if err != nil {
			let()
			p.makeRoomLocked(t, 0, demand) // what was brought in above the budget
		}
		if p.starved[ps] {
			delete(p.starved, ps)
			p.notifyLocked()
		}
		if p.options.Trace != nil {
			p.options.Trace.Span("wait", fmt.Sprintf("use %d of %s", i, ps.space.name), start, t.name)
		}
	}()
	var counted *extent
	for n < len(use) {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := ps.space.extents[use[n]]
		s := t.of(e)
		if s.resident {
			s.pins++
			n++
			continue
		}
		if counted != e {
			counted = e
			t.Faults++
		}
		if s.loading != nil {
			if err := p.waitLocked(ctx, s.loading); err != nil {
				return err
			}
			continue
		}
		if !ps.outrankedLocked() && (p.makeRoomLocked(t, e.Bytes, demand) || t.soft) {
			err := p.loadLocked(ctx, t, e)
			if err == nil || !p.tightLocked(ps, err) {
				if err != nil {
					return err
				}
				continue
			}
		} else if p.stuckLocked(ps) {
			return fmt.Errorf("%s: %s of %d bytes does not fit: %d bytes of activations and %d of weights in use leave nothing of the budget of %d: %w",
				ps.space.name, e.Name, e.Bytes, t.Activations, t.Resident, t.Budget, device.ErrNoMemory)
		}
		if !p.starved[ps] {
			p.starved[ps] = true
			p.notifyLocked() // younger ones let go
		}
		if ps.partial = n; ps.outrankedLocked() {
			let()
		}
		if err := p.waitLocked(ctx, p.changed); err != nil {
			return err
		}
	}
	return nil
}

// outrankedLocked reports whether an older pass waits for room.
func (ps *Pass) outrankedLocked() bool {
	for other := range ps.space.pager.starved {
		if other.serial < ps.serial {
			return true
		}
	}
	return false
}

// stuckLocked reports whether nobody else could make room for a pass that no
// older one waits with: nothing is on its way, and all others wait for room too
// and hold nothing. Then the budget has become smaller than a use.
func (p *Pager) stuckLocked(ps *Pass) bool {
	for _, other := range p.passes {
		if other != ps && (!p.starved[other] || other.partial > 0) {
			return false
		}
	}
	return p.top.InFlight == 0 && !ps.outrankedLocked()
}

// tightLocked reports whether an error is one to wait about: the device has no
// memory now, and others may give some back.
func (p *Pager) tightLocked(ps *Pass, err error) bool {
	return isNoMemory(err) && !p.stuckLocked(ps)
}

// Release unpins the extents of a use. Releasing it again does nothing.
func (ps *Pass) Release(i int) {
	p := ps.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	if ps.pinned[i] {
		ps.unpinLocked(i)
		p.notifyLocked()
	}
}

func (ps *Pass) unpinLocked(i int) {
	ps.pinned[i] = false
	t := ps.space.pager.top
	for _, x := range ps.sched.uses[i] {
		ps.space.pager.unpinLocked(t, ps.space.extents[x])
	}
}

// unpinLocked lets go of an extent. What the host's memory took above its
// budget because a use needed it makes way at once.
func (p *Pager) unpinLocked(t *tier, e *extent) {
	t.of(e).pins--
	if t.soft && t.Held() > t.Budget {
		p.makeRoomLocked(t, 0, demand)
	}
}

// Part returns where a part of an extent is, which must be pinned.
func (ps *Pass) Part(extent, part int) (device.Buffer, int64) {
	e := ps.space.extents[extent]
	s := ps.space.pager.top.of(e)
	if s.windows != nil {
		return s.windows[part], 0
	}
	return s.buffer, e.Parts[part].At
}
