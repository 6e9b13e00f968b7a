package workflow

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/weir-run/weir/fault"
)

// Nodes that have numbers, texts and truth values alone are computed while the
// workflow is checked, as far as the file decides them. What lazy inputs of other
// nodes do not need by that is no part of the job: it is neither checked nor run.

// Limits of what is computed; what is beyond them waits for the run.
const (
	maxConstants     = 1000
	maxConstantDepth = 50
	maxConstantText  = 1 << 16
	maxConstantTime  = time.Second
)

// scalar reports whether all values of a type are numbers, texts or truth values.
func scalar(t Type) bool {
	for _, one := range strings.Split(string(t), ",") {
		if !Type(one).Widget() {
			return false
		}
	}
	return true
}

// foldable reports whether nodes of the class can be computed without running the
// job.
func (s *Schema) foldable() bool {
	if s.Output || s.Changed != nil || s.Prepare != nil {
		return false
	}
	for _, out := range s.Outputs {
		if !scalar(out.Type) && out.Of == nil {
			return false
		}
	}
	return true
}

// needless returns the links into a node that it does not need, as far as the
// file decides that.
func (c *checker) needless(n *Node, s *Schema) []string { return c.needlessAt(n, s, 0) }

func (c *checker) needlessAt(n *Node, s *Schema, depth int) []string {
	if s.Lazy == nil {
		return nil
	}
	if names, known := c.dropped[n]; known {
		return names
	}
	c.dropped[n] = nil // for links in a circle
	values, ok := c.known(n, s, depth, func(in *Input) bool { return !in.Lazy })
	if !ok {
		return nil
	}
	var needed []string
	err := fault.Guard(func() error { needed = s.Lazy(&Call{Node: n, Schema: s, Graph: c.graph, values: values}); return nil })
	if err != nil {
		return nil
	}
	for _, in := range c.inputs(n, s) {
		if in.Lazy && !slices.Contains(needed, in.Name) {
			c.dropped[n] = append(c.dropped[n], in.Name)
		}
	}
	return c.dropped[n]
}

// known returns the values of those inputs of a node that are asked for, if the
// file decides them all.
func (c *checker) known(n *Node, s *Schema, depth int, asked func(*Input) bool) (map[string]any, bool) {
	values := map[string]any{}
	for _, in := range c.inputs(n, s) {
		if !asked(in) {
			continue
		}
		arg, ok := n.Arg(in.Name)
		ref, linked := arg.(Reference)
		var v any
		var err error
		switch {
		case !ok || arg == nil && in.Optional:
			if v = in.Default; !in.Optional {
				return nil, false
			}
		case linked:
			outputs := c.constant(c.nodes[ref.Node], depth+1)
			if ref.Output >= len(outputs) {
				return nil, false
			}
			if v = outputs[ref.Output]; in.Type.Widget() {
				v, err = in.linked(v)
			}
		case !in.Type.Widget():
			return nil, false
		default:
			v, err = c.typed(in, arg)
		}
		if err != nil {
			return nil, false
		}
		values[in.Name] = v
	}
	return values, true
}

// constant returns the results of a node if the file decides them, or nil.
func (c *checker) constant(n *Node, depth int) []any {
	if n == nil || depth > maxConstantDepth {
		return nil
	}
	if outputs, known := c.constants[n]; known {
		return outputs
	}
	s := c.reg.Lookup(n.Class)
	if s == nil || !s.foldable() || c.folded >= maxConstants || c.ctx.Err() != nil {
		return nil
	}
	c.constants[n] = nil // for links in a circle
	c.folded++
	needless := c.needlessAt(n, s, depth)
	values, ok := c.known(n, s, depth, func(in *Input) bool { return !slices.Contains(needless, in.Name) })
	if !ok {
		return nil
	}
	var outputs []any
	err := fault.Guard(func() (err error) {
		outputs, err = s.Run(c.ctx, &Call{Node: n, Schema: s, Graph: c.graph, values: values, observe: func(Event) {}, need: small})
		return err
	})
	if err != nil || len(outputs) != len(s.Outputs) {
		return nil // said when it runs
	}
	for _, v := range outputs {
		switch v := v.(type) {
		case int64, uint64, float64, bool:
		case string:
			if len(v) > maxConstantText {
				return nil
			}
		default:
			return nil
		}
	}
	c.constants[n] = outputs
	return outputs
}

// small refuses memory for texts that are too long to be computed early.
func small(_ context.Context, n int64) error {
	if n > maxConstantText {
		return fault.New(fault.Memory, "%d bytes", n)
	}
	return nil
}
