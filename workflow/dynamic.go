package workflow

import "fmt"

// The inputs of a node may depend on its values: there are as many of a kind as
// are linked, or those that a choice brings. ComfyUI calls them autogrow and
// dynamic combo; their names are INPUT.NAME in files of both formats.

// checked returns inputs with the parts of those that stand for several. A
// mistake in the program panics.
func (s *Schema) checked(inputs []Input) []Input {
	seen := map[string]bool{}
	out := make([]Input, len(inputs))
	for i, in := range inputs {
		if seen[in.Name] || in.Type == TypeCombo && in.Options == nil {
			panic(fmt.Sprintf("workflow: class %s: input %q is there twice or has no options", s.Class, in.Name))
		}
		if in.Lazy && s.Lazy == nil {
			panic(fmt.Sprintf("workflow: class %s: input %q is lazy and nothing says when it is needed", s.Class, in.Name))
		}
		seen[in.Name] = true
		in.parts = nil
		if each := in.Each; each != nil {
			parts := make([]Input, len(each.Names))
			for k, name := range each.Names {
				parts[k] = each.Of
				parts[k].Name = in.Name + "." + name
				parts[k].Optional = each.Of.Optional || k >= each.Min
			}
			in.parts = [][]Input{s.checked(parts)}
		}
		for _, c := range in.Cases {
			parts := make([]Input, len(c.Inputs))
			for k, part := range c.Inputs {
				parts[k] = part
				parts[k].Name = in.Name + "." + part.Name
			}
			in.parts = append(in.parts, s.checked(parts))
		}
		out[i] = in
	}
	return out
}

// Input returns the input of that name, or nil. Of several that choices bring
// under one name it is the first.
func (s *Schema) Input(name string) *Input { return find(s.Inputs, name) }

func find(inputs []Input, name string) *Input {
	for i := range inputs {
		in := &inputs[i]
		if in.Name == name && in.Each == nil {
			return in
		}
		for _, parts := range in.parts {
			if len(name) > len(in.Name) && name[:len(in.Name)] == in.Name {
				if found := find(parts, name); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// of returns the inputs that a node has: of those that stand for several the
// ones that it gives and the ones it must.
func (s *Schema) of(n *Node) []*Input { return appendInputs(nil, s.Inputs, n) }

func appendInputs(to []*Input, inputs []Input, n *Node) []*Input {
	for i := range inputs {
		in := &inputs[i]
		if in.Each != nil {
			for k := range in.parts[0] {
				part := &in.parts[0][k]
				if _, ok := n.Arg(part.Name); ok || !part.Optional {
					to = append(to, part)
				}
			}
			continue
		}
		to = append(to, in)
		if choice, ok := n.Arg(in.Name); ok && in.Cases != nil {
			for k, c := range in.Cases {
				if choice == c.Choice {
					to = appendInputs(to, in.parts[k], n)
				}
			}
		}
	}
	return to
}

// pick returns the input of that name, or nil.
func pick(inputs []*Input, name string) *Input {
	for _, in := range inputs {
		if in.Name == name {
			return in
		}
	}
	return nil
}

// A Given is one of several inputs that a node was given.
type Given struct {
	Name  string
	Value any
}

// Several returns what a node was given of inputs of one kind, in the order of
// their names.
func (c *Call) Several(name string) []Given {
	for _, in := range c.Schema.Inputs {
		if in.Name != name || in.Each == nil {
			continue
		}
		var given []Given
		for _, part := range in.parts[0] {
			if v := c.values[part.Name]; v != nil {
				given = append(given, Given{part.Name, v})
			}
		}
		return given
	}
	panic(fmt.Sprintf("workflow: %s has no inputs %q of a kind", c.Schema.Class, name))
}
