package pager

import (
	"context"
	"math"
	"time"
)

// every is how often budgets are looked at while passes run.
const every = 250 * time.Millisecond

// start starts the goroutines of the pager, once.
func (p *Pager) start() {
	if p.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for _, t := range p.tiers() {
		t.wake = make(chan struct{}, 1)
		if p.options.Mode == Dynamic {
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
				p.follow()
			}
		}
	})
}

// wake makes the loaders look for something to do.
func (p *Pager) wake() {
	for _, t := range [2]*tier{p.ram, p.vram} {
		if t == nil {
			continue
		}
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// bringIn brings in the extents of coming uses while the present ones are
// worked with. It never evicts what is needed before the extent that it brings
// in, and fails silently: the use itself will say what is wrong.
func (p *Pager) bringIn(ctx context.Context, t *tier) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		p.mu.Lock()
		for ctx.Err() == nil && len(p.starved) == 0 && p.bringNext(ctx, t) {
		}
		p.mu.Unlock()
	}
}

// bringNext brings in the one extent that is needed first of all those that
// are missing. It reports whether there was one and room for it.
func (p *Pager) bringNext(ctx context.Context, t *tier) bool {
	var first *extent
	var distance int64
	for _, ps := range p.passes {
		if e, d := ps.next(p, t); e != nil && (first == nil || d < distance) {
			first, distance = e, d
		}
	}
	if first == nil {
		return p.bringComing(ctx, t)
	}
	if !p.makeRoom(t, first.Bytes, distance) {
		return false
	}
	err := p.load(ctx, t, first)
	p.makeRoom(t, 0, demand) // the budget may have shrunk meanwhile
	if err == nil && t != p.top {
		p.wake()
	}
	return err == nil
}

// next returns the extent that the pass needs next on a tier and that is not
// there, and in how many uses it is needed.
func (ps *Pass) next(p *Pager, t *tier) (*extent, int64) {
	n := len(ps.sched.uses)
	ahead := &ps.ahead[t.index]
	at := max(ps.at, 0)
	for ; *ahead < n; *ahead++ {
		for _, x := range ps.sched.uses[(at+*ahead)%n] {
			e := ps.space.extents[x]
			if p.absent(t, e) {
				return e, int64(*ahead)
			}
		}
	}
	return nil, 0
}

// absent reports whether an extent must be brought to a tier. What is on the
// device, or computed, need not be in the host's memory.
func (p *Pager) absent(t *tier, e *extent) bool {
	for _, above := range p.tiers() {
		if s := above.of(e); s.resident || s.loading != nil {
			return false
		}
		if above == t {
			break
		}
	}
	return t == p.top || e.mapped
}

// Prefetch tells that a schedule will be begun soon. When the passes that run
// need nothing more, its first extents are brought in, as far as there is room
// that nobody uses.
func (s *Schedule) Prefetch() {
	p := s.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.coming = s
	p.start()
	p.wake()
}

// bringComing brings in the first extent that is missing of what runs next.
func (p *Pager) bringComing(ctx context.Context, t *tier) bool {
	s := p.coming
	if s == nil {
		return false
	}
	var bytes int64
	for _, use := range s.uses {
		for _, x := range use {
			e := s.space.extents[x]
			bytes += e.Bytes
			if !p.absent(t, e) {
				continue
			}
			for t.Held()+e.Bytes > t.Budget {
				// What was used longer ago than anything of the model makes way.
				old := t.cold.first
				if old == nil || t.of(old).pins > 0 || bytes > t.Budget/4 {
					return false
				}
				if _, own := s.space.index[old]; own {
					return false
				}
				p.evict(t, old)
			}
			err := p.load(ctx, t, e)
			p.makeRoom(t, 0, demand)
			return err == nil
		}
	}
	return false
}

// follow looks at how much memory there is and changes the budgets when that
// has changed. What no longer fits is evicted at once.
func (p *Pager) follow() {
	memory, err := p.options.Host()
	info := p.dev.Info()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.options.Mode != Dynamic { // the system looks after the host's memory
		p.ram.total, p.ram.Budget = math.MaxInt64, math.MaxInt64/2
	} else if err == nil {
		p.ram.total = memory.Total
		// What is resident is counted as available by the system, since it is
		// backed by files; what is not must be added.
		own := p.ram.anonymous + p.ram.Activations
		p.fit(p.ram, memory.Available+own-headroom(memory.Total))
	}
	if p.vram != nil {
		p.vram.total = info.Total
		p.fit(p.vram, info.Free+p.vram.Held())
	}
}

// headroom is what is left to other programs of a memory of so many bytes.
func headroom(total int64) int64 { return min(max(total/16, 64<<20), 1<<30) }

// fit sets the budget of a tier. Small changes are not worth moving extents
// about.
func (p *Pager) fit(t *tier, n int64) {
	n = max(n, 0)
	if t.limit > 0 {
		n = min(n, t.limit)
	}
	if change := n - t.Budget; n >= t.Held() && change < t.Budget/16 && change > -t.Budget/16 {
		return
	}
	t.Budget = n
	p.balance()
	p.makeRoom(t, 0, demand)
	p.notify()
}
