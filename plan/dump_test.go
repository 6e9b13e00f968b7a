package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/ir"
)

var update = flag.Bool("update", false, "write the dumps in testdata as they are now")

// TestDumps compares a small model after each pass with the text in testdata.
// What a pass does to it is the difference between two neighbouring files. When
// a change is meant, write them again with -update and read them.
func TestDumps(t *testing.T) {
	// Two groups of weights, in extents so small that rows are cut.
	c := newCompilation(tinyGraph(), Options{MaxExtent: 2048, Group: loraGroup})
	if err := c.graph.Err(); err != nil {
		t.Fatal(err)
	}
	for i, p := range passes {
		if err := c.run([]pass{p}); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("tiny-%d-%s.txt", i+1, p.name), c.dump(p.name))
	}
	// In less memory a region is made in pieces.
	golden(t, "tiny-6-arena-in-pieces.txt", compileUntil(t, tinyGraph(), Options{Arena: 4800}, "arena").dump("arena"))
}

func loraGroup(weight string) string {
	group, _, found := strings.Cut(weight, ":")
	if !found {
		return ""
	}
	return group
}

// golden compares a text with that of a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, have := strings.Split(string(text), "\n"), strings.Split(got, "\n")
	for i := range max(len(want), len(have)) {
		if i >= len(want) || i >= len(have) || want[i] != have[i] {
			t.Errorf("%s has %d lines, now %d. From line %d on it has\n\t%s\nand now\n\t%s\nIf that is meant, run the test with -update and read the difference.",
				path, len(want)-1, len(have)-1, i+1, strings.Join(want[min(i, len(want)):min(i+3, len(want))], "\n\t"), strings.Join(have[min(i, len(have)):min(i+3, len(have))], "\n\t"))
			return
		}
	}
}

// dump writes down what a pass has made or changed.
func (c *compilation) dump(pass string) string {
	var b strings.Builder
	switch pass {
	case "dead", "gates":
		dumpGraph(&b, c.graph)
	case "order":
		for _, group := range c.order {
			for _, v := range group {
				fmt.Fprintf(&b, "%s %s %v\n", c.draft.values[v].DType, c.draft.values[v].Name, c.draft.values[v].Shape)
			}
			b.WriteString("\n")
		}
	case "arena":
		fmt.Fprintf(&b, "arena %d bytes, lower bound %d\n", c.arena.size, c.arena.lowerBound)
		if c.draft.regions > 0 {
			fmt.Fprintf(&b, "%d regions in up to %d pieces\n", c.draft.regions, c.draft.pieces)
		}
		lives := lifetimes(c.draft, shareMemory(c.draft))
		slices.SortStableFunc(lives, func(a, b *lifetime) int { return a.from - b.from })
		for _, l := range lives {
			fmt.Fprintf(&b, "  %d bytes at %d for v%d, operations %d to %d\n", l.size, c.arena.offsets[l.value], l.value, l.from, l.to)
		}
		if c.draft.regions > 0 {
			c.draft.dump(&b)
		}
	case "extents":
		for i, e := range c.weights.extents {
			fmt.Fprintf(&b, "extent %d, %s, %d bytes\n", i, e.Name, e.Bytes)
			for _, p := range e.Parts {
				fmt.Fprintf(&b, "  at %d: %s, %d bytes from %d\n", p.At, p.Weight, p.Bytes, p.From)
			}
		}
	case "program":
		c.program.WriteTable(&b, true)
	default:
		c.draft.dump(&b)
	}
	// The table pads its columns.
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// dumpGraph writes a line for each operation.
func dumpGraph(b *strings.Builder, g *ir.Graph) {
	for i := range g.Ops {
		op := &g.Ops[i]
		fmt.Fprintf(b, "v%d %v = %s %s", op.Out, g.Shape(op.Out), op.Kind, op.Name)
		for k, v := range op.In {
			if info := g.Values[v]; info.Kind == ir.Activation {
				fmt.Fprintf(b, " (v%d %v)", v, info.Shape)
			} else {
				fmt.Fprintf(b, " (%s %v)", info.Name, info.Shape)
			}
			for _, s := range op.Steps {
				if s.Func.Binary() && s.Operand == k {
					fmt.Fprintf(b, " by %s", s.Func)
				}
			}
		}
		for _, s := range op.Steps {
			if !s.Func.Binary() {
				fmt.Fprintf(b, " %s", s.Func)
			}
		}
		if op.Kind == ir.Slice {
			fmt.Fprintf(b, " axis %d from %d to %d", op.Attrs.Axis, op.Attrs.From, op.Attrs.To)
		}
		b.WriteString("\n")
	}
	for _, out := range g.Outputs {
		fmt.Fprintf(b, "output %s = v%d\n", out.Name, out.Value)
	}
}

// dump writes a line for each operation, with its operands, and one for each
// step that follows.
func (s *draft) dump(b *strings.Builder) {
	for i, op := range s.ops {
		fmt.Fprintf(b, "%d: %s = %s", i, s.text(op.out), op.Kind)
		if op.piece {
			b.WriteString(" piece")
		}
		if op.Attrs.RowTo > 0 {
			fmt.Fprintf(b, "[%d:%d]", op.Attrs.RowFrom, op.Attrs.RowTo)
		}
		fmt.Fprintf(b, " %s", op.Name)
		for k, w := range op.args {
			if !isStepOperand(op.Steps, k) {
				fmt.Fprintf(b, " (%s)", s.text(w))
			}
		}
		b.WriteString("\n")
		for _, step := range op.Steps {
			fmt.Fprintf(b, "\t%s", step.Func)
			if step.Func.Binary() {
				fmt.Fprintf(b, " %s", s.text(op.args[step.Operand]))
			}
			b.WriteString("\n")
		}
	}
	for _, out := range s.outputs {
		fmt.Fprintf(b, "output %s = %s\n", out.name, s.text(out.window))
	}
}

// text writes a window: the value, the shape and, of a part or another layout,
// the offset and the strides.
func (s *draft) text(w window) string {
	name := fmt.Sprintf("v%d", w.of)
	if s.values[w.of].Kind != ir.Activation {
		name = s.values[w.of].Name
	}
	text := fmt.Sprintf("%s %v", name, w.shape)
	if w.offset > 0 {
		text += fmt.Sprintf(" from %d", w.offset)
	}
	if !w.contiguous() {
		text += fmt.Sprintf(" strides %v", w.strides)
	}
	return text
}
