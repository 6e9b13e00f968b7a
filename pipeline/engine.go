// Package pipeline joins weights, models, plans and the pager into what people
// work with: text encoders, denoisers, autoencoders and upscalers.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"runtime/debug"
	"sync"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/device/cpu"
	"github.com/weir-run/weir/device/link"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/trace"
	"github.com/weir-run/weir/weights"
)

// Options are the choices of an engine. The zero value is right for most.
type Options struct {
	// VRAM, when it is not 0, gives the CPU a memory of its own of that many
	// bytes, which weights and activations must share as on a graphics card.
	VRAM int64
	// RAM, when it is not 0, is how many bytes of the host's memory weights and
	// what is claimed may take, with the activations when VRAM is 0. Otherwise that is what is free,
	// looked at again several times a second.
	RAM int64
	// Link, when it is not 0, limits how many bytes a second reach that memory
	// of the CPU's own.
	Link float64
	// Memory is the way in which memory is managed. With pager.Classic whole
	// models are read into memory before they run, and what is estimated to fit
	// is kept, as programs do that page nothing.
	Memory pager.Mode
	// Trace, if it is not nil, is told of every operation, transfer and wait.
	Trace *trace.Recorder
	// Threads is how many cores are used; 0 means all.
	Threads int
	// Planned, if it is not nil, makes an engine that runs nothing: it is given
	// each program that would run and how often. Pictures and latents are planned,
	// and texts are zeros. The budgets are then VRAM and RAM, whether or not there
	// is as much.
	Planned func(m *run.Model, runs int)
}

// An Engine holds a device, its pager, the open files and the programs that
// were planned. All models of an engine share its memory. It is safe for
// concurrent use.
type Engine struct {
	dev       device.Device
	pager     *pager.Pager
	classic   bool
	maxExtent int64
	mergeRoom int64 // for the blocks of weights that LoRAs are merged into
	threads   int
	planned   func(*run.Model, int)
	programs  programs

	mu        sync.Mutex
	files     map[string]*weights.Set
	residency Residency
	stale     []*weights.Set // replaced on disk, but models may still refer to them
}

// New returns an engine on the CPU. Close ends it.
func New(o Options) *Engine {
	var dev device.Device = cpu.New(cpu.Options{Threads: o.Threads, VRAM: o.VRAM})
	if o.Link > 0 {
		dev = link.New(dev, o.Link)
	}
	memory := pager.Options{VRAM: o.VRAM, RAM: o.RAM, Own: ownHeap + dev.Info().Workspace, Mode: o.Memory, Trace: o.Trace}
	if o.Planned != nil {
		memory.Host = supposed(o.RAM)
	}
	pg := pager.New(dev, memory)
	e := &Engine{dev: dev, pager: pg, classic: o.Memory == pager.Classic, threads: o.Threads, planned: o.Planned, files: map[string]*weights.Set{}}
	// Many extents fit, so that most stay while some stream.
	e.maxExtent = max(min(64<<20, pg.Budget()/16), 64<<10)
	e.mergeRoom = max(min(32<<20, pg.HostBudget()/32), 64<<10)
	return e
}

// ownHeap is about how many bytes of the heap programs, page tables,
// vocabularies and the headers of files take.
const ownHeap = 12 << 20

// garbage is about how many bytes of the heap are garbage where little memory
// has it collected often.
const garbage = 4 << 20

// supposed returns the memory of a host that has as much as an engine that plans
// is told, or as there is now. What is planned takes nothing of it.
func supposed(ram int64) func() (host.Info, error) {
	if ram > 0 {
		return func() (host.Info, error) { return host.Info{Total: 2 * ram, Available: math.MaxInt64 / 4}, nil }
	}
	now, err := host.Memory()
	// Between the plan and the run others may take a little, and in the run there
	// is garbage.
	now.Available, now.Heap = now.Available+now.Heap-min(now.Total/16, 256<<20)-garbage, 0
	return func() (host.Info, error) { return now, err }
}

// Claim counts memory that is taken beside models, or gives it back, as
// [pager.Pager.Claim] does. What is no longer in use of the Go heap is returned
// to the system when memory is short, and when much is given back.
func (e *Engine) Claim(ctx context.Context, n int64) error {
	err := e.pager.Claim(ctx, n)
	switch {
	case e.Planning():
	case fault.Of(err) == fault.Memory:
		e.reclaim()
		err = e.pager.Claim(ctx, n)
	case -n >= max(e.pager.Budget()/16, 4<<20):
		e.reclaim()
	}
	return err
}

// reclaim returns what is no longer in use of the Go heap to the system, and
// looks how much memory there is then.
func (e *Engine) reclaim() {
	if e.Planning() {
		return
	}
	debug.FreeOSMemory()
	e.pager.Refresh()
}

// Device returns the device that models run on.
func (e *Engine) Device() device.Device { return e.dev }

// Planning reports whether the engine plans and runs nothing.
func (e *Engine) Planning() bool { return e.planned != nil }

// Stats returns the pager's counters.
func (e *Engine) Stats() pager.Stats { return e.pager.Stats() }

// Close frees all memory and closes all files. Nothing may be running.
func (e *Engine) Close() error {
	e.programs.clear()
	e.pager.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, s := range e.files {
		errs = append(errs, s.Close())
	}
	for _, s := range e.stale {
		errs = append(errs, s.Close())
	}
	e.files, e.stale = map[string]*weights.Set{}, nil
	return errors.Join(append(errs, e.dev.Close())...)
}

// open opens a file of weights, once: its header alone is read. A file that
// was replaced or written to since is opened anew.
func (e *Engine) open(ctx context.Context, path string) (*weights.Set, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s, ok := e.files[path]; ok {
		if unchanged(s) {
			return s, nil
		}
		e.stale = append(e.stale, s)
		delete(e.files, path)
	}
	s, err := weights.OpenSet(ctx, path)
	if err != nil {
		return nil, err
	}
	e.files[path] = s
	slog.Debug("opened", "file", path, "tensors", len(s.Names()))
	return s, nil
}

// Hold reads a file of weights into memory, whole, if that is the way memory is
// managed. Otherwise it does nothing.
func (e *Engine) Hold(ctx context.Context, path string) error {
	if !e.classic {
		return nil
	}
	s, err := e.open(ctx, path)
	if err != nil {
		return err
	}
	return hold(ctx, s)
}

func hold(ctx context.Context, s *weights.Set) error {
	for _, f := range s.Files() {
		if err := f.Hold(ctx); err != nil {
			return err
		}
	}
	return nil
}

func unchanged(s *weights.Set) bool {
	for _, f := range s.Files() {
		if f.Check() != nil {
			return false
		}
	}
	return true
}

// fits reports whether a program can run without being starved: beside its
// activations there is room for its weights or at least for a few extents of
// them to be streamed through.
func (e *Engine) fits(m *run.Model) bool {
	p := m.Program()
	return p.Arena+streaming(p) <= m.Room()
}

// streaming returns how many bytes of weights must have room beside the
// activations of a program.
func streaming(p *plan.Program) int64 {
	var largest int64
	for _, use := range p.Uses() {
		var n int64
		for _, x := range use {
			n += p.Extents[x].Bytes
		}
		largest = max(largest, n)
	}
	return min(p.WeightBytes(), 2*largest)
}

// arenasFor returns how large the arena of a program may be for it to fit: first
// rounded down to four binary digits, so that a budget that follows what other
// programs take gives few different plans, then to the byte.
func (e *Engine) arenasFor(m *run.Model) []int64 {
	n := max(m.Room()-streaming(m.Program()), 1)
	digits := max(bits.Len64(uint64(n))-4, 0)
	return []int64{n >> digits << digits, n}
}

// programs keeps the programs that were bound last, by what they depend on.
type programs struct {
	mu    sync.Mutex
	bound map[string]*program
	clock int64
}

type program struct {
	*run.Model
	graph string // that was planned
	users int
	used  int64
}

// maxPrograms is how many are kept. One takes about a megabyte and none of the
// weights.
const maxPrograms = 32

// get returns the program for a key, and the function to let go of it. If
// there is none it is bound; what is planned is kept as long as any program of
// the same graph is.
func (ps *programs) get(graph, key string, compile func() (*plan.Program, error), bind func(*plan.Program) (*run.Model, error)) (*run.Model, func(), error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.bound == nil {
		ps.bound = map[string]*program{}
	}
	p := ps.bound[key]
	if p == nil {
		planned := ps.planned(graph)
		if planned == nil {
			var err error
			if planned, err = compile(); err != nil {
				return nil, nil, err
			}
		}
		m, err := bind(planned)
		if err != nil {
			return nil, nil, err
		}
		p = &program{Model: m, graph: graph}
		ps.bound[key] = p
	}
	ps.clock++
	p.used = ps.clock
	p.users++
	ps.trim()
	return p.Model, func() {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		p.users--
		ps.trim()
	}, nil
}

// planned returns the program of a graph, or nil.
func (ps *programs) planned(graph string) *plan.Program {
	for _, p := range ps.bound {
		if p.graph == graph {
			return p.Program()
		}
	}
	return nil
}

// trim releases the programs that were used longest ago.
func (ps *programs) trim() {
	for len(ps.bound) > maxPrograms {
		var oldest string
		for key, p := range ps.bound {
			if p.users == 0 && (oldest == "" || p.used < ps.bound[oldest].used) {
				oldest = key
			}
		}
		if oldest == "" {
			return
		}
		ps.bound[oldest].Release()
		delete(ps.bound, oldest)
	}
}

func (ps *programs) clear() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.bound {
		p.Release()
	}
	ps.bound = nil
}

// errNotFit is the error of a program that cannot run in the memory there is.
func (e *Engine) errNotFit(what string, m *run.Model) error {
	const mib = 1 << 20
	p, merging, room := m.Program(), "", e.pager.Room()
	if n := m.Scratch(); n > 0 {
		merging = fmt.Sprintf(", beside %.2f MiB of RAM to merge LoRAs into weights", float64(n)/mib)
		if e.dev.Info().Kind == device.Discrete {
			room += ", and " + e.pager.HostRoom()
		}
	}
	return fmt.Errorf("%s needs %.2f MiB, %.2f MiB for activations even in tiles and the rest for weights that are in use or on their way%s, and %s: %w",
		what, float64(p.Arena+streaming(p))/mib, float64(p.Arena)/mib, merging, room, device.ErrNoMemory)
}
