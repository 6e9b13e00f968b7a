package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/workflow"
)

// TestImageNodesOfComfyUI compares what nodes make of pictures and masks with what ComfyUI
// makes. The cases and their inputs are in the golden.
func TestImageNodesOfComfyUI(t *testing.T) {
	file := golden.Open(t, "image_nodes")
	var cases [][]json.RawMessage
	text := file.Metadata()["cases"]
	if err := json.Unmarshal([]byte(text), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 100 {
		t.Errorf("%d cases", len(cases))
	}
	for _, planned := range []bool{false, true} {
		for _, c := range cases {
			var name, class string
			var inputs map[string]any
			var outputs int
			for i, to := range []any{&name, &class, &inputs, &outputs} {
				if err := json.Unmarshal(c[i], to); err != nil {
					t.Fatal(err)
				}
			}
			results := runOn(t, file, class, inputs, outputs, planned)
			for i, got := range results {
				compare(t, fmt.Sprintf("%s, output %d, planned %v", name, i, planned), got, file.Shape(fmt.Sprintf("%s.%d", name, i)), file.F32(fmt.Sprintf("%s.%d", name, i)))
			}
		}
	}
}

// runOn runs a node on tensors of a golden, or on values of which only the size is
// known, and returns what it gives.
func runOn(t *testing.T, file golden.File, class string, inputs map[string]any, outputs int, planned bool) (got []any) {
	t.Helper()
	reg := workflow.NewRegistry()
	schema := known().Lookup(class)
	if schema == nil {
		t.Fatalf("there is no class %s", class)
	}
	reg.Register(*schema)
	nodes := map[string]any{"x": map[string]any{"class_type": class, "inputs": inputs}}
	for input, v := range inputs {
		link, ok := v.([]any)
		if !ok {
			continue
		}
		name := link[0].(string)
		shape := file.Shape(name)
		source := workflow.Schema{Class: "Source " + name, Outputs: workflow.Outputs(workflow.TypeImage)}
		var value any
		if len(shape) == 3 {
			source.Outputs = workflow.Outputs(workflow.TypeMask)
			if value = media.NewMask(shape[0], shape[1], shape[2], file.F32(name)); planned {
				value = media.PlanMask(shape[0], shape[1], shape[2])
			}
		} else if value = media.NewImage(shape[0], shape[1], shape[2], shape[3], file.F32(name)); planned {
			value = media.PlanImage(shape[0], shape[1], shape[2], shape[3])
		}
		source.Run = func(context.Context, *workflow.Call) ([]any, error) { return []any{value}, nil }
		if reg.Lookup(source.Class) == nil {
			reg.Register(source)
		}
		nodes[name] = map[string]any{"class_type": source.Class}
		inputs[input] = []any{name, 0}
	}
	see := workflow.Schema{Class: "See", Output: true, Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
		for i := range outputs {
			got = append(got, c.Value(fmt.Sprint(i)))
		}
		return nil, nil
	}}
	links := map[string]any{}
	for i := range outputs {
		see.Inputs = append(see.Inputs, workflow.Link(fmt.Sprint(i), workflow.TypeAny))
		links[fmt.Sprint(i)] = []any{"x", i}
	}
	reg.Register(see)
	nodes["see"] = map[string]any{"class_type": "See", "inputs": links}
	text, err := json.Marshal(nodes)
	if err != nil {
		t.Fatal(err)
	}
	g, err := workflow.Parse(text, reg)
	if err != nil {
		t.Fatal(err)
	}
	job, err := workflow.Check(g, reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workflow.NewExecutor(nil).Run(t.Context(), job, nil); err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return got
}

// compare compares pictures or masks with a tensor.
func compare(t *testing.T, what string, got any, shape []int, want []float32) {
	t.Helper()
	var size []int
	var pix []float32
	var planned bool
	switch m := got.(type) {
	case *media.Image:
		size, pix, planned = []int{m.Batch, m.Height, m.Width, m.Channels}, m.Pix(), m.Planned()
	case *media.Mask:
		size, pix, planned = []int{m.Batch, m.Height, m.Width}, m.Pix(), m.Planned()
	}
	if fmt.Sprint(size) != fmt.Sprint(shape) {
		t.Errorf("%s has the size %v, want %v", what, size, shape)
		return
	}
	if planned || strings.HasSuffix(what, "true") {
		return
	}
	worst, at := 0.0, 0
	for i, v := range pix {
		if d := math.Abs(float64(v - want[i])); d > worst || math.IsNaN(d) {
			worst, at = d, i
		}
	}
	if worst > 2e-6 {
		t.Errorf("%s: value %d is %v, want %v", what, at, pix[at], want[at])
	}
}
