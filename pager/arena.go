package pager

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/device"
)

// An Arena is memory for the activations of a run. It counts against the
// budget.
type Arena struct {
	pager  *Pager
	buffer device.Buffer
	size   int64
}

// Buffer returns the memory.
func (a *Arena) Buffer() device.Buffer { return a.buffer }

// Activations returns memory for the activations of the program that is about
// to run: extents give way. It waits for memory that other runs hold. The
// memory of the last run is used again when it has the right size.
func (p *Pager) Activations(ctx context.Context, n int64) (*Arena, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.budget {
		return nil, fmt.Errorf("the activations need %d bytes and the budget is %d: %w", n, p.budget, device.ErrNoMemory)
	}
	for {
		if a := p.idle; a != nil && a.size == n {
			p.idle = nil
			return a, nil
		}
		if p.makeRoom(n, nil) {
			break
		}
		if err := p.wait(ctx, p.changed); err != nil {
			return nil, err
		}
	}
	buffer, err := p.alloc(n, nil)
	if err != nil {
		return nil, err
	}
	p.stats.Activations += n
	p.grown()
	return &Arena{p, buffer, n}, nil
}

// Release gives the memory back. The pager keeps it for the next run until
// it is needed for something else.
func (a *Arena) Release() {
	p := a.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeIdle()
	p.idle = a
	p.notify()
}

// freeIdle gives the memory that is kept for the next run back to the device.
func (p *Pager) freeIdle() {
	if p.idle == nil {
		return
	}
	p.dev.Free(p.idle.buffer)
	p.stats.Activations -= p.idle.size
	p.idle = nil
}

// Close frees all memory. No pass may be under way. Spaces stay valid: a later
// pass reads its extents again.
func (p *Pager) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeIdle()
	for _, e := range p.table {
		p.drop(e)
	}
}
