package workflow

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weir-run/weir/fault"
)

// Set changes one input of a node, "NODE.INPUT", to a value. NODE is the id of
// a node, its title, or its class when no other node has the same. The value is
// read as the type that the input has; whether it is in range is for Check.
func (g *Graph) Set(reg *Registry, target, value string) error {
	dot := strings.LastIndexByte(target, '.')
	if dot <= 0 || dot == len(target)-1 {
		return fmt.Errorf("cannot set %s: expected NODE.INPUT=VALUE, for example KSampler.seed=42", quote(target))
	}
	n, err := g.find(target[:dot])
	if err != nil {
		return fmt.Errorf("cannot set %s: %w", quote(target), err)
	}
	schema := reg.Lookup(n.Class)
	if schema == nil {
		return fmt.Errorf("cannot set %s: node %s has the unknown class %s", quote(target), clip(n.ID), clip(n.Class))
	}
	name := target[dot+1:]
	in := schema.Input(name)
	if in == nil {
		return fmt.Errorf("cannot set %s: %s has no input %s; %s", quote(target), clip(n.Class), clip(name), near(name, widgets(schema)))
	}
	if !in.Type.Widget() {
		return fmt.Errorf("cannot set %s: the input is a link to a node that outputs %s", quote(target), in.Type)
	}
	typed, err := in.convert(value)
	if err != nil {
		return fmt.Errorf("cannot set %s: %w", quote(target), err)
	}
	switch typed := typed.(type) {
	case string:
		n.setArg(name, typed)
		g.overwrite(n, name, typed)
	case bool:
		n.setArg(name, typed)
	default:
		n.setArg(name, json.Number(strings.TrimSpace(value)))
	}
	g.rewrite()
	return nil
}

// widgets names the inputs that are written in the file.
func widgets(s *Schema) []string {
	var names []string
	for _, in := range s.Inputs {
		if in.Type.Widget() {
			names = append(names, in.Name)
		}
	}
	return names
}

// find returns the node with an id, a title or a class, in this order.
func (g *Graph) find(name string) (*Node, error) {
	if n := g.Node(name); n != nil {
		return n, nil
	}
	var titles, classes []*Node
	for _, n := range g.Nodes {
		if strings.EqualFold(n.Title, name) {
			titles = append(titles, n)
		}
		if strings.EqualFold(n.Class, name) {
			classes = append(classes, n)
		}
	}
	found := titles
	if len(found) == 0 {
		found = classes
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("no node has the id, title or class %s; %s", quote(name), near(name, g.names()))
	}
	var ids []string
	for _, n := range found[:min(maxTold, len(found))] {
		ids = append(ids, clip(n.ID))
	}
	if more := len(found) - len(ids); more > 0 {
		ids = append(ids, fmt.Sprintf("and %s more", fault.Count(more)))
	}
	return nil, fmt.Errorf("%s nodes are called %s; name one by its id: %s", fault.Count(len(found)), quote(name), strings.Join(ids, ", "))
}

// names lists what the nodes may be called, each once.
func (g *Graph) names() []string {
	var names []string
	seen := map[string]bool{"": true}
	for _, n := range g.Nodes {
		for _, name := range []string{n.ID, n.Title, n.Class} {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}
