package workflow

import (
	"errors"
	"fmt"
	"time"
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

// Parse reads a workflow: ComfyUI's API format (Workflow, Export (API)), a
// request to its /prompt, or the format of its user interface, which is
// converted with the schemas of reg. It checks the form of the file alone; what
// the nodes make of it is for Check. A file that is not a workflow gives an
// error with the place; nodes with a wrong form give an *Invalid with all of
// them.
func Parse(data []byte, reg *Registry) (*Graph, error) {
	v, err := parseJSON(data)
	if err != nil {
		return nil, fmt.Errorf("not a workflow: %w", err)
	}
	top, ok := v.(Object)
	if !ok {
		return nil, errors.New("not a workflow: expected a JSON object of nodes, found " + kind(v))
	}
	var source any
	if prompt, ok := top.Get("prompt"); ok {
		source = requestSource(top)
		if top, ok = prompt.(Object); !ok {
			return nil, errors.New("not a workflow: \"prompt\" should be an object of nodes, found " + kind(prompt))
		}
	}
	if _, ok := top.Get("nodes"); ok {
		return convert(top, reg, time.Now())
	}
	return parseAPI(top, source)
}

// requestSource returns extra_data.extra_pnginfo.workflow of a request.
func requestSource(request Object) any {
	var v any = request
	for _, key := range []string{"extra_data", "extra_pnginfo", "workflow"} {
		object, _ := v.(Object)
		v, _ = object.Get(key)
	}
	return v
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
