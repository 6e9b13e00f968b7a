package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// textRegistry has a prompt, a sampler and a node that saves.
func textRegistry() *Registry {
	reg := drawnRegistry()
	run := func(context.Context, *Call) ([]any, error) { return nil, nil }
	prompt := Text("text")
	prompt.Choices = true
	reg.Register(Schema{Class: "Prompt", Inputs: []Input{prompt}, Outputs: Outputs(TypeConditioning), Run: run})
	reg.Register(Schema{Class: "SaveImage", Inputs: []Input{Link("images", TypeAny), String("filename_prefix", "x")}, Output: true, Run: run})
	return reg
}

// drawn parses a drawing with the nodes and links given.
func drawn(t *testing.T, reg *Registry, nodes, rest string) *Graph {
	t.Helper()
	g, err := Parse([]byte(`{"nodes": [`+nodes+`]`+rest+`}`), reg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestChoices(t *testing.T) {
	reg := textRegistry()
	text := func(seed int, prompt string) string {
		t.Helper()
		quoted, _ := json.Marshal(prompt)
		g := drawn(t, reg, fmt.Sprintf(`{"id": 1, "type": "Prompt", "widgets_values": [%s]}, {"id": 2, "type": "Sample", "widgets_values": [%d, "fixed", 20, 1]}`, quoted, seed), "")
		v, _ := g.Node("1").Arg("text")
		return v.(string)
	}
	for in, want := range map[string]string{
		"plain":                         "plain",
		"{one}":                         "one",
		"a {b{c}d} e":                   "a bcd e",
		"a // comment\nb":               "a \nb",
		"a /* long\ncomment */b/**/c":   "a bc",
		"https://example.com and more":  "https:",
		`\{a\|b\}`:                      "{a|b}",
		`{a\|b}`:                        "a|b",
		"{":                             "",
		"a}":                            "a}",
		"/* open":                       "/* open",
		`back\slash \`:                  `back\slash \`,
		"(weight:1.2), [x|y], |, 1 | 2": "(weight:1.2), [x|y], |, 1 | 2",
	} {
		if got := text(1, in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	// Both choices come, each again for its seed.
	seen := map[string]int{}
	for seed := range 50 {
		got := text(seed, "a {red|green} {apple|pear{s|}}")
		if again := text(seed, "a {red|green} {apple|pear{s|}}"); again != got {
			t.Fatalf("seed %d gives %q and %q", seed, got, again)
		}
		seen[got]++
	}
	if len(seen) != 6 {
		t.Errorf("50 seeds give %v", seen)
	}
	// The rule, so that it stays: PCG(seed, FNV-1a("1.text")).
	if got := text(7, "{0|1|2|3|4|5|6|7|8|9}{0|1|2|3|4|5|6|7|8|9}"); got != "90" {
		t.Errorf("seed 7 chooses %s", got)
	}
	// A changed seed or text chooses again; the API format stays as it is.
	g := drawn(t, reg, `{"id": 1, "type": "Prompt", "title": "P", "widgets_values": ["{0|1|2|3|4|5|6|7|8|9}{0|1|2|3|4|5|6|7|8|9}"]}, {"id": 2, "type": "Sample", "widgets_values": [3, "fixed", 20, 1]}`, "")
	for _, set := range []struct{ target, value, want string }{{"Sample.seed", "7", "90"}, {"P.text", "{x} // y", "x "}} {
		if err := g.Set(reg, set.target, set.value); err != nil {
			t.Fatal(err)
		}
		if v, _ := g.Node("1").Arg("text"); v != set.want {
			t.Errorf("%s=%s gives %v, want %s", set.target, set.value, v, set.want)
		}
	}
	const literal = `{"1": {"inputs": {"text": "{a|b} // c"}, "class_type": "Prompt"}}`
	if g, err := Parse([]byte(literal), reg); err != nil || g.String() != literal {
		t.Errorf("%v, %v", g, err)
	}
	deep := strings.Repeat("{", 200_000)
	within(t, func() { text(1, deep+"a|b"+strings.Repeat("}", 200_000)) })
	within(t, func() { text(1, strings.Repeat("/*//\n", 200_000)) })
	within(t, func() { text(1, strings.Repeat(`{a|`, 200_000)) })
}

// TestReplacements fills in the names of files.
func TestReplacements(t *testing.T) {
	now := time.Date(2026, 3, 4, 15, 6, 7, 0, time.UTC)
	for in, want := range map[string]string{
		"%date:yyyy-MM-dd%/%date:hhmmss%": "2026-03-04/150607", "%date:yy-M-d%": "26-3-4", "%date:yy.M.d%": "26", "%date:h:m:s y yyy%": "15:6:7 y yyy",
		"%width%x%height%": "%width%x%height%", "100%": "100%", "%unknown%": "%unknown%", "%date%": "%date%", "%%": "%%",
	} {
		if got := FillDates(in, now); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	reg := textRegistry()
	g := drawn(t, reg, `
		{"id": 1, "type": "Load", "properties": {"Node name for S&R": "Load"}, "widgets_values": ["sub/a:b.safetensors"], "mode": 2},
		{"id": 2, "type": "Sample", "properties": {"Node name for S&R": "Sampler"}, "title": "T", "widgets_values": [18446744073709551615, "fixed", 20, 7.50],
		 "outputs": [{"type": "LATENT"}]},
		{"id": 3, "type": "SaveImage", "widgets_values": ["%Sampler.seed%_%Sampler.cfg%_%T.steps%_%Load.file%_%Nobody.x%_%Sampler.x%_%width%"],
		 "inputs": [{"name": "images", "type": "IMAGE", "link": 1}]},
		{"id": 4, "type": "Save", "widgets_values": ["%Sampler.seed%"]}`, `, "links": [[1, 2, 0, 3, 0, "*"]]`)
	want := "18446744073709551615_7.5_20_sub_a_b.safetensors_%Nobody.x%_%Sampler.x%_%width%"
	if v, _ := g.Node("3").Arg("filename_prefix"); v != want {
		t.Errorf("the prefix is %v, want %s", v, want)
	}
	if v, _ := g.Node("4").Arg("name"); v != "%Sampler.seed%" {
		t.Errorf("a class that the interface does not fill in has %v", v)
	}
	if err := g.Set(reg, "T.seed", "5"); err != nil {
		t.Fatal(err)
	}
	if v, _ := g.Node("3").Arg("filename_prefix"); !strings.HasPrefix(v.(string), "5_7.5") {
		t.Errorf("after a change the prefix is %v", v)
	}
}

// TestWidgetValues reads values of widgets in all the ways in which files have
// them.
func TestWidgetValues(t *testing.T) {
	const all = `"seed": 5, "steps": 30, "cfg": 7`
	for what, test := range map[string]struct{ node, want string }{
		"with control":       {`"type": "Sample", "widgets_values": [5, "randomize", 30, 7]`, all},
		"without control":    {`"type": "Sample", "widgets_values": [5, 30, 7]`, all},
		"too many":           {`"type": "Sample", "widgets_values": [5, "fixed", 30, 7, "more", null]`, all},
		"stray control":      {`"type": "Sample", "widgets_values": [5, "fixed", 30, "increment", 7]`, all},
		"defaults":           {`"type": "Sample", "widgets_values": [5, "fixed"]`, `"seed": 5, "steps": 20, "cfg": 1`},
		"none":               {`"type": "Sample"`, `"seed": 0, "steps": 20, "cfg": 1`},
		"by name":            {`"type": "Sample", "widgets_values": {"seed": 5, "control_after_generate": "fixed", "steps": 30, "cfg": 7}`, all},
		"named beside":       {`"type": "Sample", "widgets_values_named": {"seed": 5, "control_after_generate": "fixed", "steps": 30, "cfg": 7}`, all},
		"of the catalog":     {`"type": "RandomNoise", "widgets_values": [5, "fixed"]`, `"noise_seed": 5`},
		"of nobody, named":   {`"type": "X", "widgets_values": [5], "widgets_values_named": {"a": 5}`, `"a": 5`},
		"of nobody, sockets": {`"type": "X", "widgets_values": [1, 5, "fixed", 2], "inputs": [{"name": "a", "widget": {"name": "a"}}, {"name": "m"}, {"name": "seed", "widget": {"name": "seed"}}, {"name": "b", "widget": {"name": "b"}}]`, `"a": 1, "seed": 5, "b": 2`},
		"of nobody":          {`"type": "X", "widgets_values": [1, 5]`, ``},
		"a list":             {`"type": "X", "widgets_values": {"l": [1, 2], "m": ["7", 0]}`, `"l": {"__value__": [1, 2]}, "m": {"__value__": ["7", 0]}`},
		"an upload button":   {`"type": "LoadImageMask", "widgets_values": ["a.png", "alpha", "image"]`, `"image": "a.png", "channel": "alpha"`},
		"a filter":           {`"type": "Y", "widgets_values": ["x", 3]`, ``},
	} {
		g := drawn(t, drawnRegistry(), `{"id": 1, `+test.node+`}, {"id": 2, "type": "Save"}`, "")
		text := g.String()
		got, _, _ := strings.Cut(strings.TrimPrefix(text, `{"1": {"inputs": {`), `}, "class_type"`)
		if got != test.want {
			t.Errorf("%s: %s, want %s", what, got, test.want)
		}
		if again, err := Parse([]byte(text), drawnRegistry()); err != nil || again.String() != text {
			t.Errorf("%s: read again as %v, %v", what, again, err)
		}
	}
}

// TestBypass follows links through bypassed nodes as the interface does.
func TestBypass(t *testing.T) {
	for what, test := range map[string]struct {
		inputs, output, want string // types; the link that is taken
	}{
		"same place":        {"LATENT,LATENT", "LATENT", "10"},
		"first of the type": {"MODEL,LATENT,LATENT", "LATENT", "11"},
		"none":              {"MODEL,VAE", "LATENT", ""},
		"any case":          {"model,latent", "LATENT", "11"},
		"any input":         {"*,LATENT", "LATENT", "10"},
		"any output":        {"MODEL,LATENT", "*", "11"},
		"union":             {"MODEL,IMAGE|LATENT", "LATENT", "11"},
		"union, same place": {"IMAGE|latent,LATENT", "LATENT", "10"},
		"union output":      {"MASK,LATENT", "LATENT|IMAGE", "11"},
		"no inputs":         {"", "LATENT", ""},
	} {
		var inputs, loads, links []string
		for i, kind := range strings.FieldsFunc(test.inputs, func(r rune) bool { return r == ',' }) {
			inputs = append(inputs, fmt.Sprintf(`{"name": "i%d", "type": %q, "link": %d}`, i, strings.ReplaceAll(kind, "|", ","), i))
			loads = append(loads, fmt.Sprintf(`{"id": 1%d, "type": "Load", "outputs": [{"type": "MODEL"}]}, `, i))
			links = append(links, fmt.Sprintf(`[%d, 1%d, 0, 2, %d, "*"], `, i, i, i))
		}
		g := drawn(t, drawnRegistry(), strings.Join(loads, "")+`{"id": 2, "type": "Sample", "mode": 4, "inputs": [`+strings.Join(inputs, ",")+`], "outputs": [{"type": "`+strings.ReplaceAll(test.output, "|", ",")+`"}]},
			{"id": 3, "type": "Save", "inputs": [{"name": "latent", "type": "LATENT", "link": 99}]}`, `, "links": [`+strings.Join(links, "")+`[99, 2, 0, 3, 0, "LATENT"]]`)
		got := ""
		if v, ok := g.Node("3").Arg("latent"); ok {
			got = v.(Reference).Node
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", what, got, test.want)
		}
	}
}

// TestVirtualNodes passes reroutes and primitive nodes.
func TestVirtualNodes(t *testing.T) {
	g := drawn(t, drawnRegistry(), `
		{"id": 1, "type": "Load", "outputs": [{"type": "MODEL"}, {"type": "LATENT"}], "widgets_values": ["a"]},
		{"id": 2, "type": "Reroute (rgthree)", "inputs": [{"name": "", "type": "*", "link": 1}], "outputs": [{"type": "*"}]},
		{"id": 3, "type": "ReroutePrimitive|pysssss", "inputs": [{"name": "value", "type": "*", "link": 2}], "outputs": [{"type": "*"}]},
		{"id": 4, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 3}], "outputs": [{"type": "LATENT"}]},
		{"id": 5, "type": "Save", "inputs": [{"name": "latent", "type": "LATENT", "link": 4}, {"name": "name", "type": "STRING", "link": 6, "widget": {"name": "name"}}], "widgets_values": ["own"]},
		{"id": 6, "type": "PrimitiveNode", "mode": 2, "outputs": [{"type": "STRING"}], "widgets_values": ["given", "fixed", ""]},
		{"id": 7, "type": "Reroute", "inputs": [{"link": 6}], "outputs": [{"type": "*"}]},
		{"id": 8, "type": "MarkdownNote", "widgets_values": ["x"]}, {"id": 9, "type": "Note", "mode": 4}`,
		`, "links": [[1, 1, 1, 2, 0, "*"], [2, 2, 0, 3, 0, "*"], [3, 3, 0, 4, 0, "*"], [4, 4, 0, 5, 0, "*"], [6, 6, 0, 5, 1, "STRING"], null]`)
	const want = `{"1": {"inputs": {"file": "a"}, "class_type": "Load"}, "5": {"inputs": {"latent": ["1", 1], "name": "given"}, "class_type": "Save"}}`
	if got := g.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestVariables follows the names that the nodes SetNode and GetNode of a pack
// give to links.
func TestVariables(t *testing.T) {
	g := drawn(t, drawnRegistry(), `
		{"id": 1, "type": "Load", "outputs": [{"type": "MODEL"}, {"type": "LATENT"}], "widgets_values": ["a"]},
		{"id": 2, "type": "SetNode", "inputs": [{"name": "LATENT", "type": "LATENT", "link": 1}], "outputs": [{"type": "*"}], "widgets_values": ["x"]},
		{"id": 3, "type": "GetNode", "outputs": [{"type": "LATENT"}], "widgets_values": ["x"]},
		{"id": 4, "type": "GetNode", "outputs": [{"type": "LATENT"}], "widgets_values": ["nobody's"]},
		{"id": 5, "type": "Save", "inputs": [{"name": "latent", "type": "LATENT", "link": 2}]}, {"id": 6, "type": "Save", "inputs": [{"name": "latent", "type": "LATENT", "link": 3}]}`,
		`, "links": [[1, 1, 1, 2, 0, "*"], [2, 3, 0, 5, 0, "*"], [3, 4, 0, 6, 0, "*"]]`)
	const want = `{"1": {"inputs": {"file": "a"}, "class_type": "Load"}, "5": {"inputs": {"latent": ["1", 1], "name": "x"}, "class_type": "Save"}, "6": {"inputs": {"name": "x"}, "class_type": "Save"}}`
	if got := g.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// subgraphs is a file with a subgraph in a subgraph, each of them used twice. The
// widget cfg is shown by the outer one, seed is listed by its first use, steps is
// an input of both.
const subgraphs = `{"last_node_id": 30, "nodes": [
	{"id": 1, "type": "Load", "outputs": [{"type": "MODEL"}, {"type": "LATENT"}], "widgets_values": ["a"]},
	{"id": 2, "type": "outer", "inputs": [{"name": "latent", "type": "LATENT", "link": 2}, {"name": "model", "type": "MODEL", "link": 1}],
	 "outputs": [{"type": "LATENT"}], "properties": {"proxyWidgets": [["-1", "steps"], ["11", "seed"], ["nobody", "x"], ["11", "control_after_generate"], ["10", "12: cfg"]]}, "widgets_values": [33, 44, 1, "fixed", 2.5]},
	{"id": 3, "type": "outer", "mode": MODE, "inputs": [{"name": "model", "type": "MODEL", "link": 3}, {"name": "latent", "type": "LATENT", "link": 4}, {"name": "steps", "type": "INT", "widget": {"name": "steps"}, "link": LINK}],
	 "outputs": [{"type": "LATENT"}], "widgets_values": [55]},
	{"id": 4, "type": "Save", "inputs": [{"name": "latent", "type": "LATENT", "link": 5}], "widgets_values": ["out"]},
	{"id": 5, "type": "PrimitiveInt", "outputs": [{"type": "INT"}], "widgets_values": [66, "fixed"]}
	], "links": [[1, 1, 0, 2, 1, "MODEL"], [2, 1, 1, 2, 0, "LATENT"], [3, 1, 0, 3, 0, "MODEL"], [4, 2, 0, 3, 1, "LATENT"], [5, 3, 0, 4, 0, "LATENT"], [6, 5, 0, 3, 2, "INT"]],
	"definitions": {"subgraphs": [
	{"id": "unused", "nodes": [{"id": 40, "type": "unused"}, 5]},
	{"id": "inner", "name": "Inner", "nodes": [
		{"id": 12, "type": "Sample", "inputs": [{"name": "model", "type": "MODEL", "link": 20}, {"name": "latent", "type": "LATENT", "link": 21}, {"name": "steps", "type": "INT", "link": 22, "widget": {"name": "steps"}},
		 {"name": "cfg", "type": "FLOAT", "link": 24, "widget": {"name": "cfg"}}],
		 "outputs": [{"type": "LATENT"}], "widgets_values": [12, "fixed", 20, 1]}],
	 "inputs": [{"name": "model", "type": "MODEL", "linkIds": [20]}, {"name": "latent", "type": "LATENT", "linkIds": [21]}, {"name": "steps", "type": "INT", "linkIds": [22]}, {"name": "cfg", "type": "FLOAT", "linkIds": [24]}],
	 "outputs": [{"name": "out", "type": "LATENT", "linkIds": [23]}],
	 "links": [{"id": 20, "origin_id": -10, "origin_slot": 0, "target_id": 12, "target_slot": 0}, {"id": 21, "origin_id": -10, "origin_slot": 1, "target_id": 12, "target_slot": 1},
		{"id": 22, "origin_id": -10, "origin_slot": 2, "target_id": 12, "target_slot": 2}, {"id": 23, "origin_id": 12, "origin_slot": 0, "target_id": -20, "target_slot": 0}, {"id": 24, "origin_id": -10, "origin_slot": 3, "target_id": 12, "target_slot": 3}]},
	{"id": "outer", "name": "Outer", "nodes": [
		{"id": 10, "type": "inner", "inputs": [{"name": "model", "type": "MODEL", "link": 30}, {"name": "latent", "type": "LATENT", "link": 31}, {"name": "steps", "type": "INT", "link": 32, "widget": {"name": "steps"}}], "outputs": [{"type": "LATENT"}], "widgets_values": [77]},
		{"id": 11, "type": "Sample", "inputs": [{"name": "model", "type": "MODEL", "link": 33}, {"name": "latent", "type": "LATENT", "link": 34}], "outputs": [{"type": "LATENT"}], "widgets_values": [11, "fixed", 21, 3]}],
	 "inputs": [{"name": "model", "type": "MODEL", "linkIds": [30, 33]}, {"name": "latent", "type": "LATENT", "linkIds": [31]}, {"name": "steps", "type": "INT", "linkIds": [32]}],
	 "outputs": [{"name": "out", "type": "LATENT", "linkIds": [35]}],
	 "links": [{"id": 30, "origin_id": -10, "origin_slot": 0, "target_id": 10, "target_slot": 0}, {"id": 31, "origin_id": -10, "origin_slot": 1, "target_id": 10, "target_slot": 1},
		{"id": 32, "origin_id": -10, "origin_slot": 2, "target_id": 10, "target_slot": 2}, {"id": 33, "origin_id": -10, "origin_slot": 0, "target_id": 11, "target_slot": 0},
		{"id": 34, "origin_id": 10, "origin_slot": 0, "target_id": 11, "target_slot": 1}, {"id": 35, "origin_id": 11, "origin_slot": 0, "target_id": -20, "target_slot": 0}]}]}}`

func TestSubgraphs(t *testing.T) {
	for what, test := range map[string]struct{ mode, link, want string }{
		"values of each use": {"0", "null", `2:10:12 model=1.0 latent=1.1 steps=33 cfg=2.5 seed=12 | 2:11 model=1.0 latent=2:10:12.0 seed=44 steps=21 cfg=3 | ` +
			`3:10:12 model=1.0 latent=2:11.0 steps=55 cfg=1 seed=12 | 3:11 model=1.0 latent=3:10:12.0 seed=11 steps=21 cfg=3 | 4 latent=3:11.0 name=out`},
		"a linked value": {"0", "6", `2:10:12 model=1.0 latent=1.1 steps=33 cfg=2.5 seed=12 | 2:11 model=1.0 latent=2:10:12.0 seed=44 steps=21 cfg=3 | ` +
			`3:10:12 model=1.0 latent=2:11.0 steps=5.0 cfg=1 seed=12 | 3:11 model=1.0 latent=3:10:12.0 seed=11 steps=21 cfg=3 | 4 latent=3:11.0 name=out`},
		"bypassed": {"4", "null", `2:10:12 model=1.0 latent=1.1 steps=33 cfg=2.5 seed=12 | 2:11 model=1.0 latent=2:10:12.0 seed=44 steps=21 cfg=3 | 4 latent=2:11.0 name=out`},
		"muted":    {"2", "null", `2:10:12 model=1.0 latent=1.1 steps=33 cfg=2.5 seed=12 | 2:11 model=1.0 latent=2:10:12.0 seed=44 steps=21 cfg=3 | 4 name=out`},
	} {
		g, err := Parse([]byte(strings.NewReplacer("MODE", test.mode, "LINK", test.link).Replace(subgraphs)), drawnRegistry())
		if err != nil {
			t.Fatal(err)
		}
		var nodes []string
		for _, n := range g.Nodes {
			if n.ID == "1" || n.ID == "5" {
				continue
			}
			fields := []string{n.ID}
			for _, a := range n.Args {
				value := fmt.Sprint(a.Value)
				if r, ok := a.Value.(Reference); ok {
					value = fmt.Sprintf("%s.%d", r.Node, r.Output)
				}
				fields = append(fields, a.Name+"="+value)
			}
			nodes = append(nodes, strings.Join(fields, " "))
		}
		if got := strings.Join(nodes, " | "); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", what, got, test.want)
		}
	}
	g, err := Parse([]byte(strings.NewReplacer("MODE", "0", "LINK", "null").Replace(subgraphs)), drawnRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Set(drawnRegistry(), "2:10:12.steps", "9"); err != nil {
		t.Error(err)
	}
}

// TestHostileSubgraphs refuses those that never end and those that grow without
// end.
func TestHostileSubgraphs(t *testing.T) {
	subgraph := func(id string, uses ...string) string {
		var nodes []string
		for i, use := range uses {
			nodes = append(nodes, fmt.Sprintf(`{"id": %d, "type": %q}`, i, use))
		}
		return fmt.Sprintf(`{"id": %q, "name": %q, "nodes": [%s]}`, id, id, strings.Join(nodes, ","))
	}
	var doubling, deep []string
	for i := range 40 {
		doubling = append(doubling, subgraph(fmt.Sprint("s", i), fmt.Sprint("s", i+1), fmt.Sprint("s", i+1)))
	}
	for i := range 1000 {
		deep = append(deep, subgraph(fmt.Sprint("s", i), fmt.Sprint("s", i+1)))
	}
	for want, definitions := range map[string]string{
		"contains itself":        subgraph("s0", "s1") + "," + subgraph("s1", "s0"),
		"more than 200,000":      strings.Join(doubling, ","),
		"nested deeper than 50":  strings.Join(deep, ","),
		"has no nodes that run":  subgraph("s0"),
		`subgraph "s0": node 1 `: `{"id": "s0", "name": "s0", "nodes": [{}]}`,
	} {
		within(t, func() {
			_, err := Parse([]byte(`{"nodes": [{"id": 1, "type": "s0"}], "definitions": {"subgraphs": [`+definitions+`]}}`), drawnRegistry())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// TestWideDrawings has nodes with as many inputs as others ask for.
func TestWideDrawings(t *testing.T) {
	const n = 8_000
	var inputs, outputs, saves, links, ports, hosts, proxies strings.Builder
	for i := range n {
		fmt.Fprintf(&inputs, `{"name": "i%d", "type": "A%d", "link": %d}, `, i, i, i)
		fmt.Fprintf(&outputs, `{"type": "B%d"}, `, i)
		fmt.Fprintf(&saves, `{"id": "s%d", "type": "Save", "inputs": [{"name": "latent", "type": "C%d", "link": "l%d"}]}, `, i, i, i)
		fmt.Fprintf(&links, `["l%d", "b", %d, "s%d", 0, "*"], `, i, i, i)
		fmt.Fprintf(&ports, `{"name": "p%d", "linkIds": [1, 2, 3]}, `, i)
		fmt.Fprintf(&hosts, `{"id": %d, "type": "sub", "inputs": [%s], "widgets_values": [1, 2]}, `, i, `{"name": "p1"}`)
		fmt.Fprintf(&proxies, `["1", "x%d"], `, i)
	}
	within(t, func() {
		drawn(t, drawnRegistry(), saves.String()+`{"id": "b", "type": "Sample", "mode": 4, "inputs": [`+inputs.String()+`{}], "outputs": [`+outputs.String()+`{}]}`, `, "links": [`+links.String()+`null]`)
	})
	within(t, func() {
		_, err := Parse([]byte(`{"nodes": [`+hosts.String()+`{"id": "x", "type": "Save"}], "definitions": {"subgraphs": [{"id": "sub", "inputs": [`+ports.String()+`{}], "nodes": []}]}}`), drawnRegistry())
		if err == nil || !strings.Contains(err.Error(), "more than 2,000,000 inputs") {
			t.Errorf("got %v", err)
		}
	})
	within(t, func() {
		drawn(t, drawnRegistry(), `{"id": 5, "type": "outer", "properties": {"proxyWidgets": [`+proxies.String()+`1]}, "widgets_values": [`+strings.Repeat("1, ", n)+`1]}, {"id": 6, "type": "Save"}`,
			`, "definitions": {"subgraphs": [{"id": "outer", "nodes": [{"id": 1, "type": "inner"}]}, {"id": "inner", "inputs": [`+ports.String()+`{}], "nodes": []}]}`)
	})
}

// TestLongDrawings has reroutes and bypassed nodes in chains, each of which many
// nodes ask.
func TestLongDrawings(t *testing.T) {
	const n = 8_000
	for _, class := range []string{`"type": "Reroute"`, `"type": "Sample", "mode": 4`} {
		var nodes, links strings.Builder
		for i := 1; i <= n; i++ {
			fmt.Fprintf(&nodes, `{"id": %d, %s, "inputs": [{"type": "LATENT", "link": %d}], "outputs": [{"type": "LATENT"}]}, `, i, class, i)
			fmt.Fprintf(&nodes, `{"id": "s%d", "type": "Save", "inputs": [{"name": "latent", "type": "LATENT", "link": "l%d"}]}, `, i, i)
			fmt.Fprintf(&links, `[%d, %d, 0, %d, 0, "*"], ["l%d", %d, 0, "s%d", 0, "*"], `, i, i-1, i, i, i, i)
		}
		within(t, func() {
			g := drawn(t, drawnRegistry(), nodes.String()+`{"id": 0, "type": "Load"}`, `, "links": [`+links.String()+`null]`)
			if v, _ := g.Node(fmt.Sprint("s", n)).Arg("latent"); v != (Reference{"0", 0}) {
				t.Errorf("%s: the last link comes from %v", class, v)
			}
		})
	}
}
