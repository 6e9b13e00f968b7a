package plan

import (
	"fmt"

	"github.com/weir-run/weir/ir"
)

const defaultMaxExtent = 64 << 20

// Compile plans a graph. It fails if the graph does, or if a weight is larger
// than an extent and cannot be cut into rows.
//
// The extents depend on the weights and on the order in which the graph was
// built, not on the shapes of activations: a model that is planned for another
// batch or image size, or in less memory, has the same ones.
func Compile(g *ir.Graph, o Options) (*Program, error) {
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("cannot plan: %w", err)
	}
	c := newCompilation(g, o)
	if err := c.run(passes); err != nil {
		return nil, err
	}
	return c.program, nil
}

// A compilation is a graph on its way to a program. Each pass reads the results
// of those before it, and replaces one or adds its own.
type compilation struct {
	options Options
	graph   *ir.Graph
	draft   *draft           // from the pass views on
	order   [][]ir.Value     // the weights, by first use in the graph
	arena   *arena           // the places of activations
	tiles   map[ir.Value]int // rows of a tile, of weights that are cut
	weights *weightLayout    // the places of weights
	program *Program         // the result
}

func newCompilation(g *ir.Graph, o Options) *compilation {
	if o.MaxExtent == 0 {
		o.MaxExtent = defaultMaxExtent
	}
	return &compilation{options: o, graph: g}
}

// A pass is a step of a compilation.
type pass struct {
	name string
	run  func(c *compilation) error
}

// passes are all steps, in order. Dead, gates and fusion may be left out: the
// program is then slower or larger, and computes the same.
var passes = []pass{
	{"dead", func(c *compilation) error { c.graph = dropDead(c.graph); return nil }},
	{"gates", func(c *compilation) error { c.graph = splitGates(c.graph); return nil }},
	{"views", func(c *compilation) (err error) { c.draft, err = lower(c.graph); return err }},
	// Fusion may turn uses around, so the order is taken before it.
	{"order", func(c *compilation) error { c.order = weightOrder(c.draft); return nil }},
	{"fusion", func(c *compilation) error { fuse(c.draft); return nil }},
	// Regions are made in pieces when the arena would be too large.
	{"arena", func(c *compilation) error { c.draft, c.arena = placeWithin(c.draft, c.options.Arena); return nil }},
	{"rows", func(c *compilation) (err error) { c.tiles, err = cutRows(c.draft, c.options.MaxExtent); return err }},
	{"extents", func(c *compilation) error { c.weights = packWeights(c.draft, c.order, c.tiles, c.options); return nil }},
	{"program", func(c *compilation) error { c.program = c.emit(); return nil }},
}

// testHookPass is called after each pass, in tests.
var testHookPass = func(name string, c *compilation) {}

// run runs passes one after another.
func (c *compilation) run(passes []pass) error {
	for _, p := range passes {
		if err := p.run(c); err != nil {
			return fmt.Errorf("cannot plan %s: %w", c.graph.Name, err)
		}
		testHookPass(p.name, c)
	}
	return nil
}
