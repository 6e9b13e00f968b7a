package ir

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
)

// TestShapes checks what operations make of shapes, by PyTorch's rules.
func TestShapes(t *testing.T) {
	g := New("shapes")
	in := func(name string, shape ...int) Value { return g.Input(name, dtype.F32, shape...) }
	w := func(name string, shape ...int) Value { return g.Weight(name, dtype.F16, shape...) }
	x, m := in("x", 2, 6, 9, 7), in("m", 2, 5, 8)
	for what, test := range map[string]struct {
		got  Value
		want Shape
	}{
		"linear":           {g.Linear(m, w("l", 3, 8), w("lb", 3)), Shape{2, 5, 3}},
		"conv":             {g.Conv(x, w("c", 4, 6, 3, 3), None, ConvOptions{Pad: []int{1}}), Shape{2, 4, 9, 7}},
		"conv of stride 2": {g.Conv(x, w("c", 4, 6, 3, 3), None, ConvOptions{Stride: []int{2}, PadAfter: []int{1}}), Shape{2, 4, 4, 3}},
		"conv dilated":     {g.Conv(x, w("c", 4, 6, 3, 3), None, ConvOptions{Dilation: []int{2, 1}}), Shape{2, 4, 5, 5}},
		"conv in groups":   {g.Conv(x, w("cg", 4, 3, 1, 1), None, ConvOptions{Groups: 2}), Shape{2, 4, 9, 7}},
		"attention":        {g.Attention(m, in("k", 2, 11, 4), in("v", 2, 11, 6), AttentionOptions{Heads: 4, KVHeads: 2}), Shape{2, 5, 12}},
		"group norm":       {g.GroupNorm(x, w("gw", 6), None, 3, 1e-5), Shape{2, 6, 9, 7}},
		"embedding":        {g.Embedding(g.Input("ids", dtype.I32, 2, 5), w("table", 100, 8)), Shape{2, 5, 8}},
		"concat":           {g.Concat(1, x, x), Shape{2, 12, 9, 7}},
		"resample":         {g.Resample(x, Nearest, 18, 14), Shape{2, 6, 18, 14}},
		"reshape":          {g.Reshape(x, 2, 6, -1), Shape{2, 6, 63}},
		"permute":          {g.Permute(x, 0, 2, 3, 1), Shape{2, 9, 7, 6}},
		"slice":            {g.Slice(x, -1, 2, 5), Shape{2, 6, 9, 3}},
		"expand":           {g.Expand(in("one", 1, 6, 1, 1), 2, 6, 9, 7), Shape{2, 6, 9, 7}},
		"add":              {g.Add(x, in("row", 7)), Shape{2, 6, 9, 7}},
		"add larger":       {g.Add(in("row", 7), x), Shape{2, 6, 9, 7}},
		"rotation":         {g.Rotate(m, 4), Shape{2, 5, 8}},
		"sinusoid":         {g.Sinusoid(in("t", 2), 10, 10000), Shape{2, 10}},
	} {
		if got := g.Shape(test.got); !got.Equal(test.want) {
			t.Errorf("%s has the shape %v, want %v", what, got, test.want)
		}
	}
	if err := g.Err(); err != nil {
		t.Error(err)
	}
}

// TestMistakes gives operations operands that do not fit: the graph says what
// and where, and building goes on.
func TestMistakes(t *testing.T) {
	for want, build := range map[string]func(g *Graph, x, w Value){
		"linear block.fc: input [2 6 9 7] does not fit the weight w [3 8]": func(g *Graph, x, w Value) { g.In("block.fc", func() { g.Linear(x, w, None) }) },
		"conv: input [2 6 9 7] does not fit the weight w [3 8]":            func(g *Graph, x, w Value) { g.Conv(x, w, None, ConvOptions{}) },
		"cannot be cut into 4 groups":                                      func(g *Graph, x, _ Value) { g.GroupNorm(x, None, None, 4, 1e-5) },
		"add":                                                              func(g *Graph, x, w Value) { g.Add(x, w) },
		"attention":                                                        func(g *Graph, x, w Value) { g.Attention(x, x, x, AttentionOptions{Heads: 2}) },
		"reshape":                                                          func(g *Graph, x, _ Value) { g.Reshape(x, 5, -1) },
		"slice":                                                            func(g *Graph, x, _ Value) { g.Slice(x, 1, 4, 9) },
		"[2 6 9 7] cannot be rotated in groups of 4": func(g *Graph, x, _ Value) { g.Rotate(x, 4) },
		"permute":                func(g *Graph, x, _ Value) { g.Permute(x, 0, 1, 1, 2) },
		"concat":                 func(g *Graph, x, w Value) { g.Concat(0, x, w) },
		"embedding":              func(g *Graph, x, _ Value) { g.Embedding(x, x) },
		"input x is declared as": func(g *Graph, _, _ Value) { g.Input("x", dtype.F32, 3) },
	} {
		g := New("broken")
		x, w := g.Input("x", dtype.F32, 2, 6, 9, 7), g.Weight("w", dtype.F16, 3, 8)
		build(g, x, w)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), "broken: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	g := New("many")
	for range 1000 {
		g.Fail("x")
	}
	if n := strings.Count(g.Err().Error(), "\n"); n > 20 {
		t.Errorf("%d errors are kept", n)
	}
}

// TestBroadcast compares with the definition, element by element.
func TestBroadcast(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	shape := func() Shape {
		s := make(Shape, r.IntN(4))
		for i := range s {
			s[i] = 1 + r.IntN(3)
		}
		return s
	}
	for range 2000 {
		a, b := shape(), shape()
		got, ok := Broadcast(a, b)
		want, fits := Shape{}, true
		for i := range max(len(a), len(b)) {
			x, y := 1, 1
			if i < len(a) {
				x = a[len(a)-1-i]
			}
			if i < len(b) {
				y = b[len(b)-1-i]
			}
			fits = fits && (x == y || x == 1 || y == 1)
			want = append(want, max(x, y))
		}
		slices.Reverse(want)
		if ok != fits || ok && !got.Equal(want) {
			t.Fatalf("%v and %v give %v, %v; want %v, %v", a, b, got, ok, want, fits)
		}
	}
	if s := (Shape{2, 3, 4}).Strides(); !slices.Equal(s, []int{12, 4, 1}) {
		t.Errorf("the strides of [2 3 4] are %v", s)
	}
}
