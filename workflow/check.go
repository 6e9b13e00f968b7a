package workflow

import (
	"fmt"
	"slices"
	"strings"
)

// A Job is a graph that was found valid, ready for an Executor.
type Job struct {
	Graph *Graph
	// Warnings are oddities that do no harm: inputs that a node does not have,
	// and problems of nodes that no output node needs.
	Warnings []Problem
	// Skipped are the output nodes that cannot run, while others can, and Problems
	// the reasons.
	Skipped  []*Node
	Problems []Problem

	// steps are the nodes that the other output nodes need, each after those it
	// uses.
	steps []*step
}

// A step is a node whose inputs are typed.
type step struct {
	node   *Node
	schema *Schema
	values map[string]any       // of inputs that are not linked
	links  map[string]Reference // of those that are
}

// Check validates a whole graph. An output node that needs a node with a
// problem is skipped. The error is an *Invalid with every problem if no output
// node is left. Problems of nodes that no output node needs are warnings.
func Check(g *Graph, reg *Registry) (*Job, error) {
	c := checker{graph: g, reg: reg, nodes: map[string]*Node{}}
	for _, n := range g.Nodes {
		c.nodes[n.ID] = n
	}
	order, needed := c.order()
	job := &Job{Graph: g, Problems: c.problems} // cycles
	steps := map[string]*step{}
	broken := map[string]bool{}
	for _, n := range g.Nodes {
		s, problems, warnings := c.node(n)
		job.Warnings = append(job.Warnings, warnings...)
		if needed[n.ID] {
			job.Problems = append(job.Problems, problems...)
			steps[n.ID], broken[n.ID] = s, len(problems) > 0
			continue
		}
		for _, p := range problems {
			p.Message += " (a warning only: no output node needs this node)"
			job.Warnings = append(job.Warnings, p)
		}
	}
	if len(order) == 0 {
		job.Problems = append(job.Problems, c.noOutput()...)
	}
	c.spread(order, broken)
	for _, n := range order {
		switch {
		case !broken[n.ID]:
			job.steps = append(job.steps, steps[n.ID])
		case c.isOutput(n):
			job.Skipped = append(job.Skipped, n)
		}
	}
	if job.prune(nil); len(job.steps) == 0 {
		return nil, &Invalid{job.Problems}
	}
	return job, nil
}

// Without returns the job without some of its output nodes, or nil if none is
// left.
func (j *Job) Without(outputs []*Node) *Job {
	out := *j
	out.Skipped = append(slices.Clone(j.Skipped), outputs...)
	without := map[string]bool{}
	for _, n := range outputs {
		without[n.ID] = true
	}
	if out.prune(without); len(out.steps) == 0 {
		return nil
	}
	return &out
}

// On returns the job for another registry, which has the same classes.
func (j *Job) On(reg *Registry) *Job {
	out := *j
	out.steps = slices.Clone(j.steps)
	for i, s := range out.steps {
		other := *s
		other.schema = reg.Lookup(s.node.Class)
		out.steps[i] = &other
	}
	return &out
}

// prune drops some output nodes and all that no other output node needs.
func (j *Job) prune(without map[string]bool) {
	var steps []*step
	wanted := map[string]bool{}
	for _, s := range slices.Backward(j.steps) {
		if s.schema.Output && !without[s.node.ID] || wanted[s.node.ID] {
			steps = append(steps, s)
			for _, ref := range s.links {
				wanted[ref.Node] = true
			}
		}
	}
	slices.Reverse(steps)
	j.steps = steps
}

// spread marks the nodes that need a broken node as broken too. A node that
// stands before one that it uses is part of a cycle.
func (c *checker) spread(order []*Node, broken map[string]bool) {
	seen := map[string]bool{}
	for _, n := range order {
		for _, a := range n.Args {
			ref, ok := a.Value.(Reference)
			if ok && c.uses(n, a.Name) && (broken[ref.Node] || !seen[ref.Node]) {
				broken[n.ID] = true
			}
		}
		seen[n.ID] = true
	}
}

// isOutput reports whether a node is run for its effect.
func (c *checker) isOutput(n *Node) bool {
	s := c.reg.Lookup(n.Class)
	return s != nil && s.Output
}

type checker struct {
	graph    *Graph
	reg      *Registry
	nodes    map[string]*Node
	problems []Problem
}

// order returns the nodes that output nodes need, each after those it uses, in
// an order that depends on the file alone, and records cycles as problems.
func (c *checker) order() (order []*Node, needed map[string]bool) {
	needed = map[string]bool{}
	const visiting, done = 1, 2
	state := map[string]int{}
	var path []*Node
	var visit func(n *Node)
	visit = func(n *Node) {
		switch state[n.ID] {
		case done:
			return
		case visiting:
			c.cycle(path[slices.Index(path, n):])
			return
		}
		state[n.ID], needed[n.ID] = visiting, true
		path = append(path, n)
		for _, a := range n.Args {
			if ref, ok := a.Value.(Reference); ok && c.uses(n, a.Name) {
				if from := c.nodes[ref.Node]; from != nil {
					visit(from)
				}
			}
		}
		path = path[:len(path)-1]
		state[n.ID] = done
		order = append(order, n)
	}
	for _, n := range c.graph.Nodes {
		if c.isOutput(n) {
			visit(n)
		}
	}
	return order, needed
}

// uses says whether a link into a node matters: an input that the class does
// not have is ignored, while of an unknown class all are followed.
func (c *checker) uses(n *Node, input string) bool {
	s := c.reg.Lookup(n.Class)
	return s == nil || s.Input(input) != nil
}

func (c *checker) cycle(nodes []*Node) {
	var names []string
	for _, n := range append(slices.Clone(nodes), nodes[0]) {
		names = append(names, fmt.Sprintf("%s (%s)", n.ID, n.Class))
	}
	c.problems = append(c.problems, Problem{Node: nodes[0].ID, Class: nodes[0].Class,
		Message: "the node needs its own result: " + strings.Join(names, " ← ")})
}

// noOutput explains why nothing would run. Nodes of unknown classes may have
// been meant as outputs.
func (c *checker) noOutput() []Problem {
	var problems []Problem
	for _, n := range c.graph.Nodes {
		if c.reg.Lookup(n.Class) == nil {
			_, p, _ := c.node(n)
			problems = append(problems, p...)
		}
	}
	var outputs []string
	for _, class := range c.reg.Classes() {
		if c.reg.Lookup(class).Output {
			outputs = append(outputs, class)
		}
	}
	return append(problems, Problem{Message: "no node makes an output; add one of: " + strings.Join(outputs, ", ")})
}

// node checks one node and types its inputs.
func (c *checker) node(n *Node) (s *step, problems, warnings []Problem) {
	problem := func(input, format string, args ...any) Problem {
		return Problem{n.ID, n.Class, input, fmt.Sprintf(format, args...)}
	}
	schema := c.reg.Lookup(n.Class)
	if schema == nil {
		return nil, []Problem{problem("", "there is no node of this class; %s", near(n.Class, c.reg.Classes()))}, nil
	}
	s = &step{n, schema, map[string]any{}, map[string]Reference{}}
	for i := range schema.Inputs {
		in := &schema.Inputs[i]
		arg, ok := n.Arg(in.Name)
		// The user interface exports optional inputs that are empty as null.
		if !ok || arg == nil && in.Optional {
			if !in.Optional {
				problems = append(problems, problem(in.Name, "required input is missing%s", defaultHint(in)))
			} else if in.Default != nil {
				s.values[in.Name] = in.Default
			}
			continue
		}
		var err error
		if ref, ok := arg.(Reference); ok {
			s.links[in.Name], err = ref, c.link(in, ref)
		} else if !in.Type.Widget() {
			err = fmt.Errorf("expected a link to a node that outputs %s, found %s", in.Type, kind(arg))
		} else {
			s.values[in.Name], err = in.typed(arg)
		}
		if err != nil {
			problems = append(problems, problem(in.Name, "%v", err))
		}
	}
	for _, a := range n.Args {
		if schema.Input(a.Name) == nil {
			warnings = append(warnings, problem(a.Name, "the class has no such input; it is ignored"))
		}
	}
	return s, problems, warnings
}

func defaultHint(in *Input) string {
	if in.Default == nil {
		return ""
	}
	return fmt.Sprintf(" (the usual value is %v)", in.Default)
}

// link checks that what an input refers to exists and has the right type.
func (c *checker) link(in *Input, ref Reference) error {
	from := c.nodes[ref.Node]
	if from == nil {
		return fmt.Errorf("linked to node %s, which is not in the workflow", ref.Node)
	}
	schema := c.reg.Lookup(from.Class)
	if schema == nil {
		return nil // said at that node
	}
	if ref.Output >= len(schema.Outputs) {
		return fmt.Errorf("linked to output %d of node %s (%s), which has %d", ref.Output, from.ID, from.Class, len(schema.Outputs))
	}
	if out := schema.Outputs[ref.Output]; !in.Type.Accepts(out.Type) {
		return fmt.Errorf("expected %s, but output %d of node %s (%s) is %s", in.Type, ref.Output, from.ID, from.Class, out.Type)
	}
	return nil
}
