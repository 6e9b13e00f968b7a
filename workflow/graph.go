package workflow

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/weir-run/weir/fault"
)

// A Graph is a workflow: nodes whose inputs are values or outputs of other
// nodes.
type Graph struct {
	// Nodes are in the order of the file.
	Nodes []*Node
	// Source is the workflow as the user interface draws it, to be kept with the
	// pictures; nil when the file had none.
	Source any

	// Of a drawing: the texts that are rewritten when a value changes, the seeds
	// that choices follow, the nodes that texts name, and when it was read.
	texts, seeds []written
	drawn        []label
	now          time.Time
	// oddities are warnings of the file itself.
	oddities []Problem
}

// A Node is one node of a graph.
type Node struct {
	ID    string
	Class string
	// Title is what the user called the node, "" when nothing says.
	Title string
	Args  []Arg
}

// An Arg is the value of one input of a node as it stands in the file: a
// Reference or a JSON value.
type Arg struct {
	Name  string
	Value any
}

// A Reference is an output of another node.
type Reference struct {
	Node   string
	Output int
}

// Node returns the node with that id, or nil.
func (g *Graph) Node(id string) *Node {
	for _, n := range g.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// Arg returns the value of an input and whether the node has it.
func (n *Node) Arg(name string) (any, bool) {
	for _, a := range n.Args {
		if a.Name == name {
			return a.Value, true
		}
	}
	return nil, false
}

// Label returns what the user calls a node, with its id, as it can be printed:
// shortened and without control characters.
func (n *Node) Label() string { return clip(cmp.Or(n.Title, n.Class)) + " " + clip(n.ID) }

func (n *Node) setArg(name string, value any) {
	for i := range n.Args {
		if n.Args[i].Name == name {
			n.Args[i].Value = value
			return
		}
	}
	n.Args = append(n.Args, Arg{name, value})
}

// String returns the graph in the API format, written as Python's json.dumps
// writes it.
func (g *Graph) String() string {
	graph := Object{}
	for _, n := range g.Nodes {
		inputs := Object{}
		for _, a := range n.Args {
			value := a.Value
			if list, ok := value.([]any); ok { // only links are lists
				value = Object{{"__value__", list}}
			}
			inputs = append(inputs, Member{a.Name, value})
		}
		node := Object{{"inputs", inputs}, {"class_type", n.Class}}
		if n.Title != "" {
			node = append(node, Member{"_meta", Object{{"title", n.Title}}})
		}
		graph = append(graph, Member{n.ID, node})
	}
	return Dumps(graph)
}

// Parse reads a workflow: ComfyUI's API format (Workflow, Export (API)), the
// format of its user interface, which is converted with the schemas of reg, or
// an object that has one of them as its prompt, output or workflow, such as a
// request to ComfyUI's server or an entry of its history. It checks the form of
// the file alone; what the nodes make of it is for Check. A file that is not a
// workflow gives an error with the place or the name of its format; nodes with a
// wrong form give an *Invalid with all of them. Errors are of the kind
// fault.Workflow.
func Parse(data []byte, reg *Registry) (*Graph, error) {
	g, err := parse(data, reg)
	return g, fault.Mark(fault.Workflow, err)
}

func parse(data []byte, reg *Registry) (*Graph, error) {
	v, twice, err := parseJSON(data)
	if err != nil {
		return nil, fmt.Errorf("not a workflow: %w", err)
	}
	graph, source, err := unwrap(v)
	if err != nil {
		return nil, fmt.Errorf("not a workflow: %w", err)
	}
	var g *Graph
	if _, ok := graph.Get("nodes"); ok {
		g, err = convert(graph, reg, time.Now())
	} else {
		g, err = parseAPI(graph, source)
	}
	if err != nil {
		return nil, err
	}
	for _, key := range twice {
		g.oddities = append(g.oddities, Problem{Message: fmt.Sprintf("the key %s is there twice in one object; the last is taken", quote(key))})
	}
	return g, nil
}

// unwrap returns the graph that is in a value, and the workflow as the user
// interface draws it when that stands beside it.
func unwrap(v any) (graph Object, source any, err error) {
	// Wrappers within wrappers end; each is a key or a text with JSON.
	for range maxWrappers {
		if text, ok := v.(string); ok {
			if v, _, err = parseJSON([]byte(text)); err != nil {
				return nil, nil, err
			}
			continue
		}
		top, ok := v.(Object)
		if !ok {
			return nil, nil, errors.New("expected a JSON object of nodes, found " + kind(v))
		}
		key := wrapper(top)
		if key == "" {
			return top, source, nil
		}
		v, _ = top.Get(key)
		if entry, ok := v.([]any); ok && len(entry) > 2 { // number, id, prompt, extra data, outputs
			v = entry[2]
			if len(entry) > 3 {
				source = drawingOf(entry[3])
			}
		}
		switch v.(type) {
		case Object, string:
		default:
			return nil, nil, fmt.Errorf("%q should be an object of nodes, found %s", key, kind(v))
		}
		if source == nil {
			source = drawingOf(member(top, "extra_data"))
		}
		if beside, ok := member(top, "workflow").(Object); ok && source == nil && key != "workflow" {
			source = beside
		}
	}
	return nil, nil, errors.New("the graph is wrapped too often")
}

const maxWrappers = 8

// wrapper returns the key under which an object has a graph, "" when it is one.
func wrapper(top Object) string {
	if _, ok := top.Get("nodes"); ok {
		return ""
	}
	for _, key := range []string{"prompt", "output", "workflow"} {
		v, ok := top.Get(key)
		if o, isObject := v.(Object); isObject {
			_, isNode := o.Get("class_type")
			ok = !isNode
		}
		if ok {
			return key
		}
	}
	if len(top) == 1 { // the history of one prompt, by its id
		if entry, ok := top[0].Value.(Object); ok {
			if _, ok := member(entry, "prompt").([]any); ok {
				return top[0].Key
			}
		}
	}
	return ""
}

// drawingOf returns extra_pnginfo.workflow of extra data.
func drawingOf(extra any) any {
	o, _ := extra.(Object)
	info, _ := member(o, "extra_pnginfo").(Object)
	return member(info, "workflow")
}

func parseAPI(top Object, source any) (*Graph, error) {
	if len(top) == 0 {
		return nil, errors.New("not a workflow: it has no nodes")
	}
	g := &Graph{Source: source}
	var invalid Invalid
	for _, m := range top {
		n, problem := parseNode(m)
		if problem != nil {
			invalid.Problems = append(invalid.Problems, *problem)
			continue
		}
		g.Nodes = append(g.Nodes, n)
	}
	if len(g.Nodes) == 0 {
		return nil, fmt.Errorf("not a workflow: no value of the object is a node with a class_type (%w)", &invalid)
	}
	if len(invalid.Problems) > 0 {
		return nil, &invalid
	}
	return g, nil
}

func parseNode(m Member) (*Node, *Problem) {
	object, ok := m.Value.(Object)
	if !ok {
		return nil, &Problem{Node: m.Key, Message: "expected an object with class_type and inputs, found " + kind(m.Value)}
	}
	class, _ := object.Get("class_type")
	n := &Node{ID: m.Key}
	if n.Class, ok = class.(string); !ok || n.Class == "" {
		return nil, &Problem{Node: m.Key, Message: "class_type is missing or not a string"}
	}
	if meta, ok := object.Get("_meta"); ok {
		meta, _ := meta.(Object)
		title, _ := meta.Get("title")
		n.Title, _ = title.(string)
	}
	inputs, ok := object.Get("inputs")
	if !ok {
		return n, nil
	}
	members, ok := inputs.(Object)
	if !ok {
		return nil, &Problem{Node: m.Key, Class: n.Class, Message: "inputs should be an object, found " + kind(inputs)}
	}
	for _, in := range members {
		n.Args = append(n.Args, Arg{in.Key, parseArg(in.Value)})
	}
	return n, nil
}

// parseArg turns a list that is a link into a reference and takes a value out of
// the wrapper {"__value__": v}.
func parseArg(v any) any {
	switch v := v.(type) {
	case Object:
		if inner, ok := v.Get("__value__"); ok {
			return inner
		}
	case []any:
		if len(v) == 2 {
			id, isID := nodeID(v[0])
			output, isIndex := smallInt(v[1])
			if isID && isIndex {
				return Reference{id, output}
			}
		}
	}
	return v
}

// kind names the kind of a JSON value in messages.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case string:
		return "the string " + quote(v)
	case []any:
		return "a list"
	case Object:
		return "an object"
	case Reference:
		return "a link to node " + clip(v.Node)
	default:
		return "the number " + clip(fmt.Sprint(v))
	}
}
