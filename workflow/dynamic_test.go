package workflow

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// choosing has nodes whose inputs depend on values: a switch, a sum of what is
// linked, and a choice with inputs of its own.
func choosing(ran *[]string) *Registry {
	reg := NewRegistry()
	note := func(c *Call) { *ran = append(*ran, c.Node.ID) }
	number := func(class string, value func(*Call) int64, inputs ...Input) Schema {
		return Schema{Class: class, Inputs: inputs, Outputs: Outputs(TypeInt), Run: func(_ context.Context, c *Call) ([]any, error) {
			note(c)
			return []any{value(c)}, nil
		}}
	}
	reg.Register(number("Number", func(c *Call) int64 { return int64(c.Int("value")) }, Int("value", 0, -100, 100)))
	reg.Register(number("Sum", func(c *Call) (sum int64) {
		for _, in := range c.Several("values") {
			sum = 10*sum + in.Value.(int64)
		}
		return sum
	}, Several("values", Link("value", TypeInt), 1, Numbered("value", 5)...)))
	reg.Register(number("Area", func(c *Call) int64 {
		if c.String("by") == "side" {
			return int64(c.Int("by.side") * c.Int("by.side"))
		}
		return int64(c.Int("by.width") * c.Int("by.height"))
	}, Switch("by", Case{"side", []Input{Int("side", 2, 0, 9)}}, Case{"sides", []Input{Int("width", 3, 0, 9), Int("height", 5, 0, 9)}}), Int("last", 7, 0, 9)))
	// Opaque values, which nothing decides before the run.
	opaque := number("Opaque", func(c *Call) int64 { return int64(c.Int("value")) }, Int("value", 0, 0, 9))
	opaque.Outputs = Outputs("OPAQUE")
	reg.Register(opaque)
	flag := func(class string, in Input, value func(*Call) bool) {
		reg.Register(Schema{Class: class, Inputs: []Input{in}, Outputs: Outputs(TypeBool), Run: func(_ context.Context, c *Call) ([]any, error) {
			note(c)
			return []any{value(c)}, nil
		}})
	}
	flag("Flag", Bool("value", false), func(c *Call) bool { return c.Bool("value") })
	flag("Look", Link("in", "OPAQUE"), func(c *Call) bool { return c.Value("in").(int64) != 0 })
	reg.Register(Schema{
		Class: "If", Inputs: []Input{Bool("switch", false), Link("on_false", TypeAny).IfNeeded(), Link("on_true", TypeAny).IfNeeded()},
		Outputs: []Output{{Type: TypeAny, Of: []string{"on_false", "on_true"}}},
		Lazy:    func(c *Call) []string { return []string{fmt.Sprintf("on_%v", c.Bool("switch"))} },
		Run: func(_ context.Context, c *Call) ([]any, error) {
			note(c)
			return []any{c.Value(fmt.Sprintf("on_%v", c.Bool("switch")))}, nil
		},
	})
	reg.Register(Schema{Class: "Show", Inputs: []Input{Link("in", TypeInt)}, Output: true, Run: func(_ context.Context, c *Call) ([]any, error) {
		*ran = append(*ran, fmt.Sprintf("%s=%v", c.Node.ID, c.Value("in")))
		return nil, nil
	}})
	return reg
}

// runs checks and runs a workflow, and returns which nodes ran in the run itself.
func runs(t *testing.T, x *Executor, text string) (ran []string, job *Job, err error) {
	t.Helper()
	reg := choosing(&ran)
	g, err := Parse([]byte(text), reg)
	if err != nil {
		t.Fatal(err)
	}
	if job, err = Check(g, reg); err != nil {
		return nil, nil, err
	}
	ran = nil
	_, err = x.Run(t.Context(), job, nil)
	return ran, job, err
}

func TestLazy(t *testing.T) {
	number := func(id string, v any) string {
		return fmt.Sprintf(`"%s": {"class_type": "Number", "inputs": {"value": %v}}`, id, v)
	}
	fork := func(id, on, no, yes string) string {
		return fmt.Sprintf(`"%s": {"class_type": "If", "inputs": {"switch": %s, "on_false": ["%s", 0], "on_true": ["%s", 0]}}`, id, on, no, yes)
	}
	show := func(id, in string) string {
		return fmt.Sprintf(`"%s": {"class_type": "Show", "inputs": {"in": ["%s", 0]}}`, id, in)
	}
	look := func(id string, v int) string {
		return fmt.Sprintf(`"o%s": {"class_type": "Opaque", "inputs": {"value": %d}}, "%s": {"class_type": "Look", "inputs": {"in": ["o%s", 0]}}`, id, v, id, id)
	}
	for _, c := range []struct {
		nodes []string
		want  string
	}{
		// The file decides.
		{[]string{number("a", 1), number("b", 2), fork("f", "false", "a", "b"), show("s", "f")}, "a f s=1"},
		{[]string{number("a", 1), number("b", 2), fork("f", "true", "a", "b"), show("s", "f")}, "b f s=2"},
		{[]string{`"c": {"class_type": "Flag", "inputs": {"value": true}}`, number("a", 1), number("b", 2), fork("f", `["c", 0]`, "a", "b"), show("s", "f")}, "c b f s=2"},
		// The run decides, of one fork and of forks behind each other.
		{[]string{look("c", 0), number("a", 1), number("b", 2), fork("f", `["c", 0]`, "a", "b"), show("s", "f")}, "oc c a f s=1"},
		{[]string{look("c", 1), look("d", 0), number("a", 1), number("b", 2), number("e", 3), fork("f", `["c", 0]`, "a", "g"), fork("g", `["d", 0]`, "e", "b"), show("s", "f")}, "oc c od d e g f s=3"},
		// What another node needs runs all the same, once.
		{[]string{look("c", 1), number("a", 1), number("b", 2), fork("f", `["c", 0]`, "a", "b"), show("s", "f"), show("t", "a")}, "oc c a b f s=2 t=1"},
		// What is not chosen may be broken.
		{[]string{number("a", 1000), number("b", 2), fork("f", "true", "a", "b"), show("s", "f")}, "b f s=2"},
		{[]string{`"a": {"class_type": "Unknown"}`, number("b", 2), fork("f", "true", "a", "b"), show("s", "f")}, "b f s=2"},
		// A fork in a circle whose other side is taken.
		{[]string{number("b", 2), fork("f", "true", "f", "b"), show("s", "f")}, "b f s=2"},
	} {
		ran, _, err := runs(t, NewExecutor(nil), "{"+strings.Join(c.nodes, ", ")+"}")
		if got := strings.Join(ran, " "); err != nil || got != c.want {
			t.Errorf("%s\nran %s, %v, want %s", strings.Join(c.nodes, "\n"), got, err, c.want)
		}
	}
	// Nothing runs again, and only what is new does when the switch is turned.
	x := NewExecutor(nil)
	text := "{" + strings.Join([]string{look("c", 1), number("a", 1), number("b", 2), fork("f", `["c", 0]`, "a", "b"), show("s", "f")}, ", ") + "}"
	for i, want := range []string{"oc c b f s=2", "", "oc c a f s=1"} {
		if i == 2 {
			text = strings.Replace(text, `"value": 1`, `"value": 0`, 1)
		}
		if ran, _, err := runs(t, x, text); err != nil || strings.Join(ran, " ") != want {
			t.Errorf("run %d: %v, %v, want %s", i, ran, err, want)
		}
	}
	for text, want := range map[string]string{
		fork("f", "true", "a", "b") + ", " + number("a", 1) + `, "b": {"class_type": "Opaque", "inputs": {"value": 1}}, ` + show("s", "f"): "expected INT, but output 0 of node f (If) is OPAQUE",
		fork("f", "false", "a", "b") + ", " + number("a", 1000) + ", " + number("b", 1) + ", " + show("s", "f"):                            "1000 is above the largest value allowed",
		fork("f", `["c", 0]`, "a", "b") + ", " + look("c", 1) + ", " + number("a", 1000) + ", " + number("b", 1) + ", " + show("s", "f"):   "1000 is above the largest value allowed",
		`"f": {"class_type": "If", "inputs": {"switch": true, "on_false": ["a", 0]}}, ` + number("a", 1) + ", " + show("s", "f"):           "required input is missing",
		`"f": {"class_type": "If", "inputs": {"on_true": ["a", 0], "on_false": ["a", 0]}}, ` + number("a", 1) + ", " + show("s", "f"):      "required input is missing",
	} {
		if _, _, err := runs(t, NewExecutor(nil), "{"+text+"}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestLazyMemory drops no result that what is chosen late still needs.
func TestLazyMemory(t *testing.T) {
	var ran []string
	reg := choosing(&ran)
	big := func(class string, n int, inputs ...Input) {
		reg.Register(Schema{Class: class, Inputs: inputs, Outputs: Outputs("BIG"), Run: func(ctx context.Context, c *Call) ([]any, error) {
			ran = append(ran, c.Node.ID)
			for _, in := range inputs {
				if in.Type == "BIG" && c.Value(in.Name) == nil {
					return nil, fmt.Errorf("%s has gone", in.Name)
				}
			}
			b := block(n)
			return []any{&b}, c.Need(ctx, int64(n))
		}})
	}
	big("Source", 40)
	big("Filter", 40, Link("in", "BIG"))
	reg.Register(Schema{Class: "Size", Inputs: []Input{Link("in", "BIG")}, Outputs: Outputs(TypeBool), Run: func(context.Context, *Call) ([]any, error) { return []any{true}, nil }})
	reg.Register(Schema{Class: "End", Inputs: []Input{Link("in", "BIG")}, Output: true, Run: func(context.Context, *Call) ([]any, error) { return nil, nil }})
	g, err := Parse([]byte(`{"a": {"class_type": "Source", "inputs": {}}, "late": {"class_type": "Filter", "inputs": {"in": ["a", 0]}},
		"b": {"class_type": "Filter", "inputs": {"in": ["a", 0]}}, "c": {"class_type": "Filter", "inputs": {"in": ["b", 0]}},
		"d": {"class_type": "Filter", "inputs": {"in": ["c", 0]}}, "size": {"class_type": "Size", "inputs": {"in": ["d", 0]}}, "z": {"class_type": "Source", "inputs": {}},
		"f": {"class_type": "If", "inputs": {"on_false": ["z", 0], "on_true": ["late", 0], "switch": ["size", 0]}},
		"s": {"class_type": "End", "inputs": {"in": ["f", 0]}}}`), reg)
	if err != nil {
		t.Fatal(err)
	}
	job, err := Check(g, reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewExecutor(&purse{130, 130}).Run(t.Context(), job, nil); err != nil || !slices.Contains(ran, "late") {
		t.Errorf("ran %v, %v", ran, err)
	}
}

func TestDynamicInputs(t *testing.T) {
	const tail = `, "s": {"class_type": "Show", "inputs": {"in": ["x", 0]}}, "1": {"class_type": "Number", "inputs": {"value": 1}}, "2": {"class_type": "Number", "inputs": {"value": 2}}}`
	for node, want := range map[string]string{
		`{"x": {"class_type": "Sum", "inputs": {"values.value0": ["1", 0], "values.value1": ["2", 0]}}`:                            "s=12",
		`{"x": {"class_type": "Sum", "inputs": {"values.value1": ["2", 0], "values.value0": ["1", 0], "values.value3": ["2", 0]}}`: "s=122",
		`{"x": {"class_type": "Sum", "inputs": {"values.value1": ["2", 0]}}`:                                                       "input values.value0: required input is missing",
		`{"x": {"class_type": "Sum", "inputs": {"values.value0": ["2", 0], "values.value9": ["9", 0]}}`:                            "s=2",
		`{"x": {"class_type": "Sum", "inputs": {"values.value0": ["s", 0]}}`:                                                       "the node needs its own result",
		`{"x": {"class_type": "Area", "inputs": {"by": "side", "by.side": 3, "last": 1}}`:                                          "s=9",
		`{"x": {"class_type": "Area", "inputs": {"by": "sides", "by.width": ["2", 0], "by.height": 4, "last": 1}}`:                 "s=8",
		`{"x": {"class_type": "Area", "inputs": {"by": "sides", "by.side": 3, "last": 1}}`:                                         "input by.width: required input is missing",
		`{"x": {"class_type": "Area", "inputs": {"by": "sides", "by.width": 30, "by.height": 3, "last": 1}}`:                       "input by.width: 30 is above",
		`{"x": {"class_type": "Area", "inputs": {"by": "sids", "last": 1}}`:                                                        `"sids" is not available`,
		`{"x": {"class_type": "Area", "inputs": {"by": ["1", 0], "last": 1}}`:                                                      "it says which inputs the node has",
		// Values of drawings are in the order in which the widgets appear.
		`{"nodes": [{"id": 1, "type": "Area", "widgets_values": ["sides", 2, 4, 9], "outputs": [{"type": "INT"}]}, {"id": 2, "type": "Show", "inputs": [{"name": "in", "type": "INT", "link": 1}]}], "links": [[1, 1, 0, 2, 0, "INT"]]}`: "2=8",
		`{"nodes": [{"id": 1, "type": "Area", "widgets_values": ["side", 4, 9], "outputs": [{"type": "INT"}]}, {"id": 2, "type": "Show", "inputs": [{"name": "in", "type": "INT", "link": 1}]}], "links": [[1, 1, 0, 2, 0, "INT"]]}`:     "2=16",
		`{"nodes": [{"id": 1, "type": "Area", "widgets_values": ["sides"], "outputs": [{"type": "INT"}]}, {"id": 2, "type": "Show", "inputs": [{"name": "in", "type": "INT", "link": 1}]}], "links": [[1, 1, 0, 2, 0, "INT"]]}`:          "2=15",
	} {
		if !strings.Contains(node, "nodes") {
			node += tail
		}
		ran, job, err := runs(t, NewExecutor(nil), node)
		text := fmt.Sprint(ran, err)
		if job != nil {
			for _, p := range job.Warnings {
				if p.Input == "last" {
					t.Errorf("%s: %v", node, p)
				}
			}
		}
		if !strings.Contains(text, want) {
			t.Errorf("%s\n%s, want %s", node, text, want)
		}
	}
}

func TestSetDynamic(t *testing.T) {
	var ran []string
	reg := choosing(&ran)
	g, err := Parse([]byte(`{"7": {"class_type": "Area", "inputs": {"by": "side", "by.side": 3, "last": 1}}, "1.5": {"class_type": "Number", "inputs": {"value": 1}}}`), reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range [][2]string{{"Area.by.side", "4"}, {"7.last", "2"}, {"1.5.value", "9"}} {
		if err := g.Set(reg, set[0], set[1]); err != nil {
			t.Error(err)
		}
	}
	if v, _ := g.Node("7").Arg("by.side"); fmt.Sprint(v) != "4" {
		t.Errorf("got %v", v)
	}
	for target, want := range map[string]string{
		"Area.by.width": "Area has no input by.width", "Area.by.": "Area has no input by.", "7.": "expected NODE.INPUT=VALUE", "8.last": "no node has the id", "x": "expected NODE.INPUT=VALUE", "": "expected NODE.INPUT=VALUE",
	} {
		if err := g.Set(reg, target, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", target, err, want)
		}
	}
}
