package pager

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-run/weir/device"
)

// load makes an extent resident. It is called with the lock held and with
// room in the budget, and lets go of the lock while it reads.
func (p *Pager) load(ctx context.Context, e *extent, may func(*extent) bool) error {
	if p.unified {
		return p.mapParts(e)
	}
	buffer, err := p.alloc(e.Bytes, may)
	if err != nil {
		return err
	}
	loading := make(chan struct{})
	e.loading = loading
	p.stats.InFlight += e.Bytes
	p.grown()
	contents := e.Extent
	p.mu.Unlock()
	moved, err := p.read(ctx, buffer, contents)
	p.mu.Lock()
	e.loading = nil
	p.stats.InFlight -= e.Bytes
	p.stats.Moved += moved
	if err != nil {
		p.dev.Free(buffer)
	} else {
		e.resident, e.buffer, e.contents = true, buffer, contents.Signature
		p.stats.Resident += e.Bytes
	}
	close(loading)
	p.notify()
	return err
}

// alloc asks the device for memory. When it has less than the budget says,
// because another program took some, extents give way.
func (p *Pager) alloc(n int64, may func(*extent) bool) (device.Buffer, error) {
	for {
		buffer, err := p.dev.Alloc(n)
		if err == nil {
			return buffer, nil
		}
		if !errors.Is(err, device.ErrNoMemory) {
			return nil, err
		}
		if p.idle != nil {
			p.freeIdle()
			continue
		}
		e := p.victim(may)
		if e == nil {
			return nil, fmt.Errorf("nothing is left to evict: %w", err)
		}
		p.evict(e)
	}
}

// chunk is how much is read and uploaded at a time, so that a cancelled read
// ends soon.
const chunk = 4 << 20

// read fills a buffer with the parts of an extent. It returns how many bytes
// it has moved.
func (p *Pager) read(ctx context.Context, dst device.Buffer, e Extent) (moved int64, err error) {
	staging := make([]byte, min(chunk, largestPart(e)))
	for _, part := range e.Parts {
		for off := int64(0); off < part.Bytes; {
			n := min(part.Bytes-off, int64(len(staging)))
			if err := part.Source.ReadAt(ctx, staging[:n], part.Offset+off); err != nil {
				return moved, err
			}
			if err := p.dev.Upload(ctx, dst, part.At+off, staging[:n]).Wait(ctx); err != nil {
				return moved, err
			}
			off += n
			moved += n
		}
	}
	return moved, nil
}

func largestPart(e Extent) int64 {
	var n int64
	for _, part := range e.Parts {
		n = max(n, part.Bytes)
	}
	return n
}

// mapParts makes an extent usable in place on a unified device.
func (p *Pager) mapParts(e *extent) error {
	mapped := make([]device.Buffer, len(e.Parts))
	for i, part := range e.Parts {
		bytes, err := part.Source.Bytes(part.Offset, part.Bytes)
		if err != nil {
			return err
		}
		if mapped[i], err = p.dev.Map(bytes); err != nil {
			return err
		}
	}
	e.resident, e.mapped, e.contents = true, mapped, e.Signature
	return nil
}

// prefetch brings in the extents of coming uses while the present one is
// worked with. It never evicts what is needed before the extent it brings in,
// and fails silently: the use itself will say what is wrong.
func (ps *Pass) prefetch(ctx context.Context) {
	p := ps.space.pager
	for {
		select {
		case <-ctx.Done():
			return
		case <-ps.wake:
		}
		p.mu.Lock()
		for ctx.Err() == nil {
			e := ps.ahead()
			if e == nil {
				break
			}
			distance := ps.distance(e)
			later := func(x *extent) bool { return p.nextUse(x) > distance }
			if !p.makeRoom(e.Bytes, later) || p.load(ctx, e, later) != nil {
				break
			}
		}
		p.mu.Unlock()
	}
}

// ahead returns the next extent to bring in, if it is near enough: what is
// brought in but not used yet takes at most a quarter of the budget.
func (ps *Pass) ahead() *extent {
	var waiting int64
	seen := map[*extent]bool{}
	for i := ps.at + 1; i < len(ps.uses); i++ {
		for _, x := range ps.uses[i] {
			e := ps.space.extents[x]
			if seen[e] || e.pins > 0 {
				continue
			}
			seen[e] = true
			waiting += e.Bytes
			if waiting > ps.space.pager.budget/4 && len(seen) > 1 {
				return nil
			}
			if !e.resident && e.loading == nil {
				return e
			}
		}
	}
	return nil
}
