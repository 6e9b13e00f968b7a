package pager

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/weir-run/weir/device"
)

// every is how often budgets are looked at while passes run.
const every = 250 * time.Millisecond

// readers is how many extents are read from disk at once: while the bytes of
// one are mapped, the disk works on the next. A link to a device has one at a
// time, in order, and loses nothing.
const readers = 2

// startLocked starts the goroutines of the pager, once.
func (p *Pager) startLocked() {
	if p.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for _, t := range p.tiers() {
		t.wake = sync.NewCond(&p.mu)
		if p.options.Mode == Dynamic {
			t.staff = 1
			if t == p.ram {
				t.staff = readers
			}
		}
		for range t.staff {
			p.loaders.Go(func() { p.bringIn(ctx, t) })
		}
	}
	p.loaders.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.Refresh()
			}
		}
	})
}

// rouseLocked makes the loaders of all tiers look for something to do.
func (p *Pager) rouseLocked() {
	p.ram.rouse()
	if p.vram != nil {
		p.vram.rouse()
	}
}

// rouse makes the loaders of the tier look for something to do.
func (t *tier) rouse() {
	t.calls++
	if t.idle > 0 {
		t.idle = 0
		t.wake.Broadcast()
	}
}

// bringIn brings in the extents of coming uses while the present ones are
// worked with. It never evicts what is needed before the extent that it brings
// in, and fails silently, once: the use itself will say what is wrong.
func (p *Pager) bringIn(ctx context.Context, t *tier) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ctx.Err() == nil {
		calls := t.calls
		for ctx.Err() == nil && len(p.starved) == 0 && p.bringNextLocked(ctx, t) {
		}
		if calls != t.calls {
			continue
		}
		t.idle++
		for ctx.Err() == nil && calls == t.calls {
			t.wake.Wait()
		}
	}
}

// bringNextLocked brings in the one extent that is needed first of all those
// that are missing. It reports whether there was one and room for it.
func (p *Pager) bringNextLocked(ctx context.Context, t *tier) bool {
	var first *extent
	var distance int64
	for _, ps := range p.passes {
		if e, d := ps.nextLocked(p, t); e != nil && (first == nil || d < distance) {
			first, distance = e, d
		}
	}
	if first == nil {
		return p.bringComingLocked(ctx, t)
	}
	if !p.makeRoomLocked(t, first.Bytes, distance) {
		return false
	}
	t.rouse() // another loader can look for the next meanwhile
	if p.loadAheadLocked(ctx, t, first) && t != p.top {
		p.top.rouse()
	}
	return true
}

// loadAheadLocked makes an extent resident before a use waits for it, and
// reports whether that went well.
func (p *Pager) loadAheadLocked(ctx context.Context, t *tier, e *extent) bool {
	err := p.loadLocked(ctx, t, e)
	t.of(e).failed = err != nil
	p.makeRoomLocked(t, 0, demand) // the budget may have shrunk meanwhile
	return err == nil
}

// nextLocked returns the extent that the pass needs next on a tier and that is
// not there, and in how many uses it is needed.
func (ps *Pass) nextLocked(p *Pager, t *tier) (*extent, int64) {
	n := len(ps.sched.uses)
	ahead := &ps.ahead[t.index]
	at := max(ps.at, 0)
	end := n
	if !ps.repeatsLocked() {
		end = n - at
	}
	for ; *ahead < end; *ahead++ {
		for _, x := range ps.sched.uses[(at+*ahead)%n] {
			e := ps.space.extents[x]
			if p.absentLocked(t, e) {
				return e, int64(*ahead)
			}
		}
	}
	return nil, 0
}

// absentLocked reports whether an extent must be brought to a tier. What is on
// the device, or computed, need not be in the host's memory.
func (p *Pager) absentLocked(t *tier, e *extent) bool {
	for _, above := range p.tiers() {
		if s := above.of(e); s.resident || s.loading != nil || s.failed {
			return false
		}
		if above == t {
			break
		}
	}
	return t == p.top || e.mapped
}

// soon is how many passes may begin before one that was announced is no longer
// expected.
const soon = 4

// Prefetch tells that the schedule will be begun next, when the passes that
// run or are about to begin have ended. They are no longer taken to be
// repeated: when they need nothing more, the first extents of the schedule are
// brought in, where there is room or where extents lie that nobody is known to
// need again.
func (s *Schedule) Prefetch() {
	p := s.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.coming, p.expires = s, p.begun+soon
	p.startLocked()
	p.rouseLocked()
}

// bringComingLocked brings in the first extent that is missing of what runs
// next. What it takes from others is a quarter of the memory at most: they may
// run again.
func (p *Pager) bringComingLocked(ctx context.Context, t *tier) bool {
	s := p.coming
	if s == nil {
		return false
	}
	var bytes int64
	for _, use := range s.uses {
		for _, x := range use {
			e := s.space.extents[x]
			bytes += e.Bytes
			if !e.mapped || !p.absentLocked(t, e) { // nothing is claimed yet to compute in
				continue
			}
			for t.Held()+e.Bytes > t.Budget {
				old := p.victimLocked(t, never-1)
				if old == nil || bytes > t.Budget/4 {
					return false
				}
				if _, own := s.space.index[old]; own {
					return false
				}
				p.evictLocked(t, old)
			}
			t.rouse()
			p.loadAheadLocked(ctx, t, e)
			return true
		}
	}
	return false
}

// Refresh looks at how much memory there is and changes the budgets when that
// has changed. What no longer fits is evicted at once. While passes run it is
// called several times a second.
func (p *Pager) Refresh() {
	p.giving.Lock()
	defer p.giving.Unlock()
	memory, err := p.options.Host()
	p.mu.Lock()
	defer p.mu.Unlock()
	var info device.Info
	if p.vram != nil {
		info = p.dev.Info() // under the lock, as memory is given back
	}
	if p.options.Mode != Dynamic { // the system looks after the host's memory
		p.ram.total, p.ram.Budget = math.MaxInt64, math.MaxInt64/2
	} else if err == nil {
		p.ram.total, p.host = memory.Total, memory
		// What is resident is counted as available by the system, since it is
		// backed by files; what is not must be added. So must be what is claimed of
		// the Go heap; the rest of it the program needs for itself.
		own := max(p.options.Own, memory.Heap-p.ram.Claimed)
		n := memory.Available + p.ram.buffers + memory.Heap - own - headroom(memory.Total)
		if info.InHost { // what the device has not taken yet will be taken from here
			n -= max(min(info.Total, p.vram.Budget)-p.vram.buffers, 0)
		}
		p.fitLocked(p.ram, n)
	}
	if p.vram != nil {
		p.vram.total = info.Total
		p.fitLocked(p.vram, info.Free+p.vram.buffers)
	}
}

// fitLocked sets the budget of a tier. Small changes are not worth moving
// extents about.
func (p *Pager) fitLocked(t *tier, n int64) {
	n = max(n, 0)
	if t.limit > 0 {
		n = min(n, t.limit)
	}
	if change := n - t.Budget; n >= t.Held() && change < t.Budget/16 && change > -t.Budget/16 {
		return
	}
	t.Budget = n
	p.balanceLocked()
	p.makeRoomLocked(t, 0, demand)
	p.notifyLocked()
}
