package pager

import (
	"math"
	"testing"
)

// TestPredictIsTheBound predicts a long even scan, whose time is known: the
// larger of working and of carrying what does not stay.
func TestPredictIsTheBound(t *testing.T) {
	const n, size, each = 400, 1000, 0.001
	times := make([]float64, n)
	for i := range times {
		times[i] = each
	}
	for _, x := range []struct {
		name       string
		vram, ram  int64
		link, disk float64
	}{
		{"all stays", n * size, n * size, 1e6, 1e6},
		{"the link is the limit", 100 * size, n * size, 5e5, 1e9},
		{"work is the limit", 100 * size, n * size, 1e7, 1e9},
		{"the disk is the limit", 100 * size, 100 * size, 1e7, 2e5},
		{"half of the work", 200 * size, n * size, 1e6, 1e9},
	} {
		d := &fake{total: x.vram, ram: x.ram}
		p := d.pager(t, Options{})
		m, _ := manifest("m", sizes(n, size)...)
		s := model(t, p, m, scan(n))
		got := s.Predict(0, times, Rates{Disk: x.disk, Link: x.link})
		work := float64(n) * each
		later := max(work, float64(got.Top.Streamed)/x.link, float64(got.RAM.Streamed)/x.disk)
		first := max(work, n*size/x.link, n*size/x.disk)
		if math.Abs(got.Later/later-1) > 0.05 || got.First < first || got.First > 1.1*first+0.1*work || math.Abs(got.Compute/work-1) > 1e-9 {
			t.Errorf("%s: %+v, want %.3f s, the first time %.3f s", x.name, got, later, first)
		}
		if got.Bound > got.Later*(1+1e-9) || got.Bound < 0.93*later {
			t.Errorf("%s: a pass takes %.3f s and the bound is %.3f s", x.name, got.Later, got.Bound)
		}
		// The lower bound of any policy, and what streaming needs.
		room := int64(4 * size)
		if least := max(n*size-x.vram, 0); got.Top.Streamed < least || got.Top.Kept+got.Top.Streamed != n*size || least == 0 && got.Top.Streamed > 0 {
			t.Errorf("%s: %+v of %d bytes with room for %d", x.name, got.Top, n*size, x.vram)
		} else if x.name == "the link is the limit" && got.Top.Streamed > least+room {
			t.Errorf("%s: %d bytes are streamed, %d at least", x.name, got.Top.Streamed, least)
		}
	}
}

// TestPredictIsWhatHappens compares what is predicted with the bytes that
// passes move.
func TestPredictIsWhatHappens(t *testing.T) {
	for _, unified := range []bool{false, true} {
		d := &fake{total: 2000, ram: 2500, unified: unified}
		p := d.pager(t, Options{})
		m, files := manifest("m", sizes(60, 100)...)
		s := model(t, p, m, scan(60))
		runs(t, d, s, 100, 9) // what is learnt is next looked at after 16
		p.settle()
		top, ram := s.Split()
		p.mu.Lock()
		rates := Rates{Disk: p.ram.rate}
		if p.vram != nil {
			rates.Link = p.vram.rate
		}
		times := append([]float64(nil), s.times...)
		p.mu.Unlock()
		got := s.Predict(100, times, rates)
		// The rates of a fake are noise, so the room for streaming may be another.
		within := func(a, b int64) bool { return max(a-b, b-a) <= 1000 }
		if !within(got.Top.Streamed, top.Streamed) || !within(got.RAM.Streamed, ram.Streamed) {
			t.Errorf("unified %v: predicted %+v and %+v, split %+v and %+v", unified, got.Top, got.RAM, top, ram)
		}
		before := bytesRead(files)
		runs(t, d, s, 100, 7)
		p.settle()
		if read := (bytesRead(files) - before) / 7; !within(read, got.RAM.Streamed) {
			t.Errorf("unified %v: a pass reads %d bytes, predicted were %d", unified, read, got.RAM.Streamed)
		}
	}
}

// TestBoundOfUnevenWork has all bytes in one half of the work: no policy can
// use the link evenly, and the bound says so.
func TestBoundOfUnevenWork(t *testing.T) {
	const n, size = 100, 1000
	d := &fake{total: 20 * size}
	p := d.pager(t, Options{})
	m, _ := manifest("m", sizes(n, size)...)
	// The first 100 uses have an extent each, the others none.
	s := model(t, p, m, append(scan(n), make([][]int, n)...))
	times := make([]float64, 2*n)
	for i := range times {
		times[i] = 0.01
	}
	got := s.Predict(0, times, Rates{Disk: 1e9, Link: 5e4})
	// A second of work without bytes, and 80 extents in the other: 1.6 s at
	// 50 extents a second.
	if math.Abs(got.Bound-2.6) > 1e-9 || got.Later < got.Bound || got.Later > 1.05*got.Bound {
		t.Errorf("%+v, want a bound of 2.6 s and little more", got)
	}
}

// TestRoomForStreamingIsChosen gives a schedule the times and the rate that
// passes measure. The bytes are used in six bursts, and more room for streaming
// lets transfers run between them too. Another budget has the room chosen again,
// one that moves a little has not.
func TestRoomForStreamingIsChosen(t *testing.T) {
	const n, size = 60, 1000
	d := &fake{total: 36 * size, ram: 1 << 20}
	p := d.pager(t, Options{})
	m, _ := manifest("m", sizes(n, size)...)
	var uses [][]int
	for i, use := range scan(n) {
		if uses = append(uses, use); i%10 == 9 {
			uses = append(uses, make([][]int, 30)...)
		}
	}
	s := model(t, p, m, uses)
	runs(t, d, s, 0, 1)
	p.settle()
	if s.depth[1] != 3*size {
		t.Fatalf("before anything is known %d bytes are for streaming, want those of three extents", s.depth[1])
	}
	// depth returns the room for streaming of the next pass.
	depth := func(passes int, extents int64) int64 {
		p.mu.Lock()
		p.vram.limit = extents * size
		p.mu.Unlock()
		p.Refresh()
		p.settle()
		p.mu.Lock()
		for i := range s.times {
			s.times[i] = 0.01
		}
		s.give = s.evenly(s.times)
		s.passes, p.vram.rate = passes, 12500 // an extent takes as long as eight uses
		p.mu.Unlock()
		pass, err := p.Begin(t.Context(), s, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer pass.End()
		p.mu.Lock()
		defer p.mu.Unlock()
		return s.depth[1]
	}
	// Of a burst about five extents are streamed, four of them during the 0.3 s
	// without bytes.
	first := depth(1, 36)
	if first < 4500 || first > 8000 {
		t.Errorf("%d bytes are for streaming, want about those of five extents", first)
	}
	if split, _ := s.Split(); split.Kept != (36*size-first)/size*size {
		t.Errorf("%d bytes are kept beside %d for streaming", split.Kept, first)
	}
	if again := depth(9, 35); again != first {
		t.Errorf("%d bytes are for streaming after %d, though the budget is nearly the same", again, first)
	}
	// With room for a dozen the link is always busy, and what is kept counts.
	if again := depth(9, 12); again >= first {
		t.Errorf("%d bytes are for streaming of a budget of 12 extents, %d were of 36", again, first)
	}
}
