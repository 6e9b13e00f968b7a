package pager

import "math"

// makeRoom evicts until n more bytes fit in the budget, sparing what is
// pinned and what may returns false for. It reports whether they fit; if not,
// what it has evicted stays evicted.
func (p *Pager) makeRoom(n int64, may func(*extent) bool) bool {
	for p.held()+n > p.budget {
		if p.idle != nil {
			p.freeIdle()
			continue
		}
		e := p.victim(may)
		if e == nil {
			return false
		}
		p.evict(e)
	}
	return true
}

func (p *Pager) evict(e *extent) {
	p.stats.Evictions++
	p.drop(e)
}

// victim chooses what to evict: of the extents that no running pass uses, the
// one that was used longest ago; otherwise the one that is needed last. For a
// pass that repeats, this keeps a fixed set resident and streams the rest,
// which moves the fewest bytes (Belady, 1966).
func (p *Pager) victim(may func(*extent) bool) *extent {
	var best *extent
	var bestNext, bestUsed int64
	for _, e := range p.table {
		if !e.resident || e.pins > 0 || e.loading != nil || may != nil && !may(e) {
			continue
		}
		next := p.nextUse(e)
		switch {
		case best == nil, next > bestNext:
		case next < bestNext, e.used > bestUsed:
			continue
		case e.used == bestUsed && e.Key > best.Key: // the same choice in every run
			continue
		}
		best, bestNext, bestUsed = e, next, e.used
	}
	return best
}

// never is the next use of extents that no running pass uses.
const never = math.MaxInt64

// nextUse returns in how many uses an extent is needed, by the pass that needs
// it first.
func (p *Pager) nextUse(e *extent) int64 {
	next := int64(never)
	for pass := range p.passes {
		next = min(next, pass.distance(e))
	}
	return next
}
