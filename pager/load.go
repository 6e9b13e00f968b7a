package pager

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/fault"
)

// chunk is how much is read or uploaded at a time, so that what is cancelled
// ends soon.
const chunk = 16 << 20

// loadLocked makes an extent resident on a tier, whose budget must have room for
// it. It lets go of the lock while it reads.
func (p *Pager) loadLocked(ctx context.Context, t *tier, e *extent) error {
	s := t.of(e)
	loading := make(chan struct{})
	s.loading = loading
	t.InFlight += e.Bytes
	t.grown()
	start, track := time.Now(), t.tracks.take()
	err := p.fillLocked(ctx, t, e)
	t.tracks.give(track)
	s.loading = nil
	t.InFlight -= e.Bytes
	if err == nil {
		s.resident, s.failed = true, false
		t.Resident += e.Bytes
		t.Moved += e.Bytes
		t.place(e)
		if p.options.Trace != nil {
			p.options.Trace.Span(trackName(t.name, track), e.Name, start, fmt.Sprintf("%d bytes", e.Bytes))
		}
	} else {
		p.forgetLocked(e)
	}
	close(loading)
	p.notifyLocked()
	return err
}

// fillLocked brings the contents of an extent to a tier.
func (p *Pager) fillLocked(ctx context.Context, t *tier, e *extent) error {
	switch {
	case !e.mapped:
		if err := p.waitLocked(ctx, p.computing); err != nil {
			return err
		}
		defer func() { p.computing <- struct{}{} }()
		return p.copyLocked(ctx, t, e, func(buffer device.Buffer) error { return p.compute(ctx, buffer, e) })
	case t == p.vram:
		if err := p.holdLocked(ctx, e); err != nil {
			return err
		}
		defer p.unpinLocked(p.ram, e)
		return p.copyLocked(ctx, t, e, func(buffer device.Buffer) error { return p.upload(ctx, buffer, e) })
	default:
		return p.pageLocked(ctx, e)
	}
}

// copyLocked makes a copy of an extent in the device's memory.
func (p *Pager) copyLocked(ctx context.Context, t *tier, e *extent, fill func(device.Buffer) error) error {
	// The bytes are counted as in flight already.
	buffer, err := p.allocLocked(t, e.Bytes)
	if err != nil {
		return err
	}
	t.depart()
	p.mu.Unlock()
	err = fault.Guard(func() error { return fill(buffer) })
	p.mu.Lock()
	if err != nil {
		t.arrive(0)
		p.freeLocked(t, buffer)
		return err
	}
	t.arrive(e.Bytes)
	t.of(e).buffer = buffer
	return nil
}

// holdLocked pins an extent in the host's memory while it is uploaded from
// there.
func (p *Pager) holdLocked(ctx context.Context, e *extent) error {
	s := p.ram.of(e)
	for !s.resident {
		if s.loading != nil {
			if err := p.waitLocked(ctx, s.loading); err != nil {
				return err
			}
			continue
		}
		p.makeRoomLocked(p.ram, e.Bytes, demand)
		p.ram.Faults++
		if err := p.loadLocked(ctx, p.ram, e); err != nil {
			return err
		}
	}
	s.pins++
	p.clock++
	s.used = p.clock
	return nil
}

// pageLocked brings the bytes of an extent into the host's memory where its
// files are mapped and, when kernels read them there, makes them readable.
func (p *Pager) pageLocked(ctx context.Context, e *extent) error {
	unified := p.vram == nil
	var windows []device.Buffer
	p.ram.depart()
	p.mu.Unlock()
	err := fault.Guard(func() error {
		for _, part := range e.Parts {
			source := part.Source.(Mapped)
			for off := int64(0); off < part.Bytes && p.options.Mode != MMap; off += chunk {
				if err := source.Load(ctx, part.Offset+off, min(chunk, part.Bytes-off)); err != nil {
					return err
				}
			}
			if !unified {
				continue
			}
			bytes, err := source.Bytes(part.Offset, part.Bytes)
			if err != nil {
				return err
			}
			window, err := p.dev.Map(bytes)
			if err != nil {
				return err
			}
			windows = append(windows, window)
		}
		return ctx.Err()
	})
	p.mu.Lock()
	if err != nil {
		p.ram.arrive(0)
		return err
	}
	p.ram.arrive(e.Bytes)
	p.ram.of(e).windows = windows
	return nil
}

// upload copies an extent from the mapped files to the device.
func (p *Pager) upload(ctx context.Context, dst device.Buffer, e *extent) error {
	for _, part := range e.Parts {
		bytes, err := part.Source.(Mapped).Bytes(part.Offset, part.Bytes)
		if err != nil {
			return err
		}
		if err := p.dev.Upload(ctx, dst, part.At, bytes).Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// staging returns the bytes of the largest part.
func (e *extent) staging() int64 {
	var n int64
	for _, part := range e.Parts {
		n = max(n, part.Bytes)
	}
	return n
}

// scratch returns how many bytes of the host's memory computing the extent takes.
func (e *extent) scratch() int64 {
	if e.mapped {
		return 0
	}
	var most int64
	for _, part := range e.Parts {
		if c, ok := part.Source.(Computed); ok {
			most = max(most, c.Scratch())
		}
	}
	return e.staging() + most
}

// compute fills a buffer from sources that are not mapped.
func (p *Pager) compute(ctx context.Context, dst device.Buffer, e *extent) error {
	memory := make([]byte, e.staging())
	for _, part := range e.Parts {
		staging := memory[:part.Bytes]
		if err := part.Source.ReadAt(ctx, staging, part.Offset); err != nil {
			return err
		}
		if err := p.dev.Upload(ctx, dst, part.At, staging).Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
