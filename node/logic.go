package node

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/workflow"
)

// registerLogic registers the nodes that choose and that combine truth values.
func registerLogic(reg *workflow.Registry, _ *Env) {
	side := func(name string) workflow.Input { return workflow.Link(name, workflow.TypeAny).IfNeeded() }
	reg.Register(workflow.Schema{
		Class: "ComfySwitchNode", Name: "If/Else Switch", Category: "utilities/logic",
		Description: "Gives one of two inputs. What leads to the other alone does not run.",
		Inputs:      []workflow.Input{workflow.Bool("switch", false), side("on_false"), side("on_true")},
		Outputs:     []workflow.Output{{Type: workflow.TypeAny, Name: "output", Of: []string{"on_false", "on_true"}}},
		Lazy:        func(c *workflow.Call) []string { return []string{taken(c)} },
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			return []any{c.Value(taken(c))}, nil
		},
	})
	reg.Register(workflow.Schema{
		Class: "CustomCombo", Name: "Custom Combo", Category: "utilities",
		Description: "Gives a choice from a list that the user writes, and its place in the list.",
		Inputs:      []workflow.Input{anyChoice("choice"), workflow.Int("index", 0, 0, 1<<31).Opt()},
		Open:        true, // options are inputs too
		Outputs:     []workflow.Output{{Type: workflow.TypeString}, {Type: workflow.TypeInt, Name: "INDEX"}},
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			return []any{c.String("choice"), c.Value("index")}, nil
		},
	})
	reg.Register(workflow.Schema{
		Class: "ComfyNotNode", Name: "Not", Category: "utilities/logic",
		Description: "Says whether a value is false, zero or empty.",
		Inputs:      []workflow.Input{workflow.Link("value", workflow.TypeAny)},
		Outputs:     workflow.Outputs(workflow.TypeBool),
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			v, err := truth("value", c.Value("value"))
			return []any{!v}, err
		},
	})
	for _, op := range []struct {
		class, name, about string
		until              bool // the value that decides
	}{
		{"ComfyAndNode", "And", "Says whether no value is false, zero or empty.", false},
		{"ComfyOrNode", "Or", "Says whether any value is not false, zero or empty.", true},
	} {
		reg.Register(workflow.Schema{
			Class: op.class, Name: op.name, Category: "utilities/logic", Description: op.about,
			Inputs:  []workflow.Input{workflow.Several("values", workflow.Link("value", workflow.TypeAny), 1, workflow.Numbered("value", 10)...)},
			Outputs: workflow.Outputs(workflow.TypeBool),
			Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
				for _, in := range c.Several("values") {
					v, err := truth(in.Name, in.Value)
					if err != nil || v == op.until {
						return []any{op.until}, err
					}
				}
				return []any{!op.until}, nil
			},
		})
	}
}

// taken returns the input that a switch gives.
func taken(c *workflow.Call) string {
	if c.Bool("switch") {
		return "on_true"
	}
	return "on_false"
}

// anyChoice describes a choice whose options are not known.
func anyChoice(name string) workflow.Input {
	in := workflow.Combo(name)
	in.Check = func(any) error { return nil }
	return in
}

// truth returns whether Python takes a value for true.
func truth(input string, v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case uint64:
		return v != 0, nil
	case float64:
		return v != 0, nil
	case string:
		return v != "", nil
	}
	return false, fmt.Errorf("input %s: expected a number, a text or a truth value, found %T", input, v)
}
