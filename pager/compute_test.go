package pager

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/fault"
)

// merging is a computed source that says what it takes, and counts how many
// computations run at once.
type merging struct {
	computed
	scratch int64
	running *atomic.Int32
	most    *atomic.Int32
}

func (m merging) Scratch() int64 { return m.scratch }

func (m merging) ReadAt(ctx context.Context, p []byte, off int64) error {
	n := m.running.Add(1)
	defer m.running.Add(-1)
	for most := m.most.Load(); n > most && !m.most.CompareAndSwap(most, n); most = m.most.Load() {
	}
	return m.computed.ReadAt(ctx, p, off)
}

// computing makes the sources of some extents computed ones. Extent i takes i times
// 10 bytes beside the 50 of its larger part.
func computing(m Manifest, files []*file, extents ...int) *atomic.Int32 {
	var running, most atomic.Int32
	for _, i := range extents {
		for k := range m.Extents[i].Parts {
			m.Extents[i].Parts[k].Source = merging{computed{files[i]}, int64(10 * i), &running, &most}
		}
	}
	return &most
}

// TestComputingIsClaimed counts what computing extents takes for as long as passes
// run: once, however many compute.
func TestComputingIsClaimed(t *testing.T) {
	for _, unified := range []bool{true, false} {
		d := &fake{total: 5000, ram: 2000, unified: unified}
		p := d.pager(t, Options{})
		m, files := manifest("m", sizes(8, 100)...)
		most := computing(m, files, 2, 5)
		s := model(t, p, m, scan(8))
		if got := s.Scratch(); got != 50+50 {
			t.Fatalf("computing takes %d bytes, want 100", got)
		}
		want := int64(5000)
		if unified {
			want = 2000 - 100
		}
		if got := s.Room(); got != want {
			t.Errorf("there is room for %d bytes, want %d", got, want)
		}
		first, err := p.Begin(t.Context(), s, 10)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Stats().RAM.Claimed; got != 100 {
			t.Errorf("one pass claims %d bytes, want 100", got)
		}
		if err := run(t, d, s, 10); err != nil { // beside it
			t.Fatal(err)
		}
		if got := p.Stats().RAM.Claimed; got != 100 {
			t.Errorf("%d bytes are claimed after the second pass, want 100", got)
		}
		first.End()
		p.settle()
		if got := p.Stats().RAM.Claimed; got != 0 {
			t.Errorf("%d bytes are claimed without a pass", got)
		}
		if got := most.Load(); got != 1 {
			t.Errorf("%d extents were computed at once", got)
		}
		p.check(t, d)
	}
}

// TestRoomToCompute has as much of the host's memory as just suffices to compute
// extents beside the activations that are there, and one byte less.
func TestRoomToCompute(t *testing.T) {
	for _, unified := range []bool{true, false} {
		ram := int64(100)
		if unified {
			ram += 30
		}
		for _, less := range []int64{0, 1} {
			d := &fake{total: 130, ram: ram - less, unified: unified}
			p := d.pager(t, Options{})
			p.ram.total = ram - less
			m, files := manifest("m", sizes(8, 100)...)
			computing(m, files, 2, 5)
			s := model(t, p, m, scan(8))
			err := run(t, d, s, 30)
			if less == 0 {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			if !errors.Is(err, device.ErrNoMemory) || !strings.Contains(err.Error(), "100 bytes of the host's memory to compute weights in") || bytesRead(files) > 0 {
				t.Errorf("with a byte less: %v, and %d bytes were read", err, bytesRead(files))
			}
			if room := s.Room(); !unified && room != 0 || unified && room != 29 {
				t.Errorf("with a byte less there is room for %d bytes", room)
			}
		}
	}
}

// TestClaimBesideComputing refuses what would leave no room to compute in.
func TestClaimBesideComputing(t *testing.T) {
	d := &fake{total: 1000, ram: 1000, unified: true}
	p := d.pager(t, Options{})
	m, files := manifest("m", sizes(4, 100)...)
	computing(m, files, 1, 3)
	s := model(t, p, m, scan(4))
	pass, err := p.Begin(t.Context(), s, 200)
	if err != nil {
		t.Fatal(err)
	}
	defer pass.End()
	const free = 1000 - 200 - 100 - (50 + 30) // activations, a use, computing
	if err := p.Claim(t.Context(), free+1); fault.Of(err) != fault.Memory {
		t.Errorf("got %v", err)
	}
	if err := p.Claim(t.Context(), free); err != nil {
		t.Error(err)
	}
}
