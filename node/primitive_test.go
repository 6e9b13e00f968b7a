package node

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/weir-run/weir/workflow"
)

// TestPrimitives takes sizes, seeds and texts from nodes that hold one value.
func TestPrimitives(t *testing.T) {
	reg := Registry(&Env{})
	for class, want := range map[string]any{
		`"PrimitiveInt", "inputs": {"value": 64.0}`:                                    int64(64),
		`"PrimitiveInt", "inputs": {"value": -9223372036854775807}`:                    int64(-math.MaxInt64),
		`"PrimitiveFloat", "inputs": {"value": 7}`:                                     7.0,
		`"PrimitiveBoolean", "inputs": {"value": true}`:                                true,
		`"PrimitiveString", "inputs": {"value": "{a|b} // not a comment"}`:             "{a|b} // not a comment",
		`"PrimitiveStringMultiline", "inputs": {"value": "two\nlines /* and more */"}`: "two\nlines /* and more */",
	} {
		var got any
		seen := workflow.NewRegistry()
		for _, c := range reg.Classes() {
			seen.Register(*reg.Lookup(c))
		}
		in := workflow.Link("v", workflow.TypeAny)
		seen.Register(workflow.Schema{Class: "See", Inputs: []workflow.Input{in}, Output: true, Run: func(_ context.Context, c *workflow.Call) ([]any, error) { got = c.Value("v"); return nil, nil }})
		g, err := workflow.Parse([]byte(`{"1": {"class_type": `+class+`}, "2": {"class_type": "See", "inputs": {"v": ["1", 0]}}}`), seen)
		if err != nil {
			t.Fatal(err)
		}
		job, err := workflow.Check(g, seen)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := workflow.NewExecutor(nil).Run(t.Context(), job, nil); err != nil || got != want {
			t.Errorf("%s gives %v, %v, want %v", class, got, err, want)
		}
	}
	// They fit into the inputs of other nodes.
	g, err := workflow.Parse([]byte(`{"1": {"class_type": "PrimitiveInt", "inputs": {"value": 10}},
		"2": {"class_type": "EmptyLatentImage", "inputs": {"width": ["1", 0], "height": ["1", 0], "batch_size": ["1", 0]}},
		"3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}}`), reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workflow.Check(g, reg); err == nil || strings.Contains(err.Error(), "width") {
		t.Errorf("got %v, want the type of images alone", err)
	}
}
