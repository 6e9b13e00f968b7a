package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/weir-run/weir/workflow"
)

var known = sync.OnceValue(func() *workflow.Registry { return Registry(&Env{}) })

// evaluate runs the node "x" of a workflow and returns its outputs.
func evaluate(t *testing.T, nodes string) ([]any, error) {
	t.Helper()
	reg := workflow.NewRegistry()
	for _, class := range known().Classes() {
		reg.Register(*known().Lookup(class))
	}
	g, err := workflow.Parse([]byte("{"+nodes+"}"), reg)
	if err != nil {
		t.Fatal(err)
	}
	var got []any
	count := 1
	if s := reg.Lookup(g.Node("x").Class); s != nil {
		count = len(s.Outputs)
	}
	see := workflow.Schema{Class: "See", Output: true}
	nodes += `, "see": {"class_type": "See", "inputs": {`
	for i := range count {
		see.Inputs = append(see.Inputs, workflow.Link(fmt.Sprint(i), workflow.TypeAny))
		nodes += fmt.Sprintf(`"%d": ["x", %d], `, i, i)
	}
	see.Run = func(_ context.Context, c *workflow.Call) ([]any, error) {
		for i := range count {
			got = append(got, c.Value(fmt.Sprint(i)))
		}
		return nil, nil
	}
	reg.Register(see)
	if g, err = workflow.Parse([]byte("{"+strings.TrimSuffix(nodes, ", ")+"}}}"), reg); err != nil {
		t.Fatal(err)
	}
	job, err := workflow.Check(g, reg)
	if err != nil {
		return nil, err
	}
	_, err = workflow.NewExecutor(nil).Run(t.Context(), job, nil)
	return got, err
}

// value is a node of one value.
func value(id, class, v string) string {
	return fmt.Sprintf(`, "%s": {"class_type": "Primitive%s", "inputs": {"value": %s}}`, id, class, v)
}

func TestLogic(t *testing.T) {
	values := value("t", "Boolean", "true") + value("f", "Boolean", "false") + value("0", "Int", "0") + value("5", "Int", "5") +
		value("z", "Float", "0.0") + value("e", "String", `""`) + value("a", "String", `"a"`)
	for node, want := range map[string]string{
		`{"class_type": "ComfySwitchNode", "inputs": {"switch": ["t", 0], "on_false": ["0", 0], "on_true": ["5", 0]}}`: "[5]",
		`{"class_type": "ComfySwitchNode", "inputs": {"switch": ["f", 0], "on_false": ["a", 0], "on_true": ["5", 0]}}`: "[a]",
		`{"class_type": "ComfySwitchNode", "inputs": {"switch": false, "on_false": ["a", 0]}}`:                         "input on_true: required input is missing",
		`{"class_type": "ComfyNotNode", "inputs": {"value": ["z", 0]}}`:                                                "[true]",
		`{"class_type": "ComfyNotNode", "inputs": {"value": ["a", 0]}}`:                                                "[false]",
		`{"class_type": "ComfyAndNode", "inputs": {"values.value0": ["5", 0], "values.value1": ["a", 0]}}`:             "[true]",
		`{"class_type": "ComfyAndNode", "inputs": {"values.value0": ["5", 0], "values.value1": ["e", 0]}}`:             "[false]",
		`{"class_type": "ComfyOrNode", "inputs": {"values.value0": ["0", 0], "values.value1": ["z", 0]}}`:              "[false]",
		`{"class_type": "ComfyOrNode", "inputs": {"values.value0": ["0", 0], "values.value1": ["t", 0]}}`:              "[true]",
		`{"class_type": "ComfyOrNode", "inputs": {}}`:                                                                  "input values.value0: required input is missing",
		`{"class_type": "ComfyNotNode", "inputs": {"value": ["l", 0]}}`:                                                "expected a number, a text or a truth value",
		`{"class_type": "CustomCombo", "inputs": {"choice": "4s ", "index": 1, "option1": "3s ", "option2": "4s "}}`:   "[4s  1]",
		`{"class_type": "CustomCombo", "inputs": {"choice": ["a", 0]}}`:                                                "[a 0]",
	} {
		got, err := evaluate(t, `"l": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}, "x": `+node+values)
		if text := fmt.Sprint(got, err); !strings.Contains(text, want) {
			t.Errorf("%s\n%s, want %s", node, text, want)
		}
	}
}
