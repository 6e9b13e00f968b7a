package pager

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/ir"
)

// fake is a device that only has memory, and the host's memory beside it.
type fake struct {
	mu       sync.Mutex
	total    int64
	used     int64
	hostile  int64 // bytes that another program has taken
	failures int   // allocations that will fail with an error of the device
	uploads  int   // uploads that will
	unified  bool
	ram      int64 // of the host, available
	seen     int   // how often that was asked for
	// event, if it is not nil, is called before each read, allocation and upload,
	// whose error is then its own.
	event func(what string) error
}

func (d *fake) happens(what string) error {
	if d.event == nil {
		return nil
	}
	return d.event(what)
}

func (d *fake) host() (host.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen++
	// What is held of it for good is not available, and the headroom is not the
	// test's subject.
	available := d.ram + headroom(1<<30)
	if d.unified {
		available -= d.used
	}
	return host.Info{Total: 1 << 30, Available: available}, nil
}

func (d *fake) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// pager returns a pager of the device, with a host's memory that holds
// everything unless it says otherwise.
func (d *fake) pager(t testing.TB, o Options) *Pager {
	if d.ram == 0 {
		d.ram = 1 << 20
	}
	o.Host = d.host
	p := New(d, o)
	t.Cleanup(p.Close)
	return p
}

type memory struct{ bytes []byte }

func (m *memory) Size() int64 { return int64(len(m.bytes)) }

func (d *fake) Info() device.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unified {
		return device.Info{Name: "fake", Kind: device.Unified, Total: d.total, Free: d.total}
	}
	return device.Info{Name: "fake", Kind: device.Discrete, Total: d.total, Free: d.total - d.used - d.hostile}
}

var errBroken = errors.New("the device is broken")

func (d *fake) Alloc(n int64) (device.Buffer, error) {
	if err := d.happens("allocation"); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failures > 0 {
		d.failures--
		return nil, errBroken
	}
	if d.used+d.hostile+n > d.total {
		return nil, device.NoMemory("fake", n, d.total-d.used-d.hostile, d.total)
	}
	d.used += n
	return &memory{make([]byte, n)}, nil
}

func (d *fake) Free(b device.Buffer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used -= b.Size()
	clear(b.(*memory).bytes) // whoever still uses it will see
}

func (d *fake) Map(src []byte) (device.Buffer, error) {
	if !d.unified {
		return nil, errors.New("the fake device is discrete")
	}
	return &memory{src}, nil
}

func (d *fake) Upload(_ context.Context, dst device.Buffer, off int64, src []byte) device.Event {
	if err := d.happens("upload"); err != nil {
		return device.Done(err)
	}
	d.mu.Lock()
	broken := d.uploads > 0
	if broken {
		d.uploads--
	}
	d.mu.Unlock()
	if broken {
		return device.Done(errBroken)
	}
	copy(dst.(*memory).bytes[off:], src)
	return device.Done(nil)
}

func (d *fake) Download(context.Context, []byte, device.Buffer, int64) device.Event {
	return device.Done(nil)
}
func (d *fake) Run(context.Context, *ir.Op, device.Args) device.Event { return device.Done(nil) }
func (d *fake) Close() error                                          { return nil }

// file is a source whose bytes tell which it is.
type file struct {
	name  string
	seed  byte
	size  int64
	delay time.Duration
	event func(what string) error // as that of the device

	mu      sync.Mutex
	fail    int   // reads that will fail
	read    int64 // bytes
	dropped int64
}

func (f *file) at(off int64) byte { return byte(off*31+off>>8) ^ f.seed }

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := f.Load(ctx, off, int64(len(p))); err != nil {
		return err
	}
	for i := range p {
		p[i] = f.at(off + int64(i))
	}
	return nil
}

func (f *file) Load(ctx context.Context, off, n int64) error {
	if f.event != nil {
		if err := f.event("read"); err != nil {
			return err
		}
	}
	f.mu.Lock()
	broken := f.fail > 0
	if broken {
		f.fail--
	} else {
		f.read += n
	}
	f.mu.Unlock()
	if broken {
		return fmt.Errorf("%s: tensor w: the disk failed at offset %d", f.name, off)
	}
	if f.delay > 0 {
		select {
		case <-time.After(f.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

func (f *file) Drop(_, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropped += n
}

func (f *file) Bytes(off, n int64) ([]byte, error) {
	p := make([]byte, n)
	for i := range p {
		p[i] = f.at(off + int64(i))
	}
	return p, nil
}

// computed is a source that is not mapped.
type computed struct{ f *file }

func (c computed) ReadAt(ctx context.Context, p []byte, off int64) error {
	return c.f.ReadAt(ctx, p, off)
}

// of returns the file behind a source.
func of(s Source) *file {
	switch s := s.(type) {
	case merging:
		return s.f
	case computed:
		return s.f
	}
	return s.(*file)
}

// manifest makes n extents of the given sizes, each of two parts.
func manifest(name string, sizes ...int64) (Manifest, []*file) {
	m := Manifest{Name: name}
	var files []*file
	for i, size := range sizes {
		f := &file{name: fmt.Sprintf("%s.%d", name, i), seed: byte(rand.Uint32()), size: size}
		files = append(files, f)
		half := size / 2
		m.Extents = append(m.Extents, Extent{
			Key: f.name, Name: f.name, Bytes: size,
			Parts: []Part{{f, 0, half, 0}, {f, half, size - half, half}},
		})
	}
	return m, files
}

// model reserves a space and makes a schedule.
func model(t testing.TB, p *Pager, m Manifest, uses [][]int) *Schedule {
	t.Helper()
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	sched, err := s.Schedule(uses, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sched
}

// check fails the test when an invariant is broken. It is called at any time.
func (p *Pager) check(t *testing.T, d *fake) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var copies int64 // in the host's memory, of what is not mapped there
	for _, tier := range p.tiers() {
		var resident, pinned, listed int64
		for id, e := range p.table {
			s := tier.of(e)
			if tier == p.ram && s.buffer != nil {
				copies += e.Bytes
			}
			if s.resident {
				resident += e.Bytes
			}
			if s.pins > 0 {
				pinned += e.Bytes
			}
			if s.pins > 0 && !s.resident {
				t.Errorf("%s: the pinned extent %s is not resident", tier.name, id.key)
			}
			if s.pins < 0 || s.keeps < 0 || e.passes < 0 {
				t.Errorf("%s: the extent %s has %d pins, %d keeps and %d passes", tier.name, id.key, s.pins, s.keeps, e.passes)
			}
			if s.resident != (s.in != nil) {
				t.Errorf("%s: the extent %s is resident: %v, on a list: %v", tier.name, id.key, s.resident, s.in != nil)
			}
		}
		for _, l := range []*list{&tier.cold, &tier.loose, &tier.kept} {
			for e := l.first; e != nil; e = tier.of(e).next {
				listed += e.Bytes
				if tier.of(e).in != l {
					t.Errorf("%s: the extent %s is on another list than it says", tier.name, e.Name)
				}
			}
		}
		if resident != tier.Resident || listed != resident {
			t.Errorf("%s: resident extents have %d bytes, those on lists %d, the counter says %d", tier.name, resident, listed, tier.Resident)
		}
		// What is pinned or on its way when a budget shrinks stays until it is let
		// go of, and in the host's memory a use goes on all the same.
		if tier.Held() > tier.Budget && !tier.soft {
			t.Errorf("%s: resident %d + in flight %d + activations %d > budget %d", tier.name, tier.Resident, tier.InFlight, tier.Activations, tier.Budget)
		}
		if tier.soft && tier.Resident > tier.Budget && tier.Resident > 2*pinned+tier.InFlight {
			t.Errorf("%s: %d bytes are resident of a budget of %d, and only %d are pinned", tier.name, tier.Resident, tier.Budget, pinned)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	held, given := copies+p.ram.Activations, p.ram.buffers
	if p.vram != nil {
		held, given = held+p.vram.Held(), given+p.vram.buffers
	}
	// Buffers are counted before they are asked for.
	if d.used < given || d.used > held+p.ram.InFlight {
		t.Errorf("the device has given %d bytes, the pager knows of %d and holds %d", d.used, given, held)
	}
}

// contents fails the test when a pinned use has other bytes than its files.
func (ps *Pass) contents(t *testing.T, i int) {
	t.Helper()
	for _, x := range ps.sched.uses[i] {
		e := ps.space.extents[x]
		for k, part := range e.Parts {
			buffer, off := ps.Part(x, k)
			f := of(part.Source)
			for j := range part.Bytes {
				if got, want := buffer.(*memory).bytes[off+j], f.at(part.Offset+j); got != want {
					t.Errorf("use %d: byte %d of part %d of %s is %d, want %d", i, j, k, e.Key, got, want)
					return
				}
			}
		}
	}
}

// run makes a whole pass and checks everything on the way.
func run(t *testing.T, d *fake, s *Schedule, activations int64) error {
	t.Helper()
	return runUntil(t, t.Context(), d, s, activations)
}

func runUntil(t *testing.T, ctx context.Context, d *fake, s *Schedule, activations int64) error {
	t.Helper()
	p := s.space.pager
	pass, err := p.Begin(ctx, s, activations)
	if err != nil {
		return err
	}
	defer pass.End()
	for i := range s.uses {
		if err := pass.Acquire(ctx, i); err != nil {
			return err
		}
		p.check(t, d)
		pass.contents(t, i)
		pass.Release(i)
	}
	return nil
}

// runs makes n whole passes.
func runs(t *testing.T, d *fake, s *Schedule, activations int64, n int) {
	t.Helper()
	for range n {
		if err := run(t, d, s, activations); err != nil {
			t.Fatal(err)
		}
	}
}

// bytesRead returns how many bytes were read of files so far.
func bytesRead(files []*file) (n int64) {
	for _, f := range files {
		f.mu.Lock()
		n += f.read
		f.mu.Unlock()
	}
	return n
}

func scan(n int) (uses [][]int) {
	for i := range n {
		uses = append(uses, []int{i})
	}
	return uses
}

func sizes(n int, size int64) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = size
	}
	return out
}

// settle waits until nothing is being brought in.
func (p *Pager) settle() {
	for {
		p.mu.Lock()
		busy := false
		for _, t := range p.tiers() {
			busy = busy || t.InFlight > 0 || p.cancel != nil && t.idle < t.staff
		}
		p.mu.Unlock()
		if !busy {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func TestModelThatFitsMovesNothingAgain(t *testing.T) {
	for _, unified := range []bool{false, true} {
		d := &fake{total: 1000, unified: unified}
		p := d.pager(t, Options{})
		m, files := manifest("m", sizes(10, 100)...)
		s := model(t, p, m, scan(10))
		for pass := range 3 {
			if err := run(t, d, s, 0); err != nil {
				t.Fatal(err)
			}
			if got := p.top.Moved; got != 1000 {
				t.Errorf("after pass %d, %d bytes were moved, want 1000", pass, got)
			}
		}
		// Another program of the same model finds everything resident.
		again := model(t, p, m, scan(10))
		s.space.Release()
		if err := run(t, d, again, 0); err != nil {
			t.Fatal(err)
		}
		if got := p.top.Moved; got != 1000 {
			t.Errorf("a second space moved bytes again: %d", got)
		}
		for _, f := range files {
			if f.read != 100 || f.dropped != 0 {
				t.Errorf("%s: %d bytes were read and %d dropped, want 100 and none", f.name, f.read, f.dropped)
			}
		}
	}
}

// TestCyclicScanKeepsAFixedSet compares the bytes a steady pass moves with
// what the split says: what is not kept, where LRU would move everything.
func TestCyclicScanKeepsAFixedSet(t *testing.T) {
	for _, unified := range []bool{false, true} {
		for _, fit := range []int{5, 10, 20, 39} {
			d := &fake{total: int64(fit) * 100, unified: unified, ram: int64(fit) * 100}
			if !unified {
				d.ram = 1 << 20
			}
			p := d.pager(t, Options{})
			m, _ := manifest("m", sizes(40, 100)...)
			s := model(t, p, m, scan(40))
			runs(t, d, s, 0, 9) // what is learnt is next looked at after 16
			p.settle()
			before, depth := p.top.Moved, s.depth[p.top.index]
			runs(t, d, s, 0, 7)
			p.settle()
			split, _ := s.Split()
			if s.depth[p.top.index] == depth && split.Kept != max(int64(fit)*100-depth, 0)/100*100 {
				t.Errorf("with room for %d of 40 extents %d bytes are kept, and %d are for streaming", fit, split.Kept, depth)
			}
			// An extent that was on its way at the end of the last pass counts.
			if moved := p.top.Moved - before; moved > 7*split.Streamed+depth {
				t.Errorf("with room for %d of 40 extents seven passes move %d bytes, and %d are not kept", fit, moved, split.Streamed)
			}
		}
	}
}

// TestEvictedPagesAreDropped counts what files were told to forget: all that was
// read and is no longer resident in the host's memory.
func TestEvictedPagesAreDropped(t *testing.T) {
	for _, unified := range []bool{false, true} {
		d := &fake{total: 1500, ram: 1500, unified: unified}
		p := d.pager(t, Options{})
		m, files := manifest("m", sizes(40, 100)...)
		s := model(t, p, m, scan(40))
		runs(t, d, s, 0, 3)
		p.settle()
		var dropped int64
		for _, f := range files {
			f.mu.Lock()
			dropped += f.dropped
			f.mu.Unlock()
		}
		if want := bytesRead(files) - p.Stats().RAM.Resident; dropped != want || dropped == 0 {
			t.Errorf("unified %v: %d bytes were dropped, %d were read that are no longer resident", unified, dropped, want)
		}
	}
}

// TestTwoTiers has a model of which neither memory holds all: the device keeps
// a part, the host's memory another, and only the rest is read in each pass.
func TestTwoTiers(t *testing.T) {
	d := &fake{total: 1300, ram: 1300}
	p := d.pager(t, Options{})
	m, files := manifest("m", sizes(40, 100)...)
	s := model(t, p, m, scan(40))
	runs(t, d, s, 0, 9) // what is learnt is next looked at after 16
	p.settle()
	before := bytesRead(files)
	runs(t, d, s, 0, 7)
	p.settle()
	top, ram := s.Split()
	if top.Kept < 1300-s.depth[1]-99 || ram.Streamed > 4000-2600+s.depth[0]+s.depth[1]+198 {
		t.Errorf("the device keeps %d bytes, %d are read in each pass: each tier has room for 1300, of 4000", top.Kept, ram.Streamed)
	}
	if got := bytesRead(files) - before; got > 7*ram.Streamed+400 {
		t.Errorf("seven passes read %d bytes, %d are streamed in each", got, ram.Streamed)
	}
}

// TestSpread looks at every beginning of the order in which extents are given
// up: the largest gap between them is at most three times the mean.
func TestSpread(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 40, 1000} {
		points := make([]float64, n)
		for i := range points {
			points[i] = float64(i)
		}
		order := spread(points, sizes(n, 1), float64(n))
		if len(order) != n {
			t.Fatalf("%d of %d points are in the order", len(order), n)
		}
		seen := make([]bool, n)
		for k, i := range order {
			if seen[i] {
				t.Fatalf("point %d is in the order twice", i)
			}
			seen[i] = true
			gap, last := 0, -1
			for j := range n {
				if seen[j] {
					gap, last = max(gap, j-last), j
				}
			}
			gap = max(gap, n-last)
			if mean := float64(n+1) / float64(k+2); float64(gap) > 3*mean+1 {
				t.Errorf("after %d of %d points the largest gap is %d, the mean %.1f", k+1, n, gap, mean)
			}
		}
	}
	// Points whose time is not evenly spread: half of the time is in the first
	// tenth of the points.
	var points []float64
	for i := range 10 {
		points = append(points, float64(i)*10)
	}
	for i := range 90 {
		points = append(points, 100+float64(i))
	}
	first := 0
	for _, i := range spread(points, sizes(100, 1), 190)[:10] {
		if i < 10 {
			first++
		}
	}
	if first < 4 || first > 6 {
		t.Errorf("of the first ten points %d lie in the first half of the time", first)
	}
}

func TestModelsShareTheBudget(t *testing.T) {
	d := &fake{total: 1000}
	p := d.pager(t, Options{})
	var models []*Schedule
	for _, name := range []string{"a", "b", "c"} {
		m, _ := manifest(name, sizes(4, 100)...)
		s := model(t, p, m, scan(4))
		models = append(models, s)
		if err := run(t, d, s, 0); err != nil {
			t.Fatal(err)
		}
	}
	// c needed 200 bytes more than there were: they come from a, which ran
	// longest ago, and from nobody else.
	resident := func(s *Schedule) (got int) {
		for _, e := range s.space.extents {
			if p.vram.of(e).resident {
				got++
			}
		}
		return got
	}
	for i, want := range []int{2, 4, 4} {
		if got := resident(models[i]); got != want {
			t.Errorf("%d extents of model %d are resident, want %d", got, i, want)
		}
	}
	// a runs again and reads what it lost, no more.
	before := p.Stats().VRAM.Moved
	if err := run(t, d, models[0], 0); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().VRAM.Moved - before; got != 200 {
		t.Errorf("a moved %d bytes when it ran again, want the 200 that had made way", got)
	}
	if got := resident(models[1]); got != 2 {
		t.Errorf("%d extents of b are resident, want 2: it ran longest ago", got)
	}
}

// TestPrefetch has another model announced while one runs.
func TestPrefetch(t *testing.T) {
	d := &fake{total: 1000}
	p := d.pager(t, Options{})
	a, _ := manifest("a", sizes(4, 100)...)
	b, _ := manifest("b", sizes(8, 100)...)
	first, second := model(t, p, a, scan(4)), model(t, p, b, scan(8))
	pass, err := p.Begin(t.Context(), first, 0)
	if err != nil {
		t.Fatal(err)
	}
	second.Prefetch()
	p.settle()
	pass.End()
	p.mu.Lock()
	for i, e := range second.space.extents {
		if resident := p.vram.of(e).resident; resident != (i < 6) {
			t.Errorf("extent %d of the next model is resident: %v", i, resident)
		}
	}
	p.mu.Unlock()
	if err := run(t, d, second, 0); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().VRAM.Evictions; got != 2 {
		t.Errorf("%d extents made way, want 2", got)
	}
}

// TestPrefetchBesideStreaming announces another model during the last pass of
// one that does not fit: its first extents are there when it begins, what the
// running one keeps stays, and nothing is brought in for a repetition that does
// not come.
func TestPrefetchBesideStreaming(t *testing.T) {
	for _, unified := range []bool{false, true} {
		d := &fake{total: 2000, ram: 2000, unified: unified}
		if !unified {
			d.ram = 1 << 20
		}
		p := d.pager(t, Options{})
		a, files := manifest("a", sizes(40, 100)...)
		b, _ := manifest("b", sizes(8, 100)...)
		first, second := model(t, p, a, scan(40)), model(t, p, b, scan(8))
		runs(t, d, first, 0, 2)
		p.settle()
		second.Prefetch()
		if err := run(t, d, first, 0); err != nil {
			t.Fatal(err)
		}
		p.settle()
		there := 0
		p.mu.Lock()
		for ; there < 8 && p.top.of(second.space.extents[there]).resident; there++ {
		}
		p.mu.Unlock()
		if there == 0 || there > 5 {
			t.Errorf("unified %v: the first %d extents of the next model are resident, want some, of a quarter of the memory", unified, there)
		}
		split, _ := first.Split()
		before, moved := bytesRead(files), p.Stats().Top().Moved
		if err := run(t, d, second, 0); err != nil {
			t.Fatal(err)
		}
		p.settle()
		if got := p.Stats().Top().Moved - moved; got > int64(8-there)*100 {
			t.Errorf("unified %v: %d bytes were moved for the next model, of which %d of 8 extents were there", unified, got, there)
		}
		if bytesRead(files) != before {
			t.Errorf("unified %v: a model was read that does not run", unified)
		}
		if err := run(t, d, first, 0); err != nil {
			t.Fatal(err)
		}
		p.settle()
		if again := p.Stats().Top().Moved - moved; again > split.Streamed+800+1000 {
			t.Errorf("unified %v: %d bytes were moved by both, %d are streamed", unified, again, split.Streamed)
		}
	}
}

// TestAnnouncedPassIsTheLast has another model announced while one runs that does
// not fit: when the pass needs nothing more, the first extents of the next model
// come in before it ends, and none for a repetition of its own.
func TestAnnouncedPassIsTheLast(t *testing.T) {
	d := &fake{total: 2000}
	p := d.pager(t, Options{})
	a, _ := manifest("a", sizes(40, 100)...)
	b, _ := manifest("b", sizes(8, 100)...)
	first, second := model(t, p, a, scan(40)), model(t, p, b, scan(8))
	runs(t, d, first, 0, 2)
	p.settle()
	second.Prefetch()
	pass, err := p.Begin(t.Context(), first, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pass.End()
	for i := range 40 {
		if err := pass.Acquire(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		pass.Release(i)
	}
	p.settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.vram.of(second.space.extents[0]).resident {
		t.Error("nothing of the next model came in before the pass ended")
	}
}

func TestActivationsComeFirst(t *testing.T) {
	d := &fake{total: 1000}
	p := d.pager(t, Options{})
	m, _ := manifest("m", sizes(10, 100)...)
	s := model(t, p, m, scan(10))
	if err := run(t, d, s, 0); err != nil {
		t.Fatal(err)
	}
	if err := run(t, d, s, 850); err != nil {
		t.Errorf("with room for one extent: %v", err)
	}
	pairs := model(t, p, m, [][]int{{0, 1}})
	if _, err := p.Begin(t.Context(), pairs, 850); !errors.Is(err, device.ErrNoMemory) || !strings.Contains(err.Error(), "200 bytes of weights beside 850 bytes of activations, and the budget is 1000") {
		t.Errorf("a use that cannot fit must be refused before the first operation: %v", err)
	}
	if err := run(t, d, s, 0); err != nil {
		t.Fatal(err)
	}
	p.check(t, d)
	if _, err := p.Begin(t.Context(), s, 1001); !errors.Is(err, device.ErrNoMemory) {
		t.Errorf("activations above the budget must be refused: %v", err)
	}
}

// TestPassesWaitForEachOther begins a pass that does not fit beside another
// one: it waits for it, and can be cancelled.
func TestPassesWaitForEachOther(t *testing.T) {
	d := &fake{total: 1000}
	p := d.pager(t, Options{})
	m, _ := manifest("m", sizes(4, 100)...)
	s := model(t, p, m, scan(4))
	first, err := p.Begin(t.Context(), s, 600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Begin(ctx, s, 600); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pass that does not fit beside another: %v", err)
	}
	done := make(chan error)
	go func() { done <- run(t, d, s, 600) }()
	first.End()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReadErrorLeavesThePagerUsable(t *testing.T) {
	for _, kind := range []string{"unified", "discrete", "computed"} {
		d := &fake{total: 300, ram: 300, unified: kind == "unified"}
		p := d.pager(t, Options{})
		m, files := manifest("m", sizes(6, 100)...)
		if kind == "computed" {
			for i := range m.Extents[3].Parts {
				m.Extents[3].Parts[i].Source = computed{files[3]}
			}
		}
		s := model(t, p, m, scan(6))
		files[3].fail = math.MaxInt // the loader may try as well
		err := run(t, d, s, 0)
		if err == nil || err.Error() != "m.3: tensor w: the disk failed at offset 0" {
			t.Errorf("%s: the error must be the source's: %v", kind, err)
		}
		p.settle()
		p.check(t, d)
		files[3].mu.Lock()
		files[3].fail = 0
		files[3].mu.Unlock()
		if err := run(t, d, s, 0); err != nil {
			t.Errorf("%s: the next run: %v", kind, err)
		}
	}
}

func TestMemoryTakenByOthers(t *testing.T) {
	d := &fake{total: 1000}
	p := d.pager(t, Options{})
	m, _ := manifest("m", sizes(10, 100)...)
	s := model(t, p, m, scan(10))
	d.set(func() { d.hostile = 600 })
	if err := run(t, d, s, 0); err != nil {
		t.Errorf("with 400 of 1000 bytes: %v", err)
	}
	p.settle()
	p.check(t, d)
	p.Refresh()
	if got := p.Budget(); got != 400 {
		t.Errorf("the budget is %d when others have 600 of 1000", got)
	}
	d.set(func() { d.hostile = 950 })
	p.Refresh()
	if err := run(t, d, s, 0); !errors.Is(err, device.ErrNoMemory) {
		t.Errorf("with no room for one extent: %v", err)
	}
	d.set(func() { d.hostile, d.failures = 0, math.MaxInt })
	p.Refresh()
	if err := run(t, d, s, 0); !errors.Is(err, errBroken) {
		t.Errorf("an error of the device must come out: %v", err)
	}
	d.set(func() { d.failures = 0 })
	if err := run(t, d, s, 0); err != nil {
		t.Error(err)
	}
}

// TestPassesWhoseMemoryIsTaken has another program take nearly all of the
// device while several passes run side by side: each ends with an error, none
// waits for ever, and when the memory is back all is well.
func TestPassesWhoseMemoryIsTaken(t *testing.T) {
	for _, left := range []int64{0, 150, 250, 350} {
		d := &fake{total: 1200}
		p := d.pager(t, Options{})
		var passes []*Pass
		for k := range 3 {
			m, _ := manifest(fmt.Sprint(k), sizes(6, 100)...)
			pass, err := p.Begin(t.Context(), model(t, p, m, [][]int{{0, 1, 2}, {3, 4, 5}}), 10)
			if err != nil {
				t.Fatal(err)
			}
			passes = append(passes, pass)
		}
		for _, pass := range passes {
			if err := pass.Acquire(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		d.set(func() { d.hostile = d.total - 30 - left })
		p.Refresh()
		var wait sync.WaitGroup
		failed := make([]error, len(passes))
		for k, pass := range passes {
			wait.Go(func() {
				pass.Release(0)
				failed[k] = pass.Acquire(t.Context(), 1)
				pass.End()
			})
		}
		wait.Wait()
		for k, err := range failed {
			// With room for a use of 300 bytes they come through one after another.
			if left < 300 && !errors.Is(err, device.ErrNoMemory) || left >= 300 && err != nil {
				t.Errorf("with %d bytes left, pass %d: %v", left, k, err)
			}
		}
		p.settle()
		p.check(t, d)
		d.set(func() { d.hostile = 0 })
		p.Refresh()
		for _, pass := range passes {
			if err := run(t, d, pass.sched, 10); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestHostMemoryTakenByOthers takes half of the host's memory during a run
// and gives it back, twenty times.
func TestHostMemoryTakenByOthers(t *testing.T) {
	for _, unified := range []bool{false, true} {
		d := &fake{total: 400, ram: 1000, unified: unified}
		p := d.pager(t, Options{})
		m, _ := manifest("m", sizes(20, 100)...)
		s := model(t, p, m, scan(20))
		for k := range 20 {
			d.set(func() { d.ram = int64(1000 >> (k % 2)) })
			p.Refresh()
			p.check(t, d)
			if got := p.Stats().RAM.Budget; got != d.ram {
				t.Errorf("the budget is %d of %d bytes", got, d.ram)
			}
			if err := run(t, d, s, 10); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBudgetsAreFollowed looks whether somebody asks often enough.
func TestBudgetsAreFollowed(t *testing.T) {
	d := &fake{total: 1000}
	p := d.pager(t, Options{})
	m, _ := manifest("m", 100)
	pass, err := p.Begin(t.Context(), model(t, p, m, scan(1)), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pass.End()
	deadline := time.Now().Add(10 * time.Second)
	for {
		d.mu.Lock()
		seen := d.seen
		d.mu.Unlock()
		if seen > 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody asks for the memory that is free")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// watched is a device that sees when it is asked how much of it is free.
type watched struct {
	*fake
	asked func()
}

func (d watched) Info() device.Info {
	d.asked()
	return d.fake.Info()
}

// TestFreeMemoryIsReadUnderTheLock has the device's free memory read while none
// can be given back: otherwise what is freed in between counts for nobody, and a
// budget shrinks for no reason.
func TestFreeMemoryIsReadUnderTheLock(t *testing.T) {
	d := watched{&fake{total: 1000, ram: 1000}, func() {}}
	p := New(&d, Options{Host: d.host})
	defer p.Close()
	asked := 0
	d.asked = func() {
		asked++
		if p.mu.TryLock() {
			p.mu.Unlock()
			t.Error("the free memory is read without the lock")
		}
	}
	p.Refresh()
	d.asked = func() {}
	if asked == 0 {
		t.Error("the free memory is not read")
	}
}

func TestSignature(t *testing.T) {
	d := &fake{total: 1000}
	p := d.pager(t, Options{})
	m, files := manifest("m", 100)
	s := model(t, p, m, scan(1))
	if err := run(t, d, s, 0); err != nil {
		t.Fatal(err)
	}
	other := Manifest{Name: m.Name, Extents: []Extent{m.Extents[0]}}
	changed := &file{name: "changed", seed: files[0].seed + 1, size: 100}
	other.Extents[0].Signature++
	other.Extents[0].Parts = []Part{{computed{changed}, 0, 100, 0}}
	merged := model(t, p, other, scan(1))
	for range 2 { // both are there, and neither is taken for the other
		if err := run(t, d, merged, 0); err != nil { // compares the bytes
			t.Fatal(err)
		}
		if err := run(t, d, s, 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Stats().VRAM.Moved; got != 200 {
		t.Errorf("%d bytes were moved, want 200: each signature once", got)
	}
}

func TestScheduleErrors(t *testing.T) {
	p := (&fake{total: 1000}).pager(t, Options{})
	m, _ := manifest("m", 100)
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, uses := range [][][]int{{{1}}, {{-1}}, {{0, 0}}} {
		if _, err := s.Schedule(uses, nil); err == nil || !strings.HasPrefix(err.Error(), "m: use 0 names extent") {
			t.Errorf("%v: %v", uses, err)
		}
	}
	if _, err := s.Schedule(scan(1), []float64{1, 2}); err == nil {
		t.Error("two costs of one use")
	}
	m.Extents[0].Parts[1].At = 60
	if _, err := p.Reserve(m); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("a part that lies outside: %v", err)
	}
}

// TestCancel cancels a pass at every point, while reads are under way.
func TestCancel(t *testing.T) {
	for _, unified := range []bool{false, true} {
		d := &fake{total: 350, ram: 350, unified: unified}
		p := d.pager(t, Options{})
		m, files := manifest("m", sizes(8, 100)...)
		for _, f := range files {
			f.delay = time.Millisecond
		}
		s := model(t, p, m, scan(8))
		for point := range 24 {
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(time.Duration(point)*500*time.Microsecond, cancel)
			pass, err := p.Begin(t.Context(), s, 10)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 8 {
				if err := pass.Acquire(ctx, i); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("cancelled at %d: %v", point, err)
					}
					break
				}
				if i%3 != 2 { // some are still pinned at the end
					pass.Release(i)
				}
			}
			pass.End()
			timer.Stop()
			cancel()
			p.settle()
			p.check(t, d)
			for _, e := range s.space.extents {
				if on := p.top.of(e); on.pins != 0 || on.loading != nil {
					t.Errorf("cancelled at %d: %s has %d pins, loading %v", point, e.Key, on.pins, on.loading != nil)
				}
			}
		}
	}
}

// TestRandomPrograms runs random programs of several models side by side and
// checks every invariant at every use. WEIR_SEED runs one that failed again.
func TestRandomPrograms(t *testing.T) {
	programs := 10000
	if testing.Short() {
		programs = 1000
	}
	seed := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
		programs = 1
	}
	// Most of the time goes by waiting, so many run at once.
	var next atomic.Uint64
	next.Store(seed)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for !t.Failed() {
				own := next.Add(1) - 1
				if own-seed >= uint64(programs) {
					return
				}
				if !randomProgram(t, own) {
					t.Errorf("the program of WEIR_SEED=%d", own)
				}
			}
		})
	}
	workers.Wait()
}

// A randomModel is a model of a random program, with what can go wrong.
type randomModel struct {
	sched       *Schedule
	files       []*file
	activations int64
}

// randomProgram reports whether all went well.
func randomProgram(t *testing.T, seed uint64) bool {
	r := rand.New(rand.NewPCG(seed, 0))
	d := &fake{unified: r.IntN(3) == 0, ram: 1 + r.Int64N(3000)}
	o := Options{Host: d.host, VRAM: 1, Mode: []Mode{Dynamic, Dynamic, Dynamic, Classic, MMap}[r.IntN(5)]}
	p := New(d, o)
	broken := r.IntN(3) == 0 // reads, allocations and uploads fail, runs are cancelled
	var models []randomModel
	var arenas, largest int64
	for k := range 1 + r.IntN(3) {
		m := randomModelOf(t, r, p, fmt.Sprint("m", k), broken)
		models = append(models, m)
		arenas += m.activations
		largest = max(largest, m.sched.largest)
	}
	d.total = largest + arenas + r.Int64N(2000)
	p.mu.Lock()
	if p.vram != nil {
		p.vram.limit = d.total
	}
	p.mu.Unlock()
	p.Refresh()
	if broken && r.IntN(2) == 0 {
		d.failures, d.uploads = r.IntN(3), r.IntN(5)
	}
	limits := make([]time.Duration, 0, 16)
	for range 16 {
		limits = append(limits, time.Duration(r.IntN(2000))*time.Microsecond)
	}
	squeeze := r.IntN(4) == 0
	var wait sync.WaitGroup
	for k, m := range models {
		wait.Go(func() {
			for i := range 3 {
				ctx, cancel := t.Context(), func() {}
				if broken {
					ctx, cancel = context.WithTimeout(ctx, limits[(3*k+i)%16])
				}
				if err := runUntil(t, ctx, d, m.sched, m.activations); err != nil && !broken {
					t.Error(err)
				}
				cancel()
				if squeeze {
					d.set(func() { d.ram = max(d.ram/2, 1) })
					p.Refresh()
				}
				models[(k+1)%len(models)].sched.Prefetch()
			}
		})
	}
	wait.Wait()
	p.settle()
	p.check(t, d)
	if top := p.Stats().Top(); p.vram != nil && d.used != top.Held() {
		t.Errorf("at rest the device has given %d bytes, the pager holds %d", d.used, top.Held())
	}
	if broken { // and all is well when nothing goes wrong any more
		d.set(func() { d.failures, d.uploads = 0, 0 })
		for _, m := range models {
			for _, f := range m.files {
				f.mu.Lock()
				f.fail = 0
				f.mu.Unlock()
			}
			if err := run(t, d, m.sched, m.activations); err != nil {
				t.Error(err)
			}
		}
	}
	for _, m := range models {
		m.sched.space.Release()
	}
	p.Close()
	if d.used != 0 {
		t.Errorf("%d bytes are left on the device", d.used)
	}
	return !t.Failed()
}

func randomModelOf(t *testing.T, r *rand.Rand, p *Pager, name string, broken bool) randomModel {
	var s []int64
	for range 1 + r.IntN(12) {
		s = append(s, 1+r.Int64N(200))
	}
	m, files := manifest(name, s...)
	if r.IntN(4) == 0 {
		files[r.IntN(len(files))].delay = 50 * time.Microsecond
	}
	if broken {
		files[r.IntN(len(files))].fail = r.IntN(3)
	}
	if x := r.IntN(len(s)); r.IntN(4) == 0 {
		for i := range m.Extents[x].Parts {
			m.Extents[x].Parts[i].Source = computed{files[x]}
		}
	}
	var uses [][]int
	var costs []float64
	for range 1 + r.IntN(30) {
		uses = append(uses, r.Perm(len(s))[:r.IntN(min(len(s), 3)+1)])
		costs = append(costs, r.Float64())
	}
	space, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	sched, err := space.Schedule(uses, costs)
	if err != nil {
		t.Fatal(err)
	}
	return randomModel{sched, files, r.Int64N(100)}
}

func BenchmarkAcquireResident(b *testing.B) {
	d := &fake{total: 1 << 20}
	p := d.pager(b, Options{})
	m, _ := manifest("m", sizes(100, 100)...)
	pass, err := p.Begin(b.Context(), model(b, p, m, scan(100)), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer pass.End()
	for i := range 100 {
		if err := pass.Acquire(b.Context(), i); err != nil {
			b.Fatal(err)
		}
		pass.Release(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := pass.Acquire(b.Context(), i%100); err != nil {
			b.Fatal(err)
		}
		pass.Release(i % 100)
	}
}

// BenchmarkPass runs passes of 10,000 extents, all resident and half of them
// streamed, of which nothing takes time but the pager.
func BenchmarkPass(b *testing.B) {
	for name, total := range map[string]int64{"resident": 10000 * 100, "streamed": 5000 * 100} {
		b.Run(name, func(b *testing.B) {
			d := &fake{total: total, ram: 10000 * 100}
			p := d.pager(b, Options{})
			m, _ := manifest("m", sizes(10000, 100)...)
			s := model(b, p, m, scan(10000))
			for b.Loop() {
				pass, err := p.Begin(b.Context(), s, 0)
				if err != nil {
					b.Fatal(err)
				}
				for i := range 10000 {
					if err := pass.Acquire(b.Context(), i); err != nil {
						b.Fatal(err)
					}
					pass.Release(i)
				}
				pass.End()
			}
		})
	}
}
