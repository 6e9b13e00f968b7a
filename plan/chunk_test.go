package plan

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/weir-run/weir/ir"
)

// TestRegions cuts random regions of random graphs, whether that helps or not,
// and compares every bit with the graph.
func TestRegions(t *testing.T) {
	seed, n := rand.Uint64(), 600
	if *seedFlag != 0 {
		seed, n = *seedFlag, 1
	}
	pieces := map[ir.Kind]int{}
	interior := 0
	c := coverage{fused: map[ir.Kind]int{}, kinds: map[ir.Kind]int{}}
	for i := range n {
		s := seed + uint64(i)
		if err := c.checkRegions(s, pieces, &interior); err != nil {
			t.Fatalf("seed %d (replay with -seed %d): %v", s, s, err)
		}
	}
	if n == 1 {
		return
	}
	t.Logf("first seed %d: pieces %v, %d operations not joined", seed, pieces, interior)
	for k := ir.Elementwise; k < ir.Reshape; k++ {
		if pieces[k] == 0 {
			t.Errorf("no %s was made in pieces", k)
		}
	}
	if interior == 0 {
		t.Error("all pieces were joined")
	}
}

func (c *coverage) checkRegions(seed uint64, pieces map[ir.Kind]int, interior *int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	m := randomGraph(seed)
	comp := newCompilation(m.g, Options{})
	placing := passNamed("arena")
	if err := comp.run(passes[:placing]); err != nil {
		return err
	}
	s := comp.draft
	for range 20 {
		l := newLiveness(s)
		r := m.region(l)
		if r == nil {
			continue
		}
		step := min(r.grain*(1+m.IntN(4)), r.length())
		s.ops = append(append(append([]*operation{}, l.ops[:r.from]...), r.cut(s, step)...), l.ops[r.to:]...)
		for t, f := range r.forms {
			if f&inPieces != 0 && !r.joins(r.from+t) {
				*interior++
			}
		}
	}
	for _, op := range s.ops {
		if op.piece {
			pieces[op.Kind]++
		}
	}
	comp.arena = placeValues(s)
	if err := comp.run(passes[placing+1:]); err != nil {
		return err
	}
	return c.compare(m, comp.program)
}

// region returns a random region, or nil.
func (m *graphMaker) region(l *liveness) *region {
	from := m.IntN(len(l.ops))
	to := from + 1 + m.IntN(len(l.ops)-from)
	for _, op := range l.ops[from:to] {
		if op.piece {
			return nil
		}
	}
	axes := l.ops[to-1].axes()
	if axes == 0 {
		return nil
	}
	r, ok := l.region(from, to, m.IntN(axes))
	if !ok || r.length() == 1 {
		return nil
	}
	r.measure()
	return r
}

// TestMeasureIsWhatHappens compares what is foretold of regions with what is
// live when they are cut.
func TestMeasureIsWhatHappens(t *testing.T) {
	l := lowered(t, unetGraph(1, 32, 32))
	n, twice := 0, 0
	for at := range l.ops {
		r := l.bestRegion(at, 1, make([]bool, len(l.ops)))
		if r.region == nil {
			continue
		}
		n++
		if slices.Contains(r.forms, inWhole|inPieces) {
			twice++
		}
		s := &draft{values: l.values, ops: l.ops, inputs: l.inputs, outputs: l.outputs}
		s.ops = append(append(append([]*operation{}, l.ops[:r.from]...), r.cut(s, r.step)...), l.ops[r.to:]...)
		after := newLiveness(s)
		var most int64
		for _, live := range after.live[r.from : r.to+len(s.ops)-len(l.ops)] {
			most = max(most, live)
		}
		// Values are aligned, and some results are written over operands.
		if got := r.peak(r.step); most > got+100*Align || float64(most) < 0.8*float64(got) {
			t.Errorf("operations %d to %d in %d pieces: %d bytes are live at once, foretold were %d", r.from, r.to, r.pieces(r.step), most, got)
		}
	}
	// The norm before a self-attention is for the keys and values whole, and
	// again for each piece of the queries.
	if n < 100 || twice == 0 {
		t.Errorf("%d regions were found, in %d of which something runs whole and in pieces", n, twice)
	}
}

func lowered(t *testing.T, g *ir.Graph) *liveness {
	t.Helper()
	return newLiveness(compileUntil(t, g, Options{}, "fusion").draft)
}

// compileUntil runs the passes up to the one that is named.
func compileUntil(t testing.TB, g *ir.Graph, o Options, last string) *compilation {
	t.Helper()
	c := newCompilation(g, o)
	if err := c.run(passes[:passNamed(last)+1]); err != nil {
		t.Fatal(err)
	}
	return c
}

// passNamed returns the index of a pass.
func passNamed(name string) int {
	return slices.IndexFunc(passes, func(p pass) bool { return p.name == name })
}
