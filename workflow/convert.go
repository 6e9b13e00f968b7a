package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-run/weir/fault"
)

// The format of ComfyUI's user interface keeps a drawing: nodes with the
// values of their widgets in the order in which they are drawn, and a table of
// links. What only helps to draw is resolved here as the user interface does it
// when it sends a workflow to its server: reroutes, primitive nodes, nodes that
// are muted or bypassed, notes, and subgraphs, whose nodes get the ids of all
// nodes around them in front, as in "57:3".

// A drawing is a workflow as the user interface saves it.
type drawing struct {
	reg       *Registry
	subgraphs map[string]subgraph // by id
	nodes     int                 // of all instances
	ports     int                 // as well, and values of their hosts
	sources   map[place]source    // what is known of links
	graph     *Graph
}

// Limits of subgraphs, which may hold each other several times.
const (
	maxNesting  = 50
	maxExpanded = 200_000
	maxPorts    = 2_000_000
)

// convert turns the format of ComfyUI's user interface into a graph.
func convert(top Object, reg *Registry, now time.Time) (*Graph, error) {
	d := drawing{reg: reg, sources: map[place]source{}, graph: &Graph{Source: top, now: now}}
	s, err := readSheet(top)
	if err != nil {
		return nil, fmt.Errorf("not a workflow: %w", err)
	}
	d.subgraphs = readSubgraphs(top, s)
	root, err := d.instance(s, nil, nil)
	if err != nil {
		return nil, err
	}
	d.emit(root)
	if len(d.graph.Nodes) == 0 {
		return nil, errors.New("not a workflow: it has no nodes that run")
	}
	d.graph.rewrite()
	return d.graph, nil
}

// An instance is a sheet as it is used by one node, or the workflow's own.
type instance struct {
	*sheet
	parent *instance
	host   *drawnNode // the node of the parent that it is the inside of
	prefix string     // of the ids
	inner  map[*drawnNode]*instance
	// values are those that the host has for its inputs, by their places.
	values map[int]any
	// inside is what innerValue knows; inputs are found by the widget that they
	// lead to, by its name, and by their own.
	inside   map[int]source
	byWidget map[widget]int
	byLead   map[string]int
	byName   map[string]int
	// promoted are values that the host has for widgets of the nodes within, which
	// no input of the subgraph leads to.
	promoted map[widget]any
}

// A widget is one of a node of a sheet.
type widget struct{ node, name string }

// instance makes the instance of a sheet for a host, and those of the subgraphs
// within it.
func (d *drawing) instance(s *sheet, parent *instance, host *drawnNode) (*instance, error) {
	i := &instance{sheet: s, parent: parent, host: host, inner: map[*drawnNode]*instance{},
		values: map[int]any{}, inside: map[int]source{}, byWidget: map[widget]int{}, byLead: map[string]int{}, byName: map[string]int{}, promoted: map[widget]any{}}
	depth := 0
	for p := parent; p != nil; p = p.parent {
		if p.sheet == s {
			return nil, fmt.Errorf("not a workflow: the subgraph %s contains itself", quote(s.name))
		}
		depth++
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("subgraphs are nested deeper than %d levels", maxNesting)
	}
	if host != nil {
		i.prefix = parent.prefix + host.id + ":"
	}
	if d.nodes += len(s.order); d.nodes > maxExpanded {
		return nil, fmt.Errorf("the workflow has more than %s nodes, those within subgraphs included", fault.Count(maxExpanded))
	}
	var err error
	for _, n := range s.order {
		sub, ok := d.subgraphs[n.class]
		if !ok {
			continue
		}
		if sub.err != nil {
			return nil, fmt.Errorf("not a workflow: subgraph %s: %w", quote(sub.name), sub.err)
		}
		if d.ports += sub.ports + len(list(n.widgets)) + len(list(member(n.properties, "proxyWidgets"))); d.ports > maxPorts {
			return nil, fmt.Errorf("the subgraphs have more than %s inputs, outputs and values", fault.Count(maxPorts))
		}
		n.wears(sub.sheet)
		// The workflow's own nodes hide what is within them; the mode of a node within
		// a subgraph has been given to those within it by the user interface.
		if parent == nil && (n.mode == modeMuted || n.mode == modeBypassed) {
			continue
		}
		if i.inner[n], err = d.instance(sub.sheet, i, n); err != nil {
			return nil, err
		}
	}
	if host != nil {
		s.aim()
		d.promote(i)
	}
	return i, nil
}

// wears gives a node the inputs and outputs of its subgraph, in their order.
func (n *drawnNode) wears(s *sheet) {
	if n.shaped {
		return
	}
	n.shaped = true
	byName := map[string][]string{} // links
	for _, in := range n.inputs {
		byName[in.name] = append(byName[in.name], in.link)
	}
	n.inputs, n.outputs = make([]drawnInput, len(s.inputs)), make([]string, len(s.outputs))
	for i, p := range s.inputs {
		n.inputs[i] = drawnInput{name: p.name, kind: p.kind}
		if links := byName[p.name]; len(links) > 0 {
			n.inputs[i].link, byName[p.name] = links[0], links[1:]
		}
	}
	for i, p := range s.outputs {
		n.outputs[i] = p.kind
	}
}

// emit adds the nodes of an instance that run to the graph.
func (d *drawing) emit(i *instance) {
	for _, n := range i.order {
		if inner := i.inner[n]; inner != nil {
			d.emit(inner)
			continue
		}
		if _, ok := d.subgraphs[n.class]; ok {
			continue
		}
		runs := n.mode != modeMuted && n.mode != modeBypassed && !n.drawnOnly() && !d.passes(n)
		var out *Node
		if runs {
			out = d.node(i, n)
			d.graph.Nodes = append(d.graph.Nodes, out)
		} else {
			out = &Node{ID: i.prefix + n.id, Class: n.class, Title: n.title, Args: d.args(n)}
		}
		if !d.passes(n) {
			d.graph.drawn = append(d.graph.drawn, label{n.property("Node name for S&R"), out})
		}
	}
}

// node turns a drawn node into one of the graph.
func (d *drawing) node(i *instance, n *drawnNode) *Node {
	out := &Node{ID: i.prefix + n.id, Class: n.class, Title: n.title}
	place := map[string]int{}
	set := func(name string, v any) {
		if _, ok := place[name]; !ok {
			place[name] = len(out.Args)
			out.Args = append(out.Args, Arg{Name: name})
		}
		out.Args[place[name]].Value = v
	}
	sent := map[string]bool{} // values that do not pass through the node's own widget
	for slot, in := range n.inputs {
		if src := d.source(i, n, slot); src.ok {
			set(in.name, src.value)
			sent[in.name] = !src.primitive
		}
	}
	for _, a := range d.args(n) {
		if _, linked := place[a.Name]; linked {
			continue
		}
		if v, ok := i.promoted[widget{n.id, a.Name}]; ok {
			a.Value, sent[a.Name] = v, true
		}
		set(a.Name, a.Value)
	}
	widgets := d.widgets(n)
	for len(widgets) > 0 {
		w := widgets[0]
		widgets = widgets[1:]
		at, ok := place[w.Name]
		if !ok {
			continue
		}
		widgets = slices.Concat(w.Brought(out.Args[at].Value), widgets)
		if w.Control && w.Type == string(TypeInt) {
			d.graph.seeds = append(d.graph.seeds, written{node: out, input: w.Name})
		}
		raw, ok := out.Args[at].Value.(string)
		if !ok || sent[w.Name] {
			continue
		}
		switch {
		case w.Choices:
			d.graph.texts = append(d.graph.texts, written{out, w.Name, raw, choices})
		case w.Name == "filename_prefix" && saves(n.class):
			d.graph.texts = append(d.graph.texts, written{out, w.Name, raw, replacements})
		}
	}
	return out
}

// passes reports whether a node is a reroute of a pack: it has one input, which
// is its output.
func (d *drawing) passes(n *drawnNode) bool {
	return n.class == "Reroute" || len(n.inputs) == 1 && len(n.outputs) == 1 && d.reg.Lookup(n.class) == nil &&
		strings.Contains(strings.ToLower(n.class), "reroute")
}

// A place is an input or output of a node, with the type of the input that asks
// for what comes there.
type place struct {
	*instance
	node   *drawnNode
	slot   int
	output bool
	kind   string
}

// A source is what comes over a link: a reference to a node that runs, or a
// value.
type source struct {
	value     any
	primitive bool // the value of a primitive node, which sets the widget
	ok        bool
}

// source follows the link into an input to where it begins.
func (d *drawing) source(i *instance, n *drawnNode, slot int) source {
	at := place{instance: i, node: n, slot: slot}
	var path []place
	var src source
	for {
		var known bool
		if src, known = d.sources[at]; known {
			break
		}
		d.sources[at] = source{} // for links in a circle, which lead nowhere
		path = append(path, at)
		next, found, more := d.follow(at)
		if !more {
			src = found
			break
		}
		at = next
	}
	for _, p := range path {
		d.sources[p] = src
	}
	return src
}

// follow goes one step towards the beginning of a link.
func (d *drawing) follow(at place) (next place, src source, more bool) {
	n := at.node
	if !at.output {
		if at.slot >= len(n.inputs) {
			return place{}, source{}, false
		}
		in := n.inputs[at.slot]
		kind := at.kind
		if kind == "" {
			kind = in.kind
		}
		return d.back(at.instance, in.link, kind)
	}
	switch {
	case n.class == "PrimitiveNode": // in any mode
		if v, ok := at.promoted[widget{n.id, ""}]; ok {
			return place{}, source{v, true, true}, false
		}
		if w := list(n.widgets); len(w) > 0 {
			return place{}, source{w[0], true, true}, false
		}
	case n.mode == modeMuted:
	case n.mode == modeBypassed:
		if slot := n.bypass(at.slot, at.kind); slot >= 0 {
			return place{instance: at.instance, node: n, slot: slot}, source{}, true
		}
	case at.inner[n] != nil:
		inner := at.inner[n]
		if at.slot < len(inner.outputs) && len(inner.outputs[at.slot].links) > 0 {
			return d.back(inner, inner.outputs[at.slot].links[0], at.kind)
		}
	case n.class == "GetNode":
		if set := at.variables[n.variable()]; set != nil {
			return place{instance: at.instance, node: set, kind: at.kind}, source{}, true
		}
	case d.passes(n), n.class == "SetNode":
		return place{instance: at.instance, node: n, kind: at.kind}, source{}, true
	case !n.drawnOnly():
		return place{}, source{Reference{at.prefix + n.id, at.slot}, false, true}, false
	}
	return place{}, source{}, false
}

// back goes from a link of an instance to the output that it comes from, or to
// the input of the node around it.
func (d *drawing) back(i *instance, id, kind string) (next place, src source, more bool) {
	link, ok := i.links[id]
	if !ok {
		return place{}, source{}, false
	}
	slot := link.Output
	if i.host == nil || link.Node != subgraphInputs {
		n := i.sheet.nodes[link.Node]
		return place{instance: i, node: n, slot: slot, output: true, kind: kind}, source{}, n != nil
	}
	if slot >= len(i.host.inputs) {
		return place{}, source{}, false
	}
	if i.host.inputs[slot].link == "" {
		v, ok := d.promotedValue(i, slot)
		return place{}, source{v, false, ok}, false
	}
	return place{instance: i.parent, node: i.host, slot: slot}, source{}, true
}

// isControl reports whether a value says what becomes of a number after a run.
func isControl(v any) bool {
	s, ok := v.(string)
	return ok && slices.Contains([]string{"fixed", "increment", "decrement", "randomize", "increment-wrap"}, s)
}

// number returns the text of a JSON number as JavaScript writes it, but for
// integers that it would round.
func number(n json.Number) string {
	if !strings.ContainsAny(n.String(), ".eE") {
		return n.String()
	}
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	text, err := json.Marshal(f)
	if err != nil {
		return n.String()
	}
	return string(text)
}
