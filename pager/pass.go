package pager

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/weir-run/weir/device"
)

// A Pass is one run of a program: it knows every use, in order. Acquire,
// Release and Part are called by one goroutine at a time.
type Pass struct {
	space *Space
	uses  [][]int
	// order holds, for each extent, the uses it is part of, ascending.
	order map[*extent][]int

	at     int // the use that was acquired last; guarded by the pager's mu
	pinned map[int]bool

	// The prefetcher is a goroutine that lives from Begin to End.
	cancel context.CancelFunc
	wake   chan struct{}
	done   sync.WaitGroup
}

// Begin starts a pass. It fails when a use cannot fit in the budget beside
// the activations that are held, naming the numbers. End must be called.
func (p *Pager) Begin(s *Space, sched Schedule) (*Pass, error) {
	pass := &Pass{space: s, uses: sched.Uses, order: map[*extent][]int{}, at: -1, pinned: map[int]bool{}, wake: make(chan struct{}, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, use := range sched.Uses {
		var need int64
		for _, x := range use {
			if x < 0 || x >= len(s.extents) {
				return nil, fmt.Errorf("%s: use %d names extent %d of %d", s.name, i, x, len(s.extents))
			}
			e := s.extents[x]
			need += e.Bytes
			if o := pass.order[e]; len(o) == 0 || o[len(o)-1] != i {
				pass.order[e] = append(o, i)
			}
		}
		active := p.stats.Activations
		if p.idle != nil {
			active -= p.idle.size
		}
		if !p.unified && need+active > p.budget {
			return nil, fmt.Errorf("%s: step %d needs %d bytes of weights beside %d bytes of activations, and the budget is %d: %w",
				s.name, i, need, active, p.budget, device.ErrNoMemory)
		}
	}
	p.passes[pass] = true
	ctx, cancel := context.WithCancel(context.Background())
	pass.cancel = cancel
	if !p.unified {
		pass.done.Go(func() { pass.prefetch(ctx) })
	}
	return pass, nil
}

// End ends the pass: what is pinned is let go, and reads ahead are waited for.
func (ps *Pass) End() {
	ps.cancel()
	ps.done.Wait()
	for i := range ps.pinned {
		ps.Release(i)
	}
	p := ps.space.pager
	p.mu.Lock()
	delete(p.passes, ps)
	p.mu.Unlock()
}

// distance returns in how many uses the pass needs an extent, counting on
// into its next repetition, or never.
func (ps *Pass) distance(e *extent) int64 {
	uses := ps.order[e]
	if len(uses) == 0 {
		return never
	}
	at := max(ps.at, 0)
	k, _ := slices.BinarySearch(uses, at)
	if k < len(uses) {
		return int64(uses[k] - at)
	}
	return int64(uses[0] + len(ps.uses) - at)
}

// Acquire waits until the extents of use i are resident and pins them. When it
// fails, nothing is pinned. Uses may be acquired in any order, but only the
// scheduled one is fast.
func (ps *Pass) Acquire(ctx context.Context, i int) error {
	p := ps.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	ps.at = i
	var faulted map[*extent]bool
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		missing := ps.missing(i)
		if missing == nil {
			break
		}
		if !faulted[missing] {
			if faulted == nil {
				faulted = map[*extent]bool{}
			}
			faulted[missing] = true
			p.stats.Faults++
		}
		if err := ps.fault(ctx, missing, i); err != nil {
			return err
		}
	}
	p.clock++
	for _, x := range ps.uses[i] {
		e := ps.space.extents[x]
		e.pins++
		e.used = p.clock
	}
	ps.pinned[i] = true
	select {
	case ps.wake <- struct{}{}:
	default:
	}
	return nil
}

// missing returns an extent of use i that is not resident, or nil.
func (ps *Pass) missing(i int) *extent {
	for _, x := range ps.uses[i] {
		if e := ps.space.extents[x]; !e.current() {
			return e
		}
	}
	return nil
}

// fault makes an extent resident, or waits for what keeps it from being so:
// another one's reading of it, or memory that others hold. The extents of use
// i, which are not pinned yet, are not evicted for it.
func (ps *Pass) fault(ctx context.Context, e *extent, i int) error {
	p := ps.space.pager
	if e.loading != nil {
		return p.wait(ctx, e.loading)
	}
	spare := func(x *extent) bool {
		return !slices.ContainsFunc(ps.uses[i], func(k int) bool { return ps.space.extents[k] == x })
	}
	if e.resident { // under another signature
		if e.pins > 0 {
			return p.wait(ctx, p.changed)
		}
		p.drop(e)
	}
	if !p.unified && !p.makeRoom(e.Bytes, spare) {
		// What is left belongs to other passes or is in flight.
		return p.wait(ctx, p.changed)
	}
	return p.load(ctx, e, spare)
}

// wait lets go of the lock until the channel is closed.
func (p *Pager) wait(ctx context.Context, c <-chan struct{}) error {
	p.waiting++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
	}()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release unpins the extents of a use. Releasing it again does nothing.
func (ps *Pass) Release(i int) {
	p := ps.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ps.pinned[i] {
		return
	}
	delete(ps.pinned, i)
	for _, x := range ps.uses[i] {
		ps.space.extents[x].pins--
	}
	p.notify()
}

// Part returns where a part of an extent is, which must be pinned.
func (ps *Pass) Part(extent, part int) (device.Buffer, int64) {
	e := ps.space.extents[extent]
	if e.mapped != nil {
		return e.mapped[part], 0
	}
	return e.buffer, e.Parts[part].At
}
