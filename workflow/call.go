package workflow

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// A Call is one run of a node: its inputs, and the way to report progress and
// files. The accessors of values in the file panic when the schema has no such
// input of that type, for that is a mistake in the node.
type Call struct {
	Node   *Node
	Schema *Schema
	// Graph is the whole workflow, for nodes that store it with their results.
	// It must not be changed.
	Graph *Graph

	values  map[string]any
	observe func(Event)
	prepare func() // what runs next
	need    func(ctx context.Context, n int64) error
	files   []File
	text    string
}

// Has says whether an optional input was given or has a default.
func (c *Call) Has(name string) bool { return c.values[name] != nil }

// Value returns the value of any input, nil for an optional one that is absent.
func (c *Call) Value(name string) any {
	if c.Schema.Input(name) == nil && !strings.Contains(name, ".") {
		panic(fmt.Sprintf("workflow: %s has no input %q", c.Schema.Class, name))
	}
	return c.values[name]
}

// Int returns an INT input; one beyond the range of an int is the nearest int.
func (c *Call) Int(name string) int {
	switch v := c.Value(name).(type) {
	case int64:
		return int(v)
	case uint64:
		return math.MaxInt
	}
	panic(c.mistake(name, TypeInt))
}

// Seed returns an INT input as the 64 bits of a seed.
func (c *Call) Seed(name string) uint64 {
	switch v := c.Value(name).(type) {
	case int64:
		return uint64(v)
	case uint64:
		return v
	}
	panic(c.mistake(name, TypeInt))
}

// Float returns a FLOAT input.
func (c *Call) Float(name string) float64 { return constant[float64](c, name, TypeFloat) }

// String returns a STRING or COMBO input.
func (c *Call) String(name string) string { return constant[string](c, name, TypeString) }

// Bool returns a BOOLEAN input.
func (c *Call) Bool(name string) bool { return constant[bool](c, name, TypeBool) }

func constant[T any](c *Call, name string, t Type) T {
	v, ok := c.Value(name).(T)
	if !ok {
		panic(c.mistake(name, t))
	}
	return v
}

func (c *Call) mistake(name string, t Type) string {
	return fmt.Sprintf("workflow: input %q of %s is %T, not %s", name, c.Schema.Class, c.values[name], t)
}

// Need makes room for n bytes of memory, for results and for what the node works
// with, before the node takes them. They are counted until it returns, and from
// then on what its results hold. The error names the numbers.
func (c *Call) Need(ctx context.Context, n int64) error {
	if c.need == nil || n <= 0 {
		return nil
	}
	return c.need(ctx, n)
}

// Progress reports that step of total steps are done. Preview, which may be
// nil, computes a picture of the state; it is called before Progress returns or
// never.
func (c *Call) Progress(step, total int, preview func() any) {
	c.observe(Event{Kind: NodeProgress, Node: c.Node, Step: step, Total: total, Preview: preview})
}

// Finishing tells that the last part of the work that takes long begins, so
// that what runs next is prepared meanwhile. Only the first call counts.
func (c *Call) Finishing() {
	if c.prepare != nil {
		c.prepare()
		c.prepare = nil
	}
}

// Show reports a text that the node shows.
func (c *Call) Show(text string) { c.text = text }

// Saved reports a file that the node wrote.
func (c *Call) Saved(f File) { c.files = append(c.files, f) }

// A File is a file that an output node wrote.
type File struct {
	Path      string // where it is
	Name      string // its name
	Subfolder string // of the folder of its kind, with slashes; "" for none
	Kind      string // "output" or "temp"
}
