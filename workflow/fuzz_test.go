package workflow

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// seeds adds workflows of all forms to a corpus.
func seeds(f *testing.F, add func(text string)) {
	f.Helper()
	for _, text := range []string{
		sum,
		`{"nodes": [{"id": 1, "type": "Show", "widgets_values": ["a"], "inputs": [{"name": "v", "link": 1}]}], "links": [[1, 1, 0, 1, 0, "*"]]}`,
		`{"prompt": {"1": {"class_type": "A", "inputs": {"x": NaN, "l": [1, 2, 3], "w": {"__value__": [1]}}}}}`,
		`{"workflow": {"nodes": []}, "output": {"1": {"class_type": "Show", "inputs": {"v": ["1", 0]}}}}`,
		`{"b": {"prompt": [1, "b", {"1": {"class_type": "Number", "inputs": {"value": 1.2e19, "value": 2}}}, {}, []]}}`,
		`"{\"1\": {\"class_type\": \"Number\"}}"`,
		strings.NewReplacer("MODE", "0", "LINK", "6").Replace(subgraphs),
		strings.NewReplacer("MODE", "4", "LINK", "null").Replace(subgraphs),
		`{"nodes": [{"id": 1, "type": "Prompt", "widgets_values": ["{a|{b|c}} // d"]}, {"id": 2, "type": "SaveImage", "widgets_values": ["%Prompt.text%_%date:yyyy%"]},
			{"id": 3, "type": "Sample", "mode": 4, "widgets_values_named": {"seed": 3}, "inputs": [{"type": "A,B", "link": 1}, {"type": "*"}], "outputs": [{"type": "B"}]},
			{"id": 4, "type": "KSampler", "widgets_values": [1, "fixed", 2]}, {"id": 5, "type": "Reroute (x)", "inputs": [{}], "outputs": [{}]}]}`,
		`{"nodes": [{"id": 1, "type": "s"}], "definitions": {"subgraphs": [{"id": "s", "nodes": [{"id": 1, "type": "s"}]}]}}`,
		"\xff\xfe{\x00}\x00", "\x89PNG", "a: b", "<html>",
	} {
		add(text)
	}
}

// fuzzRegistry has the nodes of the toys and those of drawings.
func fuzzRegistry() *Registry {
	reg := newToys().Registry
	drawn := textRegistry()
	for _, class := range drawn.Classes() {
		reg.Register(*drawn.Lookup(class))
	}
	return reg
}

// FuzzParse reads any file, writes the graph in the API format, reads that again
// and checks it. Errors fit on a screen.
func FuzzParse(f *testing.F) {
	seeds(f, func(text string) { f.Add([]byte(text)) })
	reg := fuzzRegistry()
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := Parse(data, reg)
		if err != nil {
			short(t, err)
			return
		}
		text := g.String()
		again, err := Parse([]byte(text), reg)
		switch {
		case err != nil:
			t.Logf("%s: %v", text, err) // ids that look like wrappers, depth
		case again.String() != text:
			t.Errorf("%s\nbecame %s", text, again.String())
		}
		if _, err := Check(g, reg); err != nil {
			short(t, err)
		}
	})
}

// FuzzDrawing converts drawings: the bytes decide the widgets, links, modes and
// types of a drawing that is well formed.
func FuzzDrawing(f *testing.F) {
	f.Add([]byte("0123456789"), `{"a": 1}`)
	f.Add([]byte("subgraphs in subgraphs and more of them, bypassed"), `["-1", "steps"]`)
	reg := fuzzRegistry()
	f.Fuzz(func(t *testing.T, data []byte, value string) {
		next := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			v := int(data[0]) % n
			data = data[1:]
			return v
		}
		pick := func(of ...any) any { return of[next(len(of))] }
		var any any
		if json.Unmarshal([]byte(value), &any) != nil {
			any = value
		}
		nodes := func(n int, classes ...interface{}) (nodes, links []interface{}) {
			for i := range n {
				var inputs, outputs []interface{}
				for k := range next(4) {
					inputs = append(inputs, map[string]interface{}{"name": pick("model", "latent", "steps", "v", any), "type": pick("A", "A,B", "*", "b", any),
						"link": pick(i*4+k, nil, next(20)), "widget": pick(nil, map[string]interface{}{"name": pick("steps", "text", any)})})
					links = append(links, []interface{}{i*4 + k, pick(next(n+1), -10, any), next(3), i, k, "*"})
				}
				for range next(3) {
					outputs = append(outputs, map[string]interface{}{"type": pick("A", "B", "*", any)})
				}
				nodes = append(nodes, map[string]interface{}{"id": pick(i, i, i, any), "type": pick(classes...), "mode": pick(0, 0, 4, 2), "inputs": inputs, "outputs": outputs,
					"widgets_values": pick([]interface{}{1, "fixed", any}, nil, map[string]interface{}{"steps": any}, any), "widgets_values_named": pick(nil, map[string]interface{}{"text": any}),
					"properties": map[string]interface{}{"proxyWidgets": pick(nil, []interface{}{[]interface{}{pick("0", "-1", 1), pick("steps", "text", any)}, any}, any)}})
			}
			return nodes, links
		}
		classes := []interface{}{"Sample", "Load", "Save", "Prompt", "SaveImage", "Reroute", "PrimitiveNode", "s0", "s1", "GetNode", "SetNode", any}
		top := map[string]interface{}{}
		top["nodes"], top["links"] = nodes(next(6)+1, classes...)
		var definitions []interface{}
		for i := range next(3) {
			d := map[string]interface{}{"id": []string{"s0", "s1", "s2"}[i]}
			d["nodes"], d["links"] = nodes(next(4), classes...)
			d["inputs"] = []interface{}{map[string]interface{}{"name": "steps", "linkIds": []interface{}{next(12), next(12)}}, map[string]interface{}{"name": "text", "linkIds": any}}
			d["outputs"] = []interface{}{map[string]interface{}{"name": "out", "linkIds": []interface{}{next(12)}}}
			definitions = append(definitions, d)
		}
		top["definitions"] = map[string]interface{}{"subgraphs": definitions}
		text, err := json.Marshal(top)
		if err != nil {
			t.Skip(err)
		}
		g, err := Parse(text, reg)
		if err != nil {
			short(t, err)
			return
		}
		if again, err := Parse([]byte(g.String()), reg); err == nil && again.String() != g.String() {
			t.Errorf("%s\nbecame %s", g, again)
		}
		if _, err := Check(g, reg); err != nil {
			short(t, err)
		}
	})
}

// FuzzSet changes inputs of workflows.
func FuzzSet(f *testing.F) {
	seeds(f, func(text string) { f.Add(text, "1.value", "3") })
	f.Add(sum, "Number.scale", "1e3")
	f.Add(sum, "2:1.x.y", "true")
	reg := fuzzRegistry()
	f.Fuzz(func(t *testing.T, text, target, value string) {
		g, err := Parse([]byte(text), reg)
		if err != nil {
			return
		}
		if err := g.Set(reg, target, value); err != nil {
			short(t, err)
			return
		}
		if _, err := Check(g, reg); err != nil {
			short(t, err)
		}
		if _, err := Parse([]byte(g.String()), reg); err != nil {
			t.Logf("%s: %v", g, err)
		}
	})
}

// FuzzChoices resolves prompts, which grow no longer and stay valid text.
func FuzzChoices(f *testing.F) {
	for _, s := range []string{"{a|b}", "a // b\n", "/* c */", `\{\}`, "{{{", "}|{", "%a.b%", "é{ü|ß}"} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, s string, seed uint64) {
		got := choose(s, rand.NewPCG(seed, 0), 0)
		if len(got) > len(s) || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q becomes %q", s, got)
		}
		if again := choose(s, rand.NewPCG(seed, 0), 0); again != got {
			t.Errorf("%q becomes %q and %q", s, got, again)
		}
		FillDates(s, time.Now())
	})
}
