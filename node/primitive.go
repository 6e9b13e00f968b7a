package node

import (
	"context"
	"math"

	"github.com/weir-run/weir/workflow"
)

// registerPrimitives registers the nodes that give the value that stands in
// them.
func registerPrimitives(reg *workflow.Registry, _ *Env) {
	const most = math.MaxInt64
	number := workflow.Int("value", 0, -most, most)
	number.Control = true
	for _, p := range []struct {
		class, name string
		value       workflow.Input
	}{
		{"PrimitiveInt", "Int", number},
		{"PrimitiveFloat", "Float", workflow.Float("value", 0, -most, most, 0.01)},
		{"PrimitiveBoolean", "Boolean", workflow.Bool("value", false)},
		{"PrimitiveString", "String", workflow.String("value", "")},
		{"PrimitiveStringMultiline", "String (Multiline)", workflow.Text("value")},
	} {
		reg.Register(workflow.Schema{
			Class: p.class, Name: p.name, Category: "utils/primitive",
			Description: "Gives its value to other nodes.",
			Inputs:      []workflow.Input{p.value},
			Outputs:     workflow.Outputs(p.value.Type),
			Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
				return []any{c.Value("value")}, nil
			},
		})
	}
}
