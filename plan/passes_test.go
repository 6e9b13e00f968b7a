package plan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-run/weir/ir"
)

// After each pass of every test the graph, the draft, the arena and the program
// are what passes promise each other.
func init() {
	testHookPass = func(name string, c *compilation) {
		if err := c.validate(); err != nil {
			panic(fmt.Sprintf("after the pass %s of %s: %v", name, c.graph.Name, err))
		}
	}
}

// validate checks what is there of a compilation.
func (c *compilation) validate() error {
	switch {
	case c.program != nil:
		return errors.Join(c.draft.validate(), c.validateArena(), c.program.Validate())
	case c.arena != nil:
		return errors.Join(c.draft.validate(), c.validateArena())
	case c.draft != nil:
		return c.draft.validate()
	}
	return validateGraph(c.graph)
}

// validateGraph checks that operations come after those that make their
// operands, and have results of the shapes that their operands lead to.
func validateGraph(g *ir.Graph) error {
	made := make([]bool, len(g.Values))
	for v, info := range g.Values {
		made[v] = info.Kind != ir.Activation
	}
	made[ir.None] = false
	for i := range g.Ops {
		op := &g.Ops[i]
		for _, v := range op.In {
			if !made[v] {
				return fmt.Errorf("operation %d, %s %s, reads value %d before it is made", i, op.Kind, op.Name, v)
			}
		}
		if made[op.Out] {
			return fmt.Errorf("operation %d, %s %s, makes value %d again", i, op.Kind, op.Name, op.Out)
		}
		made[op.Out] = true
		out, in := g.Shape(op.Out), g.Shape(op.In[0])
		fits := true
		switch op.Kind {
		case ir.Linear:
			w := g.Shape(op.In[1])
			fits = out[len(out)-1] == w[0] && in[len(in)-1] == w[1] && out.Elems()/w[0] == in.Elems()/w[1]
			if op.Attrs.HasBias {
				fits = fits && g.Shape(op.In[2]).Elems() == w[0]
			}
		case ir.Reshape:
			fits = out.Elems() == in.Elems()
		case ir.Slice:
			fits = out[op.Attrs.Axis] == op.Attrs.To-op.Attrs.From && op.Attrs.To <= in[op.Attrs.Axis]
		case ir.Elementwise:
			for _, v := range op.In {
				s, ok := ir.Broadcast(g.Shape(v), out)
				fits = fits && ok && s.Equal(out)
			}
		}
		if !fits {
			return fmt.Errorf("operation %d, %s %s, makes %v of %v", i, op.Kind, op.Name, out, in)
		}
	}
	for _, out := range g.Outputs {
		if !made[out.Value] {
			return fmt.Errorf("nothing makes the output %s", out.Name)
		}
	}
	return nil
}

// validate checks that operands are windows within values that are there, in
// layouts that the operations can read.
func (s *draft) validate() error {
	made := make([]bool, len(s.values))
	for v, info := range s.values {
		made[v] = info.Kind != ir.Activation
	}
	for i, op := range s.ops {
		if op.Kind.IsView() {
			return fmt.Errorf("operation %d, %s %s, is a view", i, op.Kind, op.Name)
		}
		for k, w := range op.args {
			step := isStepOperand(op.Steps, k) || op.Kind == ir.Elementwise && k == 0
			switch {
			case !made[w.of]:
				return fmt.Errorf("operation %d, %s %s, reads value %d before it is made", i, op.Kind, op.Name, w.of)
			case !s.holds(w):
				return fmt.Errorf("operation %d, %s %s: operand %d is %+v, beyond the value of the shape %v", i, op.Kind, op.Name, k, w, s.values[w.of].Shape)
			case step && !w.shape.Equal(op.out.shape):
				return fmt.Errorf("operation %d, %s %s: operand %d has the shape %v, the result %v", i, op.Kind, op.Name, k, w.shape, op.out.shape)
			case !step && !w.fits(op.Kind.InputLayout(k)):
				return fmt.Errorf("operation %d, %s %s cannot read operand %d, %+v", i, op.Kind, op.Name, k, w)
			}
		}
		if s.values[op.out.of].Kind != ir.Activation || !s.holds(op.out) || !op.out.contiguous() {
			return fmt.Errorf("operation %d, %s %s, has the result %+v", i, op.Kind, op.Name, op.out)
		}
		made[op.out.of] = true
	}
	for _, out := range s.outputs {
		if w := out.window; !made[w.of] || !w.contiguous() || w.shape.Elems() != s.values[w.of].Shape.Elems() {
			return fmt.Errorf("the output %s is %+v", out.name, w)
		}
	}
	return nil
}

// holds reports whether a window lies within its value.
func (s *draft) holds(w window) bool {
	last := w.offset
	for i, n := range w.shape {
		last += (n - 1) * w.strides[i]
	}
	return len(w.shape) == len(w.strides) && w.offset >= 0 && last < s.values[w.of].Shape.Elems()
}

// validateArena checks that no two values are in the same place at the same
// time, unless one is written over the other.
func (c *compilation) validateArena() error {
	lives := lifetimes(c.draft, shareMemory(c.draft))
	for i, a := range lives {
		a.at = c.arena.offsets[a.value]
		if a.at < 0 || a.at%Align != 0 || a.at+a.size > c.arena.size {
			return fmt.Errorf("value %d of %d bytes is at %d in an arena of %d", a.value, a.size, a.at, c.arena.size)
		}
		for _, b := range lives[:i] {
			if a.from <= b.to && b.from <= a.to && a.at < b.at+b.size && b.at < a.at+a.size {
				return fmt.Errorf("values %d and %d are both at %d at the same time", a.value, b.value, max(a.at, b.at))
			}
		}
	}
	return nil
}

// TestPassesMayBeLeftOut leaves passes out that only make programs better, and
// compares every bit of the results with the graph.
func TestPassesMayBeLeftOut(t *testing.T) {
	seed, n := rand.Uint64(), 200
	if *seedFlag != 0 {
		seed, n = *seedFlag, 1
	}
	c := coverage{fused: map[ir.Kind]int{}, kinds: map[ir.Kind]int{}}
	for i := range n {
		s := seed + uint64(i)
		for _, name := range []string{"dead", "gates", "fusion"} {
			m := randomGraph(s)
			comp := newCompilation(m.g, Options{})
			if err := comp.run(without(name)); err != nil {
				t.Fatalf("seed %d, without %s: %v", s, name, err)
			}
			if err := c.compare(m, comp.program); err != nil {
				t.Fatalf("seed %d (replay with -seed %d), without %s: %v", s, s, name, err)
			}
		}
	}
}

func without(name string) []pass {
	return slices.DeleteFunc(slices.Clone(passes), func(p pass) bool { return p.name == name })
}

// TestPassesHelp leaves the same passes out of the plan of a model: each of
// them makes it smaller.
func TestPassesHelp(t *testing.T) {
	g := unetGraph(2, 64, 64)
	g.GELU(g.Ops[0].In[0]) // for nothing
	whole := compile(t, g, Options{})
	for _, x := range []struct {
		name       string
		ops, arena float64 // how much larger they are without it, at least
	}{{"dead", 1.001, 1}, {"gates", 1, 1.2}, {"fusion", 1.3, 1}} {
		c := newCompilation(g, Options{})
		if err := c.run(without(x.name)); err != nil {
			t.Fatal(err)
		}
		ops, arena := float64(len(c.program.Ops))/float64(len(whole.Ops)), float64(c.program.Arena)/float64(whole.Arena)
		t.Logf("without %s: %.3f times the operations, %.3f times the arena", x.name, ops, arena)
		if (x.ops > 1 && ops < x.ops) || arena < x.arena {
			t.Errorf("without %s there are %.3f times as many operations, want %.3f, in %.3f times the arena, want %.3f", x.name, ops, x.ops, arena, x.arena)
		}
	}
}
