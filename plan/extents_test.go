package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// chain returns a graph of layers of so many features, 4·n² bytes each.
func chain(names []string, n int) *ir.Graph {
	g := ir.New("chain")
	x := g.Input("x", dtype.F32, 2, n)
	for _, name := range names {
		x = g.Linear(x, g.Weight(name, dtype.F32, n, n), ir.None)
	}
	g.Output("y", x)
	return g
}

// TestPackWeights tells which weights share an extent.
func TestPackWeights(t *testing.T) {
	layers := strings.Fields("a.0 a.1 a.2 b.0 b.1 b.2 b.3 b.4")
	for _, test := range []struct {
		name, want string
		g          *ir.Graph
		o          Options
	}{
		// Layers of 1024 bytes: four are a quarter of the largest extent.
		{"a quarter of the largest", "a.0 a.1 a.2 b.0; b.1 b.2 b.3 b.4", chain(layers, 16), Options{MaxExtent: 16384}},
		{"one each", "a.0; a.1; a.2; b.0; b.1; b.2; b.3; b.4", chain(layers, 16), Options{MaxExtent: 1024}},
		{"groups share none", "a.0 a.1 a.2; b.0 b.1 b.2 b.3; b.4", chain(layers, 16), Options{MaxExtent: 16384, Group: func(w string) string { return w[:1] }}},
		{"used again", "a.0 a.1", chain(strings.Fields("a.0 a.1 a.0 a.1"), 16), Options{}},
		{"tiles of 512 bytes", "a.0; a.0; a.1; a.1", chain(layers[:2], 16), Options{MaxExtent: 512}},
	} {
		c := compileUntil(t, test.g, test.o, "extents")
		var extents []string
		for i, e := range c.weights.extents {
			var names []string
			for _, p := range e.Parts {
				names = append(names, p.Weight)
			}
			extents = append(extents, strings.Join(names, " "))
			if e.Bytes > c.options.MaxExtent {
				t.Errorf("%s: extent %d has %d bytes", test.name, i, e.Bytes)
			}
		}
		if got := strings.Join(extents, "; "); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestExtentsDependOnWeightsAlone plans the same model for other sizes and in
// less memory: what is resident of one serves the others.
func TestExtentsDependOnWeightsAlone(t *testing.T) {
	want := fmt.Sprint(compile(t, unetGraph(1, 64, 64), Options{}).Extents)
	for _, g := range []*ir.Graph{unetGraph(2, 64, 64), unetGraph(1, 96, 64), unetGraph(1, 32, 40)} {
		if fmt.Sprint(compile(t, g, Options{}).Extents) != want {
			t.Error("another size has other extents")
		}
	}
	if fmt.Sprint(compile(t, unetGraph(1, 64, 64), Options{Arena: 50 << 20}).Extents) != want {
		t.Error("less memory leads to other extents")
	}
}

// TestWeightOrder has the weights of an operation together, each at its first
// use.
func TestWeightOrder(t *testing.T) {
	g := ir.New("order")
	x := g.Input("x", dtype.F32, 2, 4)
	a := g.Linear(x, g.Weight("a", dtype.F32, 4, 4), g.Weight("a.bias", dtype.F32, 4))
	b := g.Linear(a, g.Weight("b", dtype.F32, 4, 4), g.Weight("a.bias", dtype.F32, 4))
	g.Output("y", g.Add(b, g.Weight("c", dtype.F32, 4)))
	c := compileUntil(t, g, Options{}, "order")
	got := ""
	for _, group := range c.order {
		for _, v := range group {
			got += c.draft.values[v].Name + " "
		}
		got += "; "
	}
	if want := "a a.bias ; b ; c ; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
