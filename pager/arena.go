package pager

import (
	"errors"
	"fmt"

	"github.com/weir-run/weir/device"
)

// An arena is memory for the activations of a pass. It counts against the
// budget of the tier that kernels read.
type arena struct {
	buffer device.Buffer
	size   int64
}

// activateLocked returns memory for activations, or nil when there is none now.
// The memory of the last pass is used again when it has the right size.
func (p *Pager) activateLocked(n int64) (*arena, error) {
	if a := p.idle; a != nil && a.size == n {
		p.idle = nil
		return a, nil
	}
	p.freeIdleLocked()
	t := p.top
	if !p.makeRoomLocked(t, n, demand) && !t.soft {
		return nil, nil
	}
	t.Activations += n
	t.grown()
	buffer, err := p.allocLocked(t, n)
	if err != nil {
		t.Activations -= n
		p.notifyLocked()
		return nil, err
	}
	return &arena{buffer, n}, nil
}

// freeIdleLocked gives the memory that is kept for the next pass back to the
// device.
func (p *Pager) freeIdleLocked() {
	if p.idle != nil {
		p.deactivateLocked(p.idle)
		p.idle = nil
	}
}

// deactivateLocked gives memory of activations back to the device.
func (p *Pager) deactivateLocked(a *arena) {
	p.freeLocked(p.top, a.buffer)
	p.top.Activations -= a.size
}

// allocLocked asks the device for memory that is counted already. When it has
// less than the budget says, because another program took some, extents give
// way. It lets go of the lock meanwhile: some devices take their time.
func (p *Pager) allocLocked(t *tier, n int64) (device.Buffer, error) {
	for {
		buffer, err := p.askLocked(t, n)
		if err == nil || !isNoMemory(err) {
			return buffer, err
		}
		if p.idle != nil {
			p.freeIdleLocked()
			continue
		}
		e := p.victimLocked(t, demand)
		if e == nil {
			return nil, fmt.Errorf("nothing is left to evict: %w", err)
		}
		p.evictLocked(t, e)
	}
}

func (p *Pager) askLocked(t *tier, n int64) (device.Buffer, error) {
	p.mu.Unlock()
	p.giving.RLock()
	defer p.giving.RUnlock()
	buffer, err := p.dev.Alloc(n)
	p.mu.Lock()
	if err == nil {
		t.buffers += n
	}
	return buffer, err
}

// freeLocked gives memory back to the device.
func (p *Pager) freeLocked(t *tier, b device.Buffer) {
	t.buffers -= b.Size()
	p.dev.Free(b)
}

func isNoMemory(err error) bool { return errors.Is(err, device.ErrNoMemory) }
