package workflow

import (
	"errors"
	"fmt"
	"slices"
)

// The format of ComfyUI's user interface keeps a drawing: nodes with the
// values of their widgets in the order in which they are drawn, and a table of
// links. What only helps to draw is resolved here: reroutes, primitive nodes,
// nodes that are muted or bypassed, and notes.

// The modes of nodes in the user interface.
const (
	modeMuted    = 2
	modeBypassed = 4
)

// A drawing is a workflow as the user interface saves it.
type drawing struct {
	reg   *Registry
	nodes map[string]*drawnNode
	order []*drawnNode
	links map[string]Reference // by id: the node and output that it comes from
}

// A drawnNode is a node of the user interface.
type drawnNode struct {
	id, class, title string
	mode             int
	inputs           []drawnInput
	outputs          []string // their types
	widgets          any      // a list, or an object by name
}

// A drawnInput is an input that is drawn as a socket.
type drawnInput struct {
	name, kind string
	link       string // its id, "" for none
}

// convert turns the format of ComfyUI's user interface into a graph.
func convert(top Object, reg *Registry) (*Graph, error) {
	if definitions, ok := top.Get("definitions"); ok {
		if d, _ := definitions.(Object); len(d) > 0 {
			if subgraphs, _ := d.Get("subgraphs"); subgraphs != nil && len(list(subgraphs)) > 0 {
				return nil, errors.New("this workflow has subgraphs, which are not supported yet: export it in the API format (Workflow, Export (API))")
			}
		}
	}
	d := drawing{reg: reg, nodes: map[string]*drawnNode{}, links: map[string]Reference{}}
	if err := d.read(top); err != nil {
		return nil, fmt.Errorf("not a workflow: %w", err)
	}
	g := &Graph{Source: top}
	for _, n := range d.order {
		if n.active() {
			g.Nodes = append(g.Nodes, d.node(n))
		}
	}
	if len(g.Nodes) == 0 {
		return nil, errors.New("not a workflow: it has no nodes that run")
	}
	return g, nil
}

// active reports whether a node runs.
func (n *drawnNode) active() bool {
	return n.mode != modeMuted && n.mode != modeBypassed && !n.drawnOnly()
}

// drawnOnly reports whether a node exists in the user interface alone.
func (n *drawnNode) drawnOnly() bool {
	return slices.Contains([]string{"Reroute", "PrimitiveNode", "Note", "MarkdownNote"}, n.class)
}

func (d *drawing) read(top Object) error {
	nodes, _ := top.Get("nodes")
	for i, v := range list(nodes) {
		n, err := readDrawn(v)
		if err != nil {
			return fmt.Errorf("node %d of the list: %w", i+1, err)
		}
		if d.nodes[n.id] != nil {
			return fmt.Errorf("two nodes have the id %s", n.id)
		}
		d.nodes[n.id] = n
		d.order = append(d.order, n)
	}
	links, _ := top.Get("links")
	for i, v := range list(links) {
		id, from, ok := readLink(v)
		if !ok {
			return fmt.Errorf("link %d of the list should be [id, node, output, node, input, type], found %s", i+1, kind(v))
		}
		d.links[id] = from
	}
	return nil
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func readDrawn(v any) (*drawnNode, error) {
	o, ok := v.(Object)
	if !ok {
		return nil, errors.New("expected an object, found " + kind(v))
	}
	n := &drawnNode{}
	id, _ := o.Get("id")
	if n.id, ok = nodeID(id); !ok {
		return nil, errors.New("its id should be a number, found " + kind(id))
	}
	class, _ := o.Get("type")
	if n.class, ok = class.(string); !ok || n.class == "" {
		return nil, fmt.Errorf("node %s: its type should be a string, found %s", n.id, kind(class))
	}
	title, _ := o.Get("title")
	n.title, _ = title.(string)
	mode, _ := o.Get("mode")
	n.mode, _ = smallInt(mode)
	n.widgets, _ = o.Get("widgets_values")
	inputs, _ := o.Get("inputs")
	for _, v := range list(inputs) {
		o, _ := v.(Object)
		name, _ := o.Get("name")
		in := drawnInput{}
		in.name, _ = name.(string)
		kind, _ := o.Get("type")
		in.kind, _ = kind.(string)
		link, _ := o.Get("link")
		in.link, _ = nodeID(link)
		n.inputs = append(n.inputs, in)
	}
	outputs, _ := o.Get("outputs")
	for _, v := range list(outputs) {
		o, _ := v.(Object)
		kind, _ := o.Get("type")
		text, _ := kind.(string)
		n.outputs = append(n.outputs, text)
	}
	return n, nil
}

// readLink reads a link, which newer versions write as an object.
func readLink(v any) (id string, from Reference, ok bool) {
	var fields [3]any // id, node, output
	switch v := v.(type) {
	case []any:
		if len(v) < 5 {
			return "", from, false
		}
		copy(fields[:], v)
	case Object:
		for i, key := range []string{"id", "origin_id", "origin_slot"} {
			fields[i], _ = v.Get(key)
		}
	}
	id, isID := nodeID(fields[0])
	node, isNode := nodeID(fields[1])
	output, isIndex := smallInt(fields[2])
	return id, Reference{node, output}, isID && isNode && isIndex
}

// node turns a drawn node into one of the graph.
func (d *drawing) node(n *drawnNode) *Node {
	out := &Node{ID: n.id, Class: n.class, Title: n.title}
	linked := map[string]bool{}
	for _, in := range n.inputs {
		if v, ok := d.value(in.link); ok {
			linked[in.name] = true
			out.Args = append(out.Args, Arg{in.name, v})
		}
	}
	for _, a := range n.values(d.reg.Lookup(n.class)) {
		if !linked[a.Name] {
			out.Args = append(out.Args, a)
		}
	}
	return out
}

// value returns what comes over a link: a reference to a node that runs, or
// the value of a primitive node.
func (d *drawing) value(link string) (any, bool) {
	for range len(d.order) + 1 { // no more, lest reroutes go in a circle
		from, ok := d.links[link]
		n := d.nodes[from.Node]
		if !ok || n == nil || n.mode == modeMuted {
			return nil, false
		}
		switch {
		case n.class == "PrimitiveNode":
			if w := list(n.widgets); len(w) > 0 {
				return w[0], true
			}
			return nil, false
		case n.class == "Reroute" && len(n.inputs) > 0:
			link = n.inputs[0].link
		case n.mode == modeBypassed:
			if link, ok = n.through(from.Output); !ok {
				return nil, false
			}
		default:
			return from, true
		}
	}
	return nil, false
}

// through returns the link into a bypassed node that takes the place of one
// of its outputs: the input of the same place, or the first, of its type.
func (n *drawnNode) through(output int) (link string, ok bool) {
	if output >= len(n.outputs) {
		return "", false
	}
	kind := n.outputs[output]
	if output < len(n.inputs) && n.inputs[output].kind == kind {
		return n.inputs[output].link, true
	}
	for _, in := range n.inputs {
		if in.kind == kind {
			return in.link, true
		}
	}
	return "", false
}

// values returns the values of a node's widgets by name. Without a schema
// nobody knows which is which.
func (n *drawnNode) values(s *Schema) []Arg {
	if byName, ok := n.widgets.(Object); ok {
		var out []Arg
		for _, m := range byName {
			out = append(out, Arg{m.Key, m.Value})
		}
		return out
	}
	if s == nil {
		return nil
	}
	values := list(n.widgets)
	var out []Arg
	for _, in := range s.Inputs {
		if !in.Type.Widget() {
			continue
		}
		if len(values) == 0 {
			break
		}
		out = append(out, Arg{in.Name, values[0]})
		values = values[1:]
		if in.Control && len(values) > 0 && isControl(values[0]) {
			values = values[1:]
		}
	}
	return out
}

// isControl reports whether a value says what becomes of a seed after a run.
func isControl(v any) bool {
	s, ok := v.(string)
	return ok && slices.Contains([]string{"fixed", "increment", "decrement", "randomize"}, s)
}
