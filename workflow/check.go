package workflow

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/weir-run/weir/catalog"
	"github.com/weir-run/weir/fault"
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
	// MoreWarnings and MoreProblems count those beyond the first thousand, which
	// are kept.
	MoreWarnings, MoreProblems int

	// steps are the nodes that the other output nodes need, each after those it
	// uses.
	steps []*step
}

// A step is a node whose inputs are typed.
type step struct {
	node   *Node
	schema *Schema
	inputs []*Input
	values map[string]any       // of inputs that are not linked
	links  map[string]Reference // of those that are
}

// Check validates a whole graph. An output node that needs a node with a
// problem is skipped. The error is an *Invalid with every problem if no output
// node is left. Problems of nodes that no output node needs are warnings.
func Check(g *Graph, reg *Registry) (*Job, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxConstantTime)
	defer cancel()
	c := checker{ctx: ctx, graph: g, reg: reg, nodes: map[string]*Node{}, live: map[*Node][]*Input{},
		types: map[Reference]Type{}, constants: map[*Node][]any{}, dropped: map[*Node][]string{}}
	for _, n := range g.Nodes {
		c.nodes[n.ID] = n
	}
	order, needed := c.order()
	job := &Job{Graph: g}
	job.warn(g.oddities...)
	job.refuse(c.problems...) // cycles
	steps := map[string]*step{}
	broken := map[string]bool{}
	for _, n := range g.Nodes {
		s, problems, warnings := c.node(n, needed[n.ID])
		job.warn(warnings...)
		if needed[n.ID] {
			job.refuse(problems...)
			steps[n.ID], broken[n.ID] = s, len(problems) > 0
			continue
		}
		if len(problems) == 0 {
			job.warn(Problem{Node: n.ID, Class: n.Class, Message: "no output node needs this node; it does not run"})
		}
		for _, p := range problems {
			p.Message += " (a warning only: no output node needs this node)"
			job.warn(p)
		}
	}
	if len(order) == 0 {
		job.refuse(c.noOutput()...)
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
		return nil, &Invalid{job.Problems, job.MoreProblems}
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

func (j *Job) warn(warnings ...Problem) {
	j.Warnings, j.MoreWarnings = keep(j.Warnings, j.MoreWarnings, warnings)
}

func (j *Job) refuse(problems ...Problem) {
	j.Problems, j.MoreProblems = keep(j.Problems, j.MoreProblems, problems)
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

// isOutput reports whether a node is run for its effect, in ComfyUI if Weir lacks
// its class.
func (c *checker) isOutput(n *Node) bool {
	if s := c.reg.Lookup(n.Class); s != nil {
		return s.Output
	}
	output, _ := catalog.Output(n.Class)
	return output
}

type checker struct {
	ctx             context.Context // of constants
	graph           *Graph
	reg             *Registry
	nodes           map[string]*Node
	live            map[*Node][]*Input // the inputs of nodes
	types           map[Reference]Type // of outputs that have the type of an input
	constants       map[*Node][]any    // results that values of the file decide
	dropped         map[*Node][]string // links that those results make needless
	folded          int                // constants so far
	problems        []Problem
	hints           map[string]string // by class that reg lacks
	looked          map[lookup]error  // what Check of inputs said
	failed          int               // of those
	refused, warned int               // problems and warnings that have a text
}

// A lookup is a value of an input whose Check may look at a disk.
type lookup struct {
	in    *Input
	value any
}

// order returns the nodes that output nodes need, each after those it uses, in
// an order that depends on the file alone, and records cycles as problems. The
// depth of a graph is not the depth of the stack: chains are as long as files.
func (c *checker) order() (order []*Node, needed map[string]bool) {
	needed = map[string]bool{}
	place := map[*Node]int{} // on the path, or done
	const done = -1
	type visit struct {
		node *Node
		arg  int // the next one to follow
	}
	var path []visit
	enter := func(n *Node) {
		place[n], needed[n.ID] = len(path), true
		path = append(path, visit{node: n})
	}
	for _, n := range c.graph.Nodes {
		if !c.isOutput(n) {
			continue
		}
		if _, seen := place[n]; !seen {
			enter(n)
		}
		for len(path) > 0 {
			v := &path[len(path)-1]
			if v.arg == len(v.node.Args) {
				place[v.node] = done
				order = append(order, v.node)
				path = path[:len(path)-1]
				continue
			}
			a := v.node.Args[v.arg]
			v.arg++
			ref, ok := a.Value.(Reference)
			if !ok || !c.uses(v.node, a.Name) {
				continue
			}
			from := c.nodes[ref.Node]
			at, seen := place[from]
			switch {
			case from == nil || seen && at == done:
			case !seen:
				enter(from)
			case len(c.problems) < maxProblems:
				var cycle []*Node
				for _, v := range path[at:min(at+maxCycle+1, len(path))] {
					cycle = append(cycle, v.node)
				}
				c.cycle(cycle, len(path)-at)
			}
		}
	}
	return order, needed
}

// uses says whether a link into a node matters: an input that the class does
// not have or does not need is ignored, while of an unknown class all are followed.
func (c *checker) uses(n *Node, input string) bool {
	s := c.reg.Lookup(n.Class)
	return s == nil || pick(c.inputs(n, s), input) != nil && !slices.Contains(c.needless(n, s), input)
}

// inputs returns the inputs that a node has.
func (c *checker) inputs(n *Node, s *Schema) []*Input {
	inputs, ok := c.live[n]
	if !ok {
		inputs = s.of(n)
		c.live[n] = inputs
	}
	return inputs
}

// maxCycle is how many nodes of a cycle are named.
const maxCycle = 8

// cycle records a cycle of some length, of which the first nodes are given.
func (c *checker) cycle(nodes []*Node, length int) {
	var names []string
	for _, n := range nodes[:min(maxCycle, len(nodes))] {
		names = append(names, fmt.Sprintf("%s (%s)", clip(n.ID), clip(n.Class)))
	}
	first := names[0]
	if length > len(names) {
		names = append(names, fmt.Sprintf("and %s more", fault.Count(length-len(names))))
	}
	c.problems = append(c.problems, Problem{Node: nodes[0].ID, Class: nodes[0].Class,
		Message: "the node needs its own result: " + strings.Join(append(names, first), " ← ")})
}

// noOutput explains why nothing would run. Nodes of unknown classes may have
// been meant as outputs.
func (c *checker) noOutput() []Problem {
	var problems []Problem
	for _, n := range c.graph.Nodes {
		if c.reg.Lookup(n.Class) == nil && len(problems) < maxProblems {
			_, p, _ := c.node(n, true)
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

// node checks one node and types its inputs. More problems than are kept have no
// text, which may be long in the making.
func (c *checker) node(n *Node, needed bool) (s *step, problems, warnings []Problem) {
	tell := func(told *int, input, format string, args ...any) Problem {
		if *told++; *told > maxProblems {
			return Problem{Node: n.ID, Class: n.Class, Input: input}
		}
		return Problem{n.ID, n.Class, input, fmt.Sprintf(format, args...)}
	}
	told := &c.warned
	if needed {
		told = &c.refused
	}
	problem := func(input, format string, args ...any) Problem { return tell(told, input, format, args...) }
	warning := func(input, format string, args ...any) Problem { return tell(&c.warned, input, format, args...) }
	schema := c.reg.Lookup(n.Class)
	if schema == nil {
		return nil, []Problem{problem("", "%s", c.unknown(n.Class))}, nil
	}
	s = &step{n, schema, c.inputs(n, schema), map[string]any{}, map[string]Reference{}}
	needless := c.needless(n, schema)
	for _, in := range s.inputs {
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
		if ref, ok := arg.(Reference); ok && in.Cases != nil {
			err = fmt.Errorf("it says which inputs the node has and must be a value, found %s", kind(ref))
		} else if ok {
			if !slices.Contains(needless, in.Name) {
				s.links[in.Name], err = ref, c.link(in, ref)
			}
		} else if list, ok := arg.([]any); ok {
			err = fmt.Errorf("a list must be a link, [node id, index of output], found %s", clip(Dumps(list)))
		} else if !in.Type.Widget() {
			err = fmt.Errorf("expected a link to a node that outputs %s, found %s", in.Type, kind(arg))
		} else {
			s.values[in.Name], err = c.typed(in, arg)
			if err == nil && in.Warn != nil {
				if text := in.Warn(s.values[in.Name]); text != "" {
					warnings = append(warnings, warning(in.Name, "%s", text))
				}
			}
		}
		if err != nil {
			problems = append(problems, problem(in.Name, "%v", err))
		}
	}
	ignored := 0
	for _, a := range n.Args {
		if pick(s.inputs, a.Name) != nil || schema.Open {
			continue
		}
		if ignored++; ignored <= maxTold {
			warnings = append(warnings, warning(a.Name, "the class has no such input; %vit is ignored", &nearest{a.Name, s.inputs}))
		}
	}
	if ignored > maxTold {
		warnings = append(warnings, warning("", "%s more inputs that the class does not have are ignored", fault.Count(ignored-maxTold)))
	}
	return s, problems, warnings
}

// A nearest is the hint at the inputs of a class that are most like a name, which
// is looked for when it is told.
type nearest struct {
	name   string
	inputs []*Input
}

func (n *nearest) String() string {
	names := make([]string, len(n.inputs))
	for i, in := range n.inputs {
		names[i] = in.Name
	}
	return closest(n.name, names)
}

// typed types a value. What an input's own Check says is remembered, and when it
// has refused a thousand values the others are not looked for.
func (c *checker) typed(in *Input, arg any) (any, error) {
	if in.Check == nil {
		return in.typed(arg)
	}
	value, err := in.convert(arg)
	if err != nil {
		return nil, err
	}
	if c.looked == nil {
		c.looked = map[lookup]error{}
	}
	key := lookup{in, value}
	err, known := c.looked[key]
	if !known {
		if c.failed >= maxProblems {
			return nil, errors.New("not looked for: too much else is missing")
		}
		if err = in.checkRange(value); err == nil {
			err = in.Check(value)
		}
		if err != nil {
			c.failed++
		}
		c.looked[key] = err
	}
	return value, err
}

// unknown explains that there is no such class.
func (c *checker) unknown(class string) string {
	if c.hints == nil {
		c.hints = map[string]string{}
	}
	hint, ok := c.hints[class]
	switch {
	case ok:
	case len(c.hints) < maxProblems: // more are never told
		hint = c.explain(class)
		c.hints[class] = hint
	default:
		hint = "there is no node of this class"
	}
	return hint
}

// explain says whose class it is, or which it may have been meant to be.
func (c *checker) explain(class string) string {
	if catalog.ComfyUI(class) {
		return fmt.Sprintf("ComfyUI's node %s is not supported yet", class)
	}
	if pack := catalog.Pack(class); pack != "" {
		return fmt.Sprintf("the class is of the pack %s, which is not supported", quote(pack))
	}
	if isGroup(class) {
		return "it is a group node of the user interface: in ComfyUI, convert it to a subgraph or to nodes and save the workflow again"
	}
	if subgraphID.MatchString(class) {
		return "it is a subgraph that is not in the file; save the workflow again where the subgraph is"
	}
	if hint := closest(class, c.reg.Classes()); hint != "" {
		return "there is no node of this class; " + strings.TrimSpace(hint)
	}
	return "there is no node of this class; neither ComfyUI nor a pack that is known has it"
}

// subgraphID matches the ids that the user interface gives to subgraphs.
var subgraphID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// isGroup reports whether a class is a group node, which is defined within its
// file.
func isGroup(class string) bool {
	return strings.HasPrefix(class, "workflow>") || strings.HasPrefix(class, "workflow/")
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
		return fmt.Errorf("linked to node %s, which is not in the workflow", clip(ref.Node))
	}
	schema := c.reg.Lookup(from.Class)
	if schema == nil {
		return nil // said at that node
	}
	if ref.Output >= len(schema.Outputs) {
		return fmt.Errorf("linked to output %d of node %s (%s), which has %d", ref.Output, clip(from.ID), clip(from.Class), len(schema.Outputs))
	}
	if t := c.outputType(ref); !in.Type.Accepts(t) {
		return fmt.Errorf("expected %s, but output %d of node %s (%s) is %s", in.Type, ref.Output, clip(from.ID), clip(from.Class), t)
	}
	return nil
}

// outputType returns the type of an output, which may be that of what is linked
// to its node; TypeAny when nothing says.
func (c *checker) outputType(ref Reference) Type {
	var path []Reference
	t := TypeAny
	for {
		known, seen := c.types[ref]
		if seen {
			t = known
			break
		}
		n := c.nodes[ref.Node]
		if n == nil {
			break
		}
		s := c.reg.Lookup(n.Class)
		if s == nil || ref.Output >= len(s.Outputs) {
			break
		}
		out := s.Outputs[ref.Output]
		next, ok := c.first(n, s, out.Of)
		if !ok {
			t = out.Type
			break
		}
		c.types[ref] = TypeAny // for links in a circle
		path = append(path, ref)
		ref = next
	}
	for _, ref := range path {
		c.types[ref] = t
	}
	return t
}

// first returns what the first of some inputs that is linked and needed is
// linked to.
func (c *checker) first(n *Node, s *Schema, inputs []string) (Reference, bool) {
	for _, name := range inputs {
		if arg, ok := n.Arg(name); ok && c.uses(n, name) {
			if ref, ok := arg.(Reference); ok {
				return ref, true
			}
		}
	}
	return Reference{}, false
}
