package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The modes of nodes in the user interface.
const (
	modeMuted    = 2
	modeBypassed = 4
)

// A sheet is a plane of a drawing: the workflow's own nodes and links, or those
// of one of its subgraphs.
type sheet struct {
	name  string // of a subgraph
	nodes map[string]*drawnNode
	order []*drawnNode
	links map[string]Reference // by id: the output that it comes from
	// targets are the inputs that links lead to, once a subgraph is used.
	targets map[string]target
	// variables are the nodes that give what they are linked to a name, by it.
	variables map[string]*drawnNode
	// renamed are nodes of a subgraph whose ids in the file stand for others.
	renamed map[string]string
	// inputs and outputs are those of a subgraph, ports how many there are with
	// their links.
	inputs, outputs []port
	ports           int
}

// A port is an input or output of a subgraph with the links within it.
type port struct {
	name, kind string
	links      []string
}

// A target is an input of a drawn node.
type target struct {
	node  *drawnNode
	input int
}

// subgraphInputs is the node that links within a subgraph come from when they
// begin at its inputs.
const subgraphInputs = "-10"

// A drawnNode is a node of the user interface.
type drawnNode struct {
	id, class, title string
	mode             int
	inputs           []drawnInput
	outputs          []string // their types
	widgets          any      // a list, or an object by name
	named            Object   // widgets by name beside a list of them
	properties       Object
	shaped           bool           // has the inputs and outputs of its subgraph
	args             []Arg          // of its widgets, once they are known
	places           map[string]int // of the args
}

// arg returns the value of a widget, once they are known.
func (n *drawnNode) arg(name string) (any, bool) {
	at, ok := n.places[name]
	if !ok {
		return nil, false
	}
	return n.args[at].Value, true
}

// A drawnInput is an input that is drawn as a socket.
type drawnInput struct {
	name, kind string
	widget     string // the widget that it stands for, "" for none
	link       string // its id, "" for none
}

// drawnOnly reports whether a node exists in the user interface alone.
func (n *drawnNode) drawnOnly() bool {
	return slices.Contains([]string{"Reroute", "PrimitiveNode", "Note", "MarkdownNote", "SetNode", "GetNode"}, n.class)
}

// variable returns the name that a SetNode gives to what it is linked to, or that
// a GetNode asks for.
func (n *drawnNode) variable() string {
	if values := list(n.widgets); len(values) > 0 {
		name, _ := values[0].(string)
		return name
	}
	return ""
}

// property returns a property that is a text, or "".
func (n *drawnNode) property(name string) string {
	v, _ := n.properties.Get(name)
	s, _ := v.(string)
	return s
}

// readSheet reads the nodes and links of a workflow or subgraph.
func readSheet(o Object) (*sheet, error) {
	s := &sheet{nodes: map[string]*drawnNode{}, links: map[string]Reference{}, variables: map[string]*drawnNode{}}
	nodes, _ := o.Get("nodes")
	for i, v := range list(nodes) {
		n, err := readDrawn(v)
		if err != nil {
			return nil, fmt.Errorf("node %d of the list: %w", i+1, err)
		}
		if s.nodes[n.id] != nil {
			return nil, fmt.Errorf("two nodes have the id %s", clip(n.id))
		}
		s.nodes[n.id] = n
		s.order = append(s.order, n)
		if n.class == "SetNode" && n.mode != modeMuted {
			s.variables[n.variable()] = n
		}
	}
	links, _ := o.Get("links")
	for i, v := range list(links) {
		if v == nil {
			continue
		}
		id, link, ok := readLink(v)
		if !ok {
			return nil, fmt.Errorf("link %d of the list should be [id, node, output, node, input, type], found %s", i+1, kind(v))
		}
		s.links[id] = link
	}
	return s, nil
}

// A subgraph is a definition of definitions.subgraphs, or why it cannot be used.
type subgraph struct {
	*sheet
	err error
}

// readSubgraphs reads all definitions by their ids. An id that a node has on
// another sheet too is replaced by the next that is free, as the user interface
// does it.
func readSubgraphs(top Object, root *sheet) map[string]subgraph {
	used := map[string]bool{}
	last := 0
	see := func(id string) {
		used[id] = true
		if n, err := strconv.Atoi(id); err == nil {
			last = max(last, n)
		}
	}
	for _, n := range root.order {
		see(n.id)
	}
	state, _ := top.Get("state")
	inState, _ := state.(Object)
	for _, v := range []any{member(top, "last_node_id"), member(inState, "lastNodeId")} {
		n, _ := smallInt(v)
		last = max(last, n)
	}
	all := map[string]subgraph{}
	for _, o := range definitions(top, 0) {
		id := text(o, "id")
		if _, twice := all[id]; id == "" || twice {
			continue
		}
		s, err := readSheet(o)
		if err != nil {
			all[id] = subgraph{&sheet{name: text(o, "name")}, err}
			continue
		}
		s.name = text(o, "name")
		s.inputs, s.outputs = readPorts(o, "inputs"), readPorts(o, "outputs")
		for _, p := range slices.Concat(s.inputs, s.outputs) {
			s.ports += 1 + len(p.links)
		}
		s.renamed = map[string]string{}
		for _, n := range s.order {
			if !used[n.id] {
				see(n.id)
				continue
			}
			for last++; used[strconv.Itoa(last)]; last++ {
			}
			s.renamed[n.id] = strconv.Itoa(last)
			n.id = s.renamed[n.id]
			used[n.id] = true
		}
		if len(s.renamed) > 0 {
			s.rename()
		}
		all[id] = subgraph{sheet: s}
	}
	return all
}

// definitions returns the definitions of subgraphs and those within them.
func definitions(o Object, depth int) []Object {
	if depth > maxDepth {
		return nil
	}
	held, _ := member(o, "definitions").(Object)
	var all []Object
	for _, v := range list(member(held, "subgraphs")) {
		if o, ok := v.(Object); ok {
			all = append(append(all, o), definitions(o, depth+1)...)
		}
	}
	return all
}

// rename lets the nodes and links of a sheet follow new ids.
func (s *sheet) rename() {
	s.nodes = map[string]*drawnNode{}
	for _, n := range s.order {
		s.nodes[n.id] = n
	}
	for id, from := range s.links {
		if to, ok := s.renamed[from.Node]; ok {
			s.links[id] = Reference{to, from.Output}
		}
	}
}

func member(o Object, key string) any {
	v, _ := o.Get(key)
	return v
}

func readPorts(o Object, key string) []port {
	var ports []port
	v, _ := o.Get(key)
	for _, v := range list(v) {
		o, _ := v.(Object)
		p := port{name: text(o, "name"), kind: slotType(o)}
		ids, _ := o.Get("linkIds")
		for _, id := range list(ids) {
			if id, ok := nodeID(id); ok {
				p.links = append(p.links, id)
			}
		}
		ports = append(ports, p)
	}
	return ports
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// text returns a member that is a string, or "".
func text(o Object, key string) string {
	v, _ := o.Get(key)
	s, _ := v.(string)
	return s
}

// slotType returns the type of an input or output. The lists that old versions
// wrote are the choices of a COMBO.
func slotType(o Object) string {
	v, _ := o.Get("type")
	switch v := v.(type) {
	case string:
		return v
	case []any:
		return string(TypeCombo)
	}
	return ""
}

func readDrawn(v any) (*drawnNode, error) {
	o, ok := v.(Object)
	if !ok {
		return nil, errors.New("expected an object, found " + kind(v))
	}
	n := &drawnNode{title: text(o, "title")}
	id, _ := o.Get("id")
	if n.id, ok = nodeID(id); !ok {
		return nil, errors.New("its id should be a number, found " + kind(id))
	}
	class, _ := o.Get("type")
	if n.class, ok = class.(string); !ok || n.class == "" {
		return nil, fmt.Errorf("node %s: its type should be a string, found %s", clip(n.id), kind(class))
	}
	mode, _ := o.Get("mode")
	n.mode, _ = smallInt(mode)
	n.widgets, _ = o.Get("widgets_values")
	named, _ := o.Get("widgets_values_named")
	n.named, _ = named.(Object)
	properties, _ := o.Get("properties")
	n.properties, _ = properties.(Object)
	inputs, _ := o.Get("inputs")
	for _, v := range list(inputs) {
		o, _ := v.(Object)
		in := drawnInput{name: text(o, "name"), kind: slotType(o)}
		widget, _ := o.Get("widget")
		if widget, ok := widget.(Object); ok {
			in.widget = text(widget, "name")
		}
		link, _ := o.Get("link")
		in.link, _ = nodeID(link)
		n.inputs = append(n.inputs, in)
	}
	outputs, _ := o.Get("outputs")
	for _, v := range list(outputs) {
		o, _ := v.(Object)
		n.outputs = append(n.outputs, slotType(o))
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

// aim finds the inputs that the links of a sheet lead to.
func (s *sheet) aim() {
	if s.targets != nil {
		return
	}
	s.targets = map[string]target{}
	for _, n := range s.order {
		for i, in := range n.inputs {
			if in.link != "" {
				s.targets[in.link] = target{n, i}
			}
		}
	}
}

// maxBypass is how many inputs of a bypassed node are looked at.
const maxBypass = 256

// bypass returns the input of a bypassed node that takes the place of one of its
// outputs, for an input of the type kind that is linked to it: the one in the
// same place when the types fit, or the first of that type, or the first that
// fits; -1 for none.
func (n *drawnNode) bypass(output int, kind string) int {
	if len(n.inputs) == 0 {
		return -1
	}
	if kind == "" || kind == string(TypeAny) {
		if output < len(n.inputs) {
			return output
		}
		return 0
	}
	from := ""
	if output < len(n.outputs) {
		from = n.outputs[output]
	}
	fits := func(in drawnInput) bool { return connects(in.kind, from) && connects(in.kind, kind) }
	if output < len(n.inputs) && fits(n.inputs[output]) {
		return output
	}
	inputs := n.inputs[:min(maxBypass, len(n.inputs))]
	if i := slices.IndexFunc(inputs, func(in drawnInput) bool { return in.kind == kind }); i >= 0 {
		return i
	}
	return slices.IndexFunc(inputs, fits)
}

// maxUnion is longer than any type that is several.
const maxUnion = 1000

// connects reports whether the user interface links two types: any of one is
// among those of the other, in any case.
func connects(a, b string) bool {
	if a == "" || b == "" || a == string(TypeAny) || b == string(TypeAny) || strings.EqualFold(a, b) {
		return true
	}
	if !strings.Contains(a, ",") && !strings.Contains(b, ",") || len(a) > maxUnion || len(b) > maxUnion {
		return false
	}
	of := map[string]bool{}
	for _, t := range strings.Split(strings.ToLower(a), ",") {
		of[t] = true
	}
	for _, t := range strings.Split(strings.ToLower(b), ",") {
		if of[t] || t == "" || t == string(TypeAny) || of[""] || of[string(TypeAny)] {
			return true
		}
	}
	return false
}
