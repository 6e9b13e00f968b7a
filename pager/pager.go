package pager

import (
	"context"
	"sync"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/trace"
)

// A Source is where the bytes of a weight come from. Its errors name the file,
// the tensor and the offset.
type Source interface {
	// ReadAt fills p with the bytes from off on.
	ReadAt(ctx context.Context, p []byte, off int64) error
}

// A Mapped source is one whose bytes can be used where they are: those of a
// mapped file. The others are computed, and pass through ReadAt.
type Mapped interface {
	Source
	// Bytes returns memory that holds the bytes from off on, without reading
	// them.
	Bytes(off, n int64) ([]byte, error)
	// Load reads the bytes into the host's memory, so that who uses them waits
	// for no disk.
	Load(ctx context.Context, off, n int64) error
	// Drop lets the host's memory forget the bytes. They stay valid.
	Drop(off, n int64)
}

// A Computed source says how many bytes of the host's memory ReadAt takes while it
// computes, beside those that it fills. Others are taken to need none.
type Computed interface {
	Source
	Scratch() int64
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
	// Key and Signature are the identity of the contents: where they come from
	// and which generation of them this is. Spaces whose manifests have the same
	// share the extent's memory.
	Key       string
	Signature uint64
	Name      string // for people
	Bytes     int64
	Parts     []Part
}

// A Manifest is the extents of a model.
type Manifest struct {
	Name    string // for errors
	Extents []Extent
}

// Options are the choices of a pager.
type Options struct {
	// VRAM is how many bytes weights and activations may take together on a
	// discrete device; 0 stands for all that is free.
	VRAM int64
	// RAM is how many bytes weights and claims may take in the host's memory, with
	// the activations of a unified device; 0 stands for what is free, which is
	// looked at again several times a second.
	RAM int64
	// Own is how many bytes of the Go heap the program takes for itself at most,
	// beside those that are claimed: as much is left free of weights.
	Own int64
	// Host tells the host's memory; nil stands for [host.Memory].
	Host func() (host.Info, error)
	Mode Mode
	// Trace, if it is not nil, is told of every transfer, wait and eviction.
	Trace *trace.Recorder
}

// A Mode is a way of managing memory. All but Dynamic are there to be compared
// with.
type Mode string

const (
	// Dynamic is what the pager is for.
	Dynamic Mode = ""
	// Classic is as blind as what came before: the first extents that fit are
	// kept, and each of the others is brought in when it is used, not ahead.
	Classic Mode = "classic"
	// MMap leaves the host's memory to the system's page cache: files are
	// mapped, and nothing is read ahead or dropped.
	MMap Mode = "mmap"
)

// A Pager keeps the extents of many models in memory within budgets. It is
// safe for concurrent use.
//
// Invariants: on a discrete device resident + in flight + activations ≤
// budget at every instant, and in the host's memory whenever what is pinned
// allows it; a pinned extent is never evicted; the contents of a resident
// extent are those of its signature.
type Pager struct {
	dev     device.Device
	options Options

	// giving is held for reading while the device gives memory, so that what it
	// says is free can be looked at when nobody is between asking and counting. It
	// comes before mu.
	giving sync.RWMutex

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when memory may have become free
	waiting int           // how many goroutines wait for anything
	table   map[identity]*extent
	ram     *tier
	vram    *tier // nil on a unified device
	top     *tier // the one that kernels read
	passes  []*Pass
	starved map[*Pass]bool // passes whose use waits for room
	coming  *Schedule      // what will run next, when that is known
	expires int64          // the count of passes at which it is no longer expected
	idle    *arena         // kept for the next run of the same size
	scratch int64          // claimed for computing extents while passes run
	clock   int64
	begun   int64 // passes so far
	closed  bool
	host    host.Info // as it was looked at last

	// computing holds a token: who has it computes an extent, alone.
	computing chan struct{}

	// The loaders are goroutines that bring in what is needed next: two read
	// files into the host's memory, and one fills a discrete device. Another
	// goroutine follows the budgets. The first pass starts them, Close ends them.
	cancel  context.CancelFunc
	loaders sync.WaitGroup
}

// New returns a pager of a device. Close ends it.
func New(dev device.Device, o Options) *Pager {
	if o.Host == nil {
		o.Host = host.Memory
	}
	p := &Pager{
		dev: dev, options: o, changed: make(chan struct{}), table: map[identity]*extent{}, starved: map[*Pass]bool{},
		ram: newTier(0, "RAM", o.RAM), computing: make(chan struct{}, 1),
	}
	p.computing <- struct{}{}
	p.ram.soft = true
	p.top = p.ram
	if dev.Info().Kind == device.Discrete {
		p.vram = newTier(1, "VRAM", o.VRAM)
		p.top = p.vram
	}
	p.Refresh()
	return p
}

// Device returns the device.
func (p *Pager) Device() device.Device { return p.dev }

// Trace returns the recorder of the options, which may be nil.
func (p *Pager) Trace() *trace.Recorder { return p.options.Trace }

// Budget returns how many bytes weights and activations may now take together
// where kernels read them.
func (p *Pager) Budget() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.top.Budget - p.top.Claimed
}

// HostBudget is Budget for the host's memory.
func (p *Pager) HostBudget() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ram.Budget - p.ram.Claimed
}

// Stats returns the counters of both tiers; those of VRAM are zero on a
// unified device.
func (p *Pager) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{RAM: p.ram.Tier}
	if p.vram != nil {
		s.VRAM = p.vram.Tier
	}
	return s
}

// tiers returns the tiers, the one that kernels read first.
func (p *Pager) tiers() []*tier {
	if p.vram != nil {
		return []*tier{p.vram, p.ram}
	}
	return []*tier{p.ram}
}

// Close frees all memory and waits for what is being read. No pass may be
// under way. What files have in the page cache stays there.
func (p *Pager) Close() {
	p.mu.Lock()
	p.closed = true
	cancel := p.cancel
	p.mu.Unlock()
	if cancel != nil {
		cancel()
		p.mu.Lock()
		p.rouseLocked()
		p.mu.Unlock()
		p.loaders.Wait()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeIdleLocked()
	for _, e := range p.table {
		for _, t := range p.tiers() {
			p.releaseLocked(t, e)
		}
	}
	p.table = map[identity]*extent{}
}

// notifyLocked wakes all who wait for memory.
func (p *Pager) notifyLocked() {
	if p.waiting == 0 {
		return
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// waitLocked lets go of the lock until the channel is closed.
func (p *Pager) waitLocked(ctx context.Context, c <-chan struct{}) error {
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
