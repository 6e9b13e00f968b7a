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

// activate returns memory for activations, or nil when there is none now. The
// memory of the last pass is used again when it has the right size.
func (p *Pager) activate(n int64) (*arena, error) {
	if a := p.idle; a != nil && a.size == n {
		p.idle = nil
		return a, nil
	}
	p.freeIdle()
	t := p.top
	if !p.makeRoom(t, n, demand) && !t.soft {
		return nil, nil
	}
	buffer, err := p.alloc(t, n)
	if err != nil {
		return nil, err
	}
	t.Activations += n
	t.grown()
	return &arena{buffer, n}, nil
}

// freeIdle gives the memory that is kept for the next pass back to the
// device.
func (p *Pager) freeIdle() {
	if p.idle == nil {
		return
	}
	p.free(p.top, p.idle.buffer)
	p.top.Activations -= p.idle.size
	p.idle = nil
}

// alloc asks the device for memory. When it has less than the budget says,
// because another program took some, extents give way.
func (p *Pager) alloc(t *tier, n int64) (device.Buffer, error) {
	for {
		buffer, err := p.dev.Alloc(n)
		if err == nil {
			t.buffers += n
			return buffer, nil
		}
		if !isNoMemory(err) {
			return nil, err
		}
		if p.idle != nil {
			p.freeIdle()
			continue
		}
		e := p.victim(t, demand)
		if e == nil {
			return nil, fmt.Errorf("nothing is left to evict: %w", err)
		}
		p.evict(t, e)
	}
}

// free gives memory back to the device.
func (p *Pager) free(t *tier, b device.Buffer) {
	t.buffers -= b.Size()
	p.dev.Free(b)
}

func isNoMemory(err error) bool { return errors.Is(err, device.ErrNoMemory) }
