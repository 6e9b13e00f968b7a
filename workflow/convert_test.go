package workflow

import (
	"context"
	"strings"
	"testing"
)

// drawnRegistry has a loader, a sampler and a node that saves.
func drawnRegistry() *Registry {
	reg := NewRegistry()
	run := func(context.Context, *Call) ([]any, error) { return nil, nil }
	reg.Register(Schema{Class: "Load", Inputs: []Input{String("file", "")}, Outputs: Outputs(TypeModel, TypeLatent), Run: run})
	reg.Register(Schema{Class: "Sample", Inputs: []Input{Link("model", TypeModel), Seed("seed"), Int("steps", 20, 1, 100),
		Link("latent", TypeLatent), Float("cfg", 1, 0, 100, 0.1)}, Outputs: Outputs(TypeLatent), Run: run})
	reg.Register(Schema{Class: "Save", Inputs: []Input{Link("latent", TypeLatent), String("name", "x")}, Output: true, Run: run})
	return reg
}

func TestConvert(t *testing.T) {
	const text = `{"last_node_id": 9, "nodes": [
		{"id": 1, "type": "Load", "mode": 0, "outputs": [{"type": "MODEL"}, {"type": "LATENT"}], "widgets_values": ["a.safetensors"]},
		{"id": 2, "type": "Sample", "title": "First", "mode": 0, "widgets_values": [18446744073709551615, "randomize", 30, 7.5],
		 "inputs": [{"name": "model", "type": "MODEL", "link": 10}, {"name": "latent", "type": "LATENT", "link": 11},
		            {"name": "steps", "type": "INT", "link": 16, "widget": {"name": "steps"}}], "outputs": [{"type": "LATENT"}]},
		{"id": 3, "type": "Reroute", "mode": 0, "inputs": [{"name": "", "type": "*", "link": 12}], "outputs": [{"type": "LATENT"}]},
		{"id": 4, "type": "Sample", "mode": 4, "widgets_values": [1, "fixed", 2, 3],
		 "inputs": [{"name": "model", "type": "MODEL", "link": null}, {"name": "latent", "type": "LATENT", "link": 13}], "outputs": [{"type": "LATENT"}]},
		{"id": 5, "type": "Save", "mode": 0, "widgets_values": ["out"], "inputs": [{"name": "latent", "type": "LATENT", "link": 14}]},
		{"id": 6, "type": "Save", "mode": 2, "widgets_values": ["muted"], "inputs": [{"name": "latent", "type": "LATENT", "link": 15}]},
		{"id": 7, "type": "Note", "mode": 0, "widgets_values": ["hello"]},
		{"id": 8, "type": "PrimitiveNode", "mode": 0, "widgets_values": [12, "fixed"], "outputs": [{"type": "INT"}]}
	], "links": [[10, 1, 0, 2, 0, "MODEL"], [11, 1, 1, 2, 1, "LATENT"], [12, 2, 0, 3, 0, "LATENT"], [13, 3, 0, 4, 1, "LATENT"],
		{"id": 14, "origin_id": 4, "origin_slot": 0, "target_id": 5, "target_slot": 0, "type": "LATENT"}, [15, 2, 0, 6, 0, "LATENT"], [16, 8, 0, 2, 2, "INT"]],
	"groups": [], "version": 0.4}`
	g, err := Parse([]byte(text), drawnRegistry())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"1": {"inputs": {"file": "a.safetensors"}, "class_type": "Load"}, ` +
		`"2": {"inputs": {"model": ["1", 0], "latent": ["1", 1], "steps": 12, "seed": 18446744073709551615, "cfg": 7.5}, "class_type": "Sample", "_meta": {"title": "First"}}, ` +
		`"5": {"inputs": {"latent": ["2", 0], "name": "out"}, "class_type": "Save"}}`
	if got := g.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := Check(g, drawnRegistry()); err != nil {
		t.Error(err)
	}
	if g.Source == nil {
		t.Error("the drawing is not kept for the pictures")
	}
}

func TestConvertErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"nodes": []}`:                 "it has no nodes that run",
		`{"nodes": [3]}`:                "node 1 of the list: expected an object, found the number 3",
		`{"nodes": [{"id": 1}]}`:        "node 1: its type should be a string, found null",
		`{"nodes": [{"type": "Save"}]}`: "its id should be a number, found null",
		`{"nodes": [{"id": 1, "type": "Save"}, {"id": 1, "type": "Save"}]}`:                                                 "two nodes have the id 1",
		`{"nodes": [{"id": 1, "type": "Save"}], "links": [[1, 2]]}`:                                                         "link 1 of the list",
		`{"nodes": [{"id": 1, "type": "Save"}], "definitions": {"subgraphs": [{"id": "Save", "name": "S", "nodes": [3]}]}}`: `subgraph "S": node 1 of the list`,
		`{"nodes": [{"id": 1, "type": "Reroute", "inputs": [{"link": 1}]}], "links": [[1, 1, 0, 1, 0, "*"]]}`:               "it has no nodes that run",
	} {
		if _, err := Parse([]byte(text), drawnRegistry()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
	// Reroutes in a circle lead nowhere, and end.
	circle := `{"nodes": [{"id": 1, "type": "Reroute", "inputs": [{"link": 2}]}, {"id": 2, "type": "Reroute", "inputs": [{"link": 1}]},
		{"id": 3, "type": "Save", "inputs": [{"name": "latent", "link": 1}]}], "links": [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"]]}`
	g, err := Parse([]byte(circle), drawnRegistry())
	if _, linked := g.Nodes[0].Arg("latent"); err != nil || linked {
		t.Errorf("%v, %v", g, err)
	}
}
