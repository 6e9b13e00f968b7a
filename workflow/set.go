package workflow

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weir-run/weir/fault"
)

// Set changes one input of a node, "NODE.INPUT", to a value. NODE is the id of
// a node, its title, or its class when no other node has the same. The value is
// read as the type that the input has; whether it is in range is for Check.
func (g *Graph) Set(reg *Registry, target, value string) error {
	n, name, err := g.split(reg, target)
	if err != nil {
		return fmt.Errorf("cannot set %s: %w", quote(target), err)
	}
	inputs := reg.Lookup(n.Class).of(n)
	in := pick(inputs, name)
	if in == nil {
		return fmt.Errorf("cannot set %s: %s has no input %s; %s", quote(target), clip(n.Class), clip(name), near(name, widgets(inputs)))
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

// split finds the node and the input of a target. Both names may have dots: those
// of the first node that has such an input count, the shortest input first.
func (g *Graph) split(reg *Registry, target string) (n *Node, input string, err error) {
	for dot := strings.LastIndexByte(target, '.'); dot > 0; dot = strings.LastIndexByte(target[:dot], '.') {
		found, fails := g.find(target[:dot])
		if fails == nil && reg.Lookup(found.Class) == nil {
			fails = fmt.Errorf("node %s has the unknown class %s", clip(found.ID), clip(found.Class))
		}
		switch {
		case dot == len(target)-1:
		case fails != nil:
			err = cmp.Or(err, fails)
		case pick(reg.Lookup(found.Class).of(found), target[dot+1:]) != nil:
			return found, target[dot+1:], nil
		case n == nil:
			n, input = found, target[dot+1:]
		}
	}
	switch {
	case n != nil:
		return n, input, nil
	case err != nil:
		return nil, "", err
	}
	return nil, "", errors.New("expected NODE.INPUT=VALUE, for example KSampler.seed=42")
}

// widgets names the inputs that are written in the file.
func widgets(inputs []*Input) []string {
	var names []string
	for _, in := range inputs {
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
