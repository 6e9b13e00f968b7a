// Package pager decides which weights are in a device's memory. It knows no
// model and no operation: only extents, the order in which they will be used,
// and a budget.
//
// A user reserves a [Space] for the extents of a model, which costs no memory,
// begins a [Pass] for each run of a program, with the order in which the run
// uses them, and acquires and releases each use in turn. While one use is
// worked with, the pass brings in the extents of the next ones.
package pager

import (
	"context"
	"fmt"
	"sync"

	"github.com/weir-run/weir/device"
)

// A Source is where the bytes of a weight come from. Its errors name the file,
// the tensor and the offset.
type Source interface {
	// ReadAt fills p with the bytes from off on.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Bytes returns memory that holds the bytes from off on, without reading
	// them: those of a mapped file. Devices that share the host's memory use
	// them in place.
	Bytes(off, n int64) ([]byte, error)
}

// A Part is a run of bytes of a source, and its place in an extent.
type Part struct {
	Source        Source
	Offset, Bytes int64
	At            int64
}

// An Extent is the unit of residency: weights that are used together and
// moved as one.
type Extent struct {
	// Key is the identity of the extent. Spaces whose manifests have the same
	// key share the extent's memory.
	Key string
	// Signature is the generation of the contents. A resident extent whose
	// signature is another one is read again before it is used.
	Signature uint64
	Bytes     int64
	Parts     []Part
}

// A Manifest is the extents of a model.
type Manifest struct {
	Name    string // for errors
	Extents []Extent
}

// A Schedule is the order in which a pass uses extents.
type Schedule struct {
	// Uses are, for each use, the indices in the manifest of the extents that
	// must be resident at once.
	Uses [][]int
}

// Stats are counters since the pager was made, and what is held now, in
// bytes.
type Stats struct {
	Resident    int64 // extents whose contents are in the device's memory
	InFlight    int64 // extents that are being read
	Activations int64 // arenas, the idle one included
	Budget      int64 // 0 on a unified device, where extents take no memory
	Peak        int64 // the largest sum of the first three
	Moved       int64 // bytes read into the device's memory
	Faults      int64 // extents that a use had to wait for
	Evictions   int64
}

// A Pager keeps the extents of many models on one device within a budget. It
// is safe for concurrent use.
//
// Invariants: resident + in flight + activations ≤ budget at every instant
// (on a discrete device); a pinned extent is never evicted; the contents of a
// resident extent are those of its signature.
type Pager struct {
	dev     device.Device
	unified bool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when memory may have become free
	waiting int           // how many goroutines wait for anything
	budget  int64
	table   map[string]*extent
	passes  map[*Pass]bool
	idle    *Arena // kept for the next run of the same size
	clock   int64
	stats   Stats
}

// New returns a pager of a device. On a discrete one, weights and activations
// together take at most budget bytes; 0 stands for all that is free now.
func New(dev device.Device, budget int64) *Pager {
	info := dev.Info()
	p := &Pager{
		dev: dev, unified: info.Kind == device.Unified, budget: budget,
		changed: make(chan struct{}), table: map[string]*extent{}, passes: map[*Pass]bool{},
	}
	if budget <= 0 || budget > info.Free {
		p.budget = info.Free
	}
	if !p.unified {
		p.stats.Budget = p.budget
	}
	return p
}

// Device returns the device.
func (p *Pager) Device() device.Device { return p.dev }

// Budget returns how many bytes weights and activations may take together. On
// a unified device, where weights take none, it is what was free at first.
func (p *Pager) Budget() int64 { return p.budget }

// Stats returns the counters.
func (p *Pager) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// An extent is an entry of the page table.
type extent struct {
	Extent
	spaces int // that refer to it
	pins   int

	resident bool
	contents uint64          // the signature of what is resident
	loading  chan struct{}   // not nil while it is read; closed when that ends
	buffer   device.Buffer   // on a discrete device
	mapped   []device.Buffer // of each part, on a unified one
	used     int64           // when, by the pager's clock
}

// current reports whether the extent can be used as it is.
func (e *extent) current() bool { return e.resident && e.contents == e.Signature }

// A Space is the page table of a model.
type Space struct {
	pager   *Pager
	name    string
	extents []*extent
}

// Reserve returns a space for the extents of a manifest. It reads and
// allocates nothing. What is resident already under the same key is shared.
func (p *Pager) Reserve(m Manifest) (*Space, error) {
	for _, e := range m.Extents {
		for _, part := range e.Parts {
			if part.At < 0 || part.Bytes < 0 || part.At+part.Bytes > e.Bytes {
				return nil, fmt.Errorf("%s: a part of %d bytes at %d does not fit in the extent of %d bytes", m.Name, part.Bytes, part.At, e.Bytes)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &Space{pager: p, name: m.Name}
	for _, e := range m.Extents {
		x := p.table[e.Key]
		if x == nil || x.Bytes != e.Bytes {
			x = &extent{}
			p.table[e.Key] = x
		}
		// The newest sources are the ones whose files are open.
		x.Extent = e
		x.spaces++
		s.extents = append(s.extents, x)
	}
	return s, nil
}

// Release gives the space back. Extents that no other space refers to stay
// resident for a later one until their memory is needed, except on a unified
// device, where they cost nothing to have again. No pass may be under way.
func (s *Space) Release() {
	p := s.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range s.extents {
		if e.spaces--; e.spaces > 0 {
			continue
		}
		if p.unified || !e.resident {
			p.drop(e)
			if p.table[e.Key] == e {
				delete(p.table, e.Key)
			}
		}
	}
	s.extents = nil
}

// drop ends the residency of an extent that is not pinned.
func (p *Pager) drop(e *extent) {
	if !e.resident {
		return
	}
	if e.buffer != nil {
		p.dev.Free(e.buffer)
		p.stats.Resident -= e.Bytes
	}
	e.resident, e.buffer, e.mapped = false, nil, nil
	if e.spaces == 0 && p.table[e.Key] == e {
		delete(p.table, e.Key)
	}
	p.notify()
}

// notify wakes all who wait for memory.
func (p *Pager) notify() {
	if p.waiting == 0 {
		return
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// held returns the bytes that count against the budget.
func (p *Pager) held() int64 {
	return p.stats.Resident + p.stats.InFlight + p.stats.Activations
}

// grown keeps the peak.
func (p *Pager) grown() { p.stats.Peak = max(p.stats.Peak, p.held()) }
