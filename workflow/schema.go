package workflow

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Type is the type of an input or output, named as ComfyUI names it. Nodes
// may use types that are not listed here. An input of the type "A,B" takes
// either.
type Type string

// The types of values that are written in the workflow file.
const (
	TypeInt    Type = "INT"
	TypeFloat  Type = "FLOAT"
	TypeString Type = "STRING"
	TypeBool   Type = "BOOLEAN"
	TypeCombo  Type = "COMBO"
)

// The types of values that come from other nodes.
const (
	TypeModel            Type = "MODEL"
	TypeClip             Type = "CLIP"
	TypeVAE              Type = "VAE"
	TypeConditioning     Type = "CONDITIONING"
	TypeLatent           Type = "LATENT"
	TypeImage            Type = "IMAGE"
	TypeMask             Type = "MASK"
	TypeUpscaleModel     Type = "UPSCALE_MODEL"
	TypeClipVision       Type = "CLIP_VISION"
	TypeClipVisionOutput Type = "CLIP_VISION_OUTPUT"
	TypeStyleModel       Type = "STYLE_MODEL"
	TypeNoise            Type = "NOISE"
	TypeGuider           Type = "GUIDER"
	TypeSampler          Type = "SAMPLER"
	TypeSigmas           Type = "SIGMAS"
	TypeAny              Type = "*"
)

// Widget says whether a value of the type can be written in the file; all
// other types come over a link.
func (t Type) Widget() bool {
	switch t {
	case TypeInt, TypeFloat, TypeString, TypeBool, TypeCombo:
		return true
	}
	return false
}

// Accepts says whether an input of type t takes an output of type from.
func (t Type) Accepts(from Type) bool {
	if t == from || t == TypeAny || from == TypeAny {
		return true
	}
	// A combo's value is a string; ComfyUI lets the two be linked.
	if t == TypeCombo && from == TypeString {
		return true
	}
	want := strings.Split(string(t), ",")
	for _, f := range strings.Split(string(from), ",") {
		if !slices.Contains(want, f) {
			return false
		}
	}
	return true
}

// An Input describes one input of a node. The functions Int, Float, String,
// Bool, Combo, Files and Link make one.
type Input struct {
	Name     string
	Type     Type
	Optional bool
	Tooltip  string

	// Default is what the input is when an optional input is absent and what a
	// user interface offers first: int64 or uint64, float64, string or bool.
	// Nil stands for none.
	Default any
	// Min and Max are the limits of INT (int64 or uint64) and FLOAT (float64)
	// inputs, both allowed values; nil stands for none. Step is the distance of
	// the values a user interface offers; it is not checked.
	Min, Max, Step any
	// Multiline asks for a text field of several lines.
	Multiline bool
	// Choices marks a text in which user interfaces choose one of {a|b} and leave
	// out comments before they send it.
	Choices bool
	// Control marks a seed, which user interfaces change after each run. In
	// their files such an input has a second value that says how.
	Control bool
	// Options lists the choices of a COMBO. It is asked at each check, for the
	// files in a folder come and go.
	Options func() ([]string, error)
	// Check replaces the test of a COMBO's value against its options, or adds
	// to the tests of another value.
	Check func(value any) error
	// Warn returns what is odd about a value and no error, or "".
	Warn func(value any) string
	// Extra holds what else ComfyUI's interface wants to know of an input.
	Extra map[string]any
	// Lazy marks a link that Schema.Lazy may find not to be needed.
	Lazy bool
	// Each makes the input stand for several, as many as a workflow has of them.
	Each *Each
	// Cases are the inputs that a choice of a COMBO brings, named INPUT.NAME.
	Cases []Case
	// parts are the inputs of Each or of all Cases, under their full names.
	parts [][]Input
}

// An Each describes inputs of one kind, named INPUT.NAME, of which the first Min
// are required.
type Each struct {
	Of    Input
	Names []string
	Min   int
}

// A Case is a choice with the inputs that it brings.
type Case struct {
	Choice string
	Inputs []Input
}

// Int describes an INT input. Limits are inclusive; seeds reach
// math.MaxUint64.
func Int(name string, def, min int64, max uint64) Input {
	return Input{Name: name, Type: TypeInt, Default: def, Min: min, Max: max, Step: int64(1)}
}

// Seed describes the INT input of a random seed, 0 to math.MaxUint64.
func Seed(name string) Input {
	in := Int(name, 0, 0, 1<<64-1)
	in.Control = true
	return in
}

// Float describes a FLOAT input; the limits are inclusive.
func Float(name string, def, min, max, step float64) Input {
	return Input{Name: name, Type: TypeFloat, Default: def, Min: min, Max: max, Step: step}
}

// String describes a STRING input.
func String(name, def string) Input {
	return Input{Name: name, Type: TypeString, Default: def}
}

// Text describes a STRING input of several lines.
func Text(name string) Input {
	return Input{Name: name, Type: TypeString, Default: "", Multiline: true}
}

// Bool describes a BOOLEAN input.
func Bool(name string, def bool) Input {
	return Input{Name: name, Type: TypeBool, Default: def}
}

// Combo describes a choice from a fixed list, the first of which is the
// default.
func Combo(name string, options ...string) Input {
	in := Input{Name: name, Type: TypeCombo, Options: func() ([]string, error) { return options, nil }}
	if len(options) > 0 {
		in.Default = options[0]
	}
	return in
}

// Files describes a choice from a list that changes, such as the files in a
// folder.
func Files(name string, list func() ([]string, error)) Input {
	return Input{Name: name, Type: TypeCombo, Options: list}
}

// Link describes an input that is the output of another node.
func Link(name string, t Type) Input { return Input{Name: name, Type: t} }

// Several describes as many inputs of one kind as a workflow links, up to one
// for each name. The first min are required.
func Several(name string, of Input, min int, names ...string) Input {
	return Input{Name: name, Type: of.Type, Each: &Each{of, names, min}}
}

// Numbered returns n names: a prefix with the numbers from 0.
func Numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = prefix + strconv.Itoa(i)
	}
	return names
}

// Switch describes a choice that brings inputs of its own. The first is the
// default.
func Switch(name string, cases ...Case) Input {
	var options []string
	for _, c := range cases {
		options = append(options, c.Choice)
	}
	in := Combo(name, options...)
	in.Cases = cases
	return in
}

// IfNeeded returns the link as one that Schema.Lazy may find not to be needed.
func (in Input) IfNeeded() Input { in.Lazy = true; return in }

// Opt returns the input as an optional one.
func (in Input) Opt() Input { in.Optional = true; return in }

// Tip returns the input with a tooltip.
func (in Input) Tip(text string) Input { in.Tooltip = text; return in }

// By returns an INT input with another step.
func (in Input) By(step int64) Input { in.Step = step; return in }

// Or returns the input with another default value of its type.
func (in Input) Or(def any) Input { in.Default = def; return in }

// An Output describes one output of a node.
type Output struct {
	Type Type
	// Name is shown on the node; it is the type's name when empty.
	Name    string
	Tooltip string
	// Of names the inputs whose type it has; the type is that of the first that is
	// linked.
	Of []string
}

// Outputs describes outputs that are named after their types.
func Outputs(types ...Type) []Output {
	out := make([]Output, len(types))
	for i, t := range types {
		out[i] = Output{Type: t, Name: string(t)}
	}
	return out
}

// A Schema is a class of nodes.
type Schema struct {
	Class       string // as in class_type, for example "KSampler"
	Name        string // as shown, for example "KSampler (Advanced)"; Class when empty
	Category    string // as in the menu, for example "model/latent"
	Description string
	Inputs      []Input
	Outputs     []Output
	// Open says that the node may have inputs beside these, which do nothing.
	Open bool
	// Output marks a node that is run for its effect, such as saving a file.
	// A run executes the output nodes and what they need.
	Output bool

	// Lazy returns the names of the lazy inputs that Run needs. It sees the others,
	// and is set if an input is lazy.
	Lazy func(c *Call) []string
	// Run computes the outputs, one for each of Outputs, all of which must stay
	// unchanged afterwards: they are kept and handed to several nodes and runs.
	// It must stop within a second of ctx's end.
	Run func(ctx context.Context, c *Call) ([]any, error)
	// Prepare, which may be nil, gets ready what Run will need, while the node
	// before it finishes. Of the linked inputs it sees those that are known by
	// then. It may be called without a Run that follows.
	Prepare func(ctx context.Context, c *Call)
	// Changed returns a fingerprint of what Run depends on beside its inputs,
	// such as the contents of a file. It sees only the inputs that are not
	// linked. Nil means that Run depends on its inputs alone.
	Changed func(ctx context.Context, c *Call) (string, error)
}

// A Registry holds the classes of nodes that workflows may use.
type Registry struct {
	classes map[string]*Schema
	order   []string
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{classes: map[string]*Schema{}} }

// Register adds a class. A class that is registered twice, or a schema that
// lacks its name or Run, is a mistake in the program and panics.
func (r *Registry) Register(s Schema) {
	if s.Class == "" || s.Run == nil {
		panic(fmt.Sprintf("workflow: class %q lacks a name or Run", s.Class))
	}
	if r.classes[s.Class] != nil {
		panic(fmt.Sprintf("workflow: class %s is registered twice", s.Class))
	}
	if s.Name == "" {
		s.Name = s.Class
	}
	for i := range s.Outputs {
		if s.Outputs[i].Name == "" {
			s.Outputs[i].Name = string(s.Outputs[i].Type)
		}
	}
	s.Inputs = s.checked(s.Inputs)
	r.classes[s.Class] = &s
	r.order = append(r.order, s.Class)
}

// Lookup returns the schema of a class, or nil.
func (r *Registry) Lookup(class string) *Schema { return r.classes[class] }

// Classes returns the names of all classes in the order of registration.
func (r *Registry) Classes() []string { return slices.Clone(r.order) }
