package pager

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/ir"
)

// fake is a discrete device that only has memory.
type fake struct {
	mu       sync.Mutex
	total    int64
	used     int64
	hostile  int64 // bytes that another program has taken
	failures int   // allocations that will fail with an error of the device
	unified  bool
}

type memory struct{ bytes []byte }

func (m *memory) Size() int64 { return int64(len(m.bytes)) }

func (d *fake) Info() device.Info {
	if d.unified {
		return device.Info{Name: "fake", Kind: device.Unified, Total: d.total, Free: d.total}
	}
	return device.Info{Name: "fake", Kind: device.Discrete, Total: d.total, Free: d.total}
}

var errBroken = errors.New("the device is broken")

func (d *fake) Alloc(n int64) (device.Buffer, error) {
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

	mu   sync.Mutex
	fail int // reads that will fail
}

func (f *file) at(off int64) byte { return byte(off*31+off>>8) ^ f.seed }

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) error {
	f.mu.Lock()
	broken := f.fail > 0
	if broken {
		f.fail--
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
	for i := range p {
		p[i] = f.at(off + int64(i))
	}
	return ctx.Err()
}

func (f *file) Bytes(off, n int64) ([]byte, error) {
	p := make([]byte, n)
	return p, f.ReadAt(context.Background(), p, off)
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
			Key: f.name, Bytes: size,
			Parts: []Part{{f, 0, half, 0}, {f, half, size - half, half}},
		})
	}
	return m, files
}

// check fails the test when an invariant is broken. It is called at any time.
func (p *Pager) check(t *testing.T, d *fake) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var resident int64
	for key, e := range p.table {
		if e.resident && e.buffer != nil {
			resident += e.Bytes
		}
		if e.pins > 0 && !e.resident {
			t.Errorf("the pinned extent %s is not resident", key)
		}
		if e.pins < 0 {
			t.Errorf("the extent %s has %d pins", key, e.pins)
		}
	}
	if resident != p.stats.Resident {
		t.Errorf("resident extents have %d bytes, the counter says %d", resident, p.stats.Resident)
	}
	if p.held() > p.budget {
		t.Errorf("resident %d + in flight %d + activations %d > budget %d", p.stats.Resident, p.stats.InFlight, p.stats.Activations, p.budget)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !p.unified && d.used != p.held() {
		t.Errorf("the device has given %d bytes, the pager holds %d", d.used, p.held())
	}
}

// contents fails the test when a pinned use has other bytes than its files.
func (ps *Pass) contents(t *testing.T, i int) {
	t.Helper()
	for _, x := range ps.uses[i] {
		e := ps.space.extents[x]
		for k, part := range e.Parts {
			buffer, off := ps.Part(x, k)
			f := part.Source.(*file)
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
func run(t *testing.T, d *fake, s *Space, sched Schedule) error {
	t.Helper()
	pass, err := s.pager.Begin(s, sched)
	if err != nil {
		return err
	}
	defer pass.End()
	for i := range sched.Uses {
		if err := pass.Acquire(t.Context(), i); err != nil {
			return err
		}
		s.pager.check(t, d)
		pass.contents(t, i)
		pass.Release(i)
	}
	return nil
}

func scan(n int) (s Schedule) {
	for i := range n {
		s.Uses = append(s.Uses, []int{i})
	}
	return s
}

func sizes(n int, size int64) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = size
	}
	return out
}

func TestModelThatFitsMovesNothingAgain(t *testing.T) {
	d := &fake{total: 1000}
	p := New(d, 0)
	m, _ := manifest("m", sizes(10, 100)...)
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	for pass := range 3 {
		if err := run(t, d, s, scan(10)); err != nil {
			t.Fatal(err)
		}
		if got := p.Stats().Moved; got != 1000 {
			t.Errorf("after pass %d, %d bytes were moved, want 1000", pass, got)
		}
	}
	// Another program of the same model finds everything resident.
	again, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	if err := run(t, d, again, scan(10)); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().Moved; got != 1000 {
		t.Errorf("a second space moved bytes again: %d", got)
	}
}

// TestCyclicScanKeepsAFixedSet compares the bytes a steady pass moves with
// what is possible: all that does not fit, where LRU would move everything.
func TestCyclicScanKeepsAFixedSet(t *testing.T) {
	for _, fit := range []int{5, 10, 20, 39} {
		d := &fake{total: int64(fit) * 100}
		p := New(d, 0)
		m, _ := manifest("m", sizes(40, 100)...)
		s, err := p.Reserve(m)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := run(t, d, s, scan(40)); err != nil {
				t.Fatal(err)
			}
		}
		before := p.Stats().Moved
		for range 10 {
			if err := run(t, d, s, scan(40)); err != nil {
				t.Fatal(err)
			}
		}
		moved := (p.Stats().Moved - before) / 10
		// The best that is possible with room for f of n extents is n·(n-f)/(n-1)
		// (Belady, 1966). Here the room of one is in use, and that of another on
		// its way.
		if limit := int64(40*(40-fit+2)*100/39 + 1); moved > limit {
			t.Errorf("with room for %d of 40 extents a steady pass moves %d bytes, at most %d are needed", fit, moved, limit)
		}
	}
}

func TestModelsShareTheBudget(t *testing.T) {
	d := &fake{total: 1000}
	p := New(d, 0)
	var spaces []*Space
	for _, name := range []string{"a", "b", "c"} {
		m, _ := manifest(name, sizes(4, 100)...)
		s, err := p.Reserve(m)
		if err != nil {
			t.Fatal(err)
		}
		spaces = append(spaces, s)
		if err := run(t, d, s, scan(4)); err != nil {
			t.Fatal(err)
		}
	}
	// c needed 200 bytes more than there were: they come from a, which ran
	// longest ago, and from nobody else.
	for i, want := range []int{2, 4, 4} {
		got := 0
		for _, e := range spaces[i].extents {
			if e.resident {
				got++
			}
		}
		if got != want {
			t.Errorf("%d extents of model %d are resident, want %d", got, i, want)
		}
	}
}

func TestActivationsComeFirst(t *testing.T) {
	d := &fake{total: 1000}
	p := New(d, 0)
	m, _ := manifest("m", sizes(10, 100)...)
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t, d, s, scan(10)); err != nil {
		t.Fatal(err)
	}
	a, err := p.Activations(t.Context(), 850)
	if err != nil {
		t.Fatal(err)
	}
	p.check(t, d)
	if err := run(t, d, s, scan(10)); err != nil {
		t.Errorf("with room for one extent: %v", err)
	}
	if _, err := p.Begin(s, Schedule{Uses: [][]int{{0, 1}}}); !errors.Is(err, device.ErrNoMemory) || !strings.Contains(err.Error(), "200 bytes of weights beside 850 bytes of activations, and the budget is 1000") {
		t.Errorf("a use that cannot fit must be refused before the first operation: %v", err)
	}
	a.Release()
	if err := run(t, d, s, scan(10)); err != nil {
		t.Fatal(err)
	}
	p.check(t, d)
	if _, err := p.Activations(t.Context(), 1001); !errors.Is(err, device.ErrNoMemory) {
		t.Errorf("activations above the budget must be refused: %v", err)
	}
}

func TestReadErrorLeavesThePagerUsable(t *testing.T) {
	d := &fake{total: 300}
	p := New(d, 0)
	m, files := manifest("m", sizes(6, 100)...)
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	files[3].fail = math.MaxInt // the prefetch may try as well
	err = run(t, d, s, scan(6))
	if err == nil || err.Error() != "m.3: tensor w: the disk failed at offset 0" {
		t.Errorf("the error must be the source's: %v", err)
	}
	p.check(t, d)
	files[3].fail = 0
	if err := run(t, d, s, scan(6)); err != nil {
		t.Errorf("the next run: %v", err)
	}
}

func TestMemoryTakenByOthers(t *testing.T) {
	d := &fake{total: 1000}
	p := New(d, 0)
	m, _ := manifest("m", sizes(10, 100)...)
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	d.hostile = 600
	if err := run(t, d, s, scan(10)); err != nil {
		t.Errorf("with 400 of 1000 bytes: %v", err)
	}
	p.check(t, d)
	d.hostile = 950
	p.Close()
	if err := run(t, d, s, scan(10)); !errors.Is(err, device.ErrNoMemory) {
		t.Errorf("with no room for one extent: %v", err)
	}
	d.hostile, d.failures = 0, 1
	if err := run(t, d, s, scan(1)); !errors.Is(err, errBroken) {
		t.Errorf("an error of the device must come out: %v", err)
	}
	if err := run(t, d, s, scan(10)); err != nil {
		t.Error(err)
	}
}

func TestSignature(t *testing.T) {
	d := &fake{total: 1000}
	p := New(d, 0)
	m, files := manifest("m", 100)
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t, d, s, scan(1)); err != nil {
		t.Fatal(err)
	}
	files[0].seed++
	m.Extents[0].Signature++
	s2, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t, d, s2, scan(1)); err != nil { // compares the bytes
		t.Fatal(err)
	}
	if got := p.Stats().Moved; got != 200 {
		t.Errorf("%d bytes were moved, want 200: the extent is read again when its signature changes", got)
	}
}

func TestUnifiedDeviceMovesNothing(t *testing.T) {
	d := &fake{total: 10, unified: true}
	p := New(d, 0)
	m, _ := manifest("m", sizes(10, 100)...)
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t, d, s, scan(10)); err != nil {
		t.Fatal(err)
	}
	if st := p.Stats(); st.Moved != 0 || st.Resident != 0 {
		t.Errorf("a unified device moved bytes: %+v", st)
	}
	s.Release()
	if len(p.table) != 0 {
		t.Errorf("%d extents are left after the space was released", len(p.table))
	}
}

// TestCancel cancels a pass at every point, while reads are under way.
func TestCancel(t *testing.T) {
	d := &fake{total: 350}
	p := New(d, 0)
	m, files := manifest("m", sizes(8, 100)...)
	for _, f := range files {
		f.delay = time.Millisecond
	}
	s, err := p.Reserve(m)
	if err != nil {
		t.Fatal(err)
	}
	for point := range 24 {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(point)*500*time.Microsecond, cancel)
		pass, err := p.Begin(s, scan(8))
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
		p.check(t, d)
		for _, e := range s.extents {
			if e.pins != 0 || e.loading != nil {
				t.Errorf("cancelled at %d: %s has %d pins, loading %v", point, e.Key, e.pins, e.loading != nil)
			}
		}
	}
}

// TestRandomPrograms runs random programs of several models side by side and
// checks every invariant at every use.
func TestRandomPrograms(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	programs := 400
	if testing.Short() {
		programs = 100
	}
	for range programs {
		randomProgram(t, r)
		if t.Failed() {
			return
		}
	}
}

func randomProgram(t *testing.T, r *rand.Rand) {
	type model struct {
		space *Space
		sched Schedule
	}
	var models []model
	var need int64 // of the largest uses together, so that nobody starves
	d := &fake{}
	p := New(d, 1)
	for k := range 1 + r.IntN(3) {
		var s []int64
		for range 1 + r.IntN(12) {
			s = append(s, 1+r.Int64N(200))
		}
		m, files := manifest(fmt.Sprint("m", k), s...)
		if r.IntN(4) == 0 {
			files[r.IntN(len(files))].delay = 50 * time.Microsecond
		}
		space, err := p.Reserve(m)
		if err != nil {
			t.Fatal(err)
		}
		var sched Schedule
		var largest int64
		for range 1 + r.IntN(30) {
			use := r.Perm(len(s))[:r.IntN(min(len(s), 3)+1)]
			sched.Uses = append(sched.Uses, use)
			var n int64
			for _, x := range use {
				n += s[x]
			}
			largest = max(largest, n)
		}
		need += largest
		models = append(models, model{space, sched})
	}
	activations := r.Int64N(100)
	d.total = need + 2*activations*int64(len(models)) + r.Int64N(1000) + 1
	p.budget = d.total

	var wait sync.WaitGroup
	for _, m := range models {
		wait.Go(func() {
			for range 3 {
				a, err := p.Activations(t.Context(), activations+1)
				if err != nil {
					t.Error(err)
					return
				}
				if err := run(t, d, m.space, m.sched); err != nil {
					t.Error(err)
				}
				a.Release()
			}
		})
	}
	wait.Wait()
	p.check(t, d)
	for _, m := range models {
		m.space.Release()
	}
	p.Close()
	if d.used != 0 {
		t.Errorf("%d bytes are left on the device", d.used)
	}
}

func BenchmarkAcquireResident(b *testing.B) {
	d := &fake{total: 1 << 20}
	p := New(d, 0)
	m, _ := manifest("m", sizes(100, 100)...)
	s, err := p.Reserve(m)
	if err != nil {
		b.Fatal(err)
	}
	pass, err := p.Begin(s, scan(100))
	if err != nil {
		b.Fatal(err)
	}
	defer pass.End()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := pass.Acquire(b.Context(), i%100); err != nil {
			b.Fatal(err)
		}
		pass.Release(i % 100)
	}
}
