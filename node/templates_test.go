package node

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/workflow"
)

// newer are widgets that classes have got since the templates were exported, with
// their defaults.
var newer = map[string]any{"ImageScaleToTotalPixels.resolution_steps": 1.0, "CFGNorm.pre_cfg": false, "CreateVideo.bit_depth": 8.0, "SaveVideo.format.codec": "auto"}

// TestTemplates converts 50 of ComfyUI's own templates and compares each graph
// with the one that the official user interface sends to its server: the ids of
// the nodes, their classes, the names of their inputs, and of each input the
// link or the value. The order of nodes and inputs and the titles of nodes, which
// no result depends on, are not compared. The widgets of classes are once those
// of Weir's nodes and once those of the catalog alone.
func TestTemplates(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(golden.Dir(), "templates.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Class  string         `json:"class_type"`
		Inputs map[string]any `json:"inputs"`
	}
	var templates map[string]struct {
		Drawn json.RawMessage
		Sent  map[string]node
	}
	if err := json.NewDecoder(z).Decode(&templates); err != nil {
		t.Fatal(err)
	}
	if len(templates) != 50 {
		t.Errorf("%d templates", len(templates))
	}
	for what, reg := range map[string]*workflow.Registry{"nodes": Registry(&Env{}), "catalog": workflow.NewRegistry()} {
		for _, name := range slices.Sorted(maps.Keys(templates)) {
			template := templates[name]
			g, err := workflow.Parse(template.Drawn, reg)
			if err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
				continue
			}
			var got map[string]node
			if err := json.Unmarshal([]byte(g.String()), &got); err != nil {
				t.Fatal(err)
			}
			var wrong []string
			for _, id := range slices.Sorted(maps.Keys(union(got, template.Sent))) {
				a, b := got[id], template.Sent[id]
				if a.Class != b.Class {
					wrong = append(wrong, fmt.Sprintf("node %s is %q, want %q", id, a.Class, b.Class))
					continue
				}
				for _, in := range slices.Sorted(maps.Keys(union(a.Inputs, b.Inputs))) {
					if v, ok := newer[a.Class+"."+in]; ok && b.Inputs[in] == nil && a.Inputs[in] == v {
						continue
					}
					x, y := fmt.Sprintf("%#v", a.Inputs[in]), fmt.Sprintf("%#v", b.Inputs[in])
					if x != y {
						wrong = append(wrong, fmt.Sprintf("node %s (%s), input %s is %.100s, want %.100s", id, a.Class, in, x, y))
					}
				}
			}
			if len(wrong) > 0 {
				t.Errorf("%s, %s:\n  %s", what, name, strings.Join(wrong[:min(10, len(wrong))], "\n  "))
			}
		}
	}
}

// union returns the keys of both maps.
func union[V any](a, b map[string]V) map[string]bool {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	return keys
}
