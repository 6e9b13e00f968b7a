package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// toys has nodes that calculate, and counts how often each node ran.
type toys struct {
	*Registry
	ran   []string
	stamp string // what Changed of a Read returns
}

func newToys() *toys {
	y := &toys{Registry: NewRegistry(), stamp: "1"}
	count := func(run func(c *Call) (any, error)) func(context.Context, *Call) ([]any, error) {
		return func(ctx context.Context, c *Call) ([]any, error) {
			y.ran = append(y.ran, c.Node.ID)
			v, err := run(c)
			return []any{v}, errors.Join(err, ctx.Err())
		}
	}
	const number = Type("NUMBER")
	y.Register(Schema{Class: "Number", Inputs: []Input{Int("value", 1, -100, 1000), Float("scale", 1, 0, 2, 0.1).Opt(), Bool("minus", false).Opt()},
		Outputs: []Output{{Type: number}}, Run: count(func(c *Call) (any, error) {
			v := float64(c.Int("value")) * c.Float("scale")
			if c.Bool("minus") {
				v = -v
			}
			return v, nil
		})})
	y.Register(Schema{Class: "Add", Inputs: []Input{Link("a", number), Link("b", number).Opt(), Combo("how", "plus", "times").Opt()},
		Outputs: []Output{{Type: number, Name: "sum"}}, Run: count(func(c *Call) (any, error) {
			a, b := c.Value("a").(float64), 0.0
			if c.Has("b") {
				b = c.Value("b").(float64)
			}
			if c.String("how") == "times" {
				return a * b, nil
			}
			return a + b, nil
		})})
	y.Register(Schema{Class: "Read", Inputs: []Input{String("name", "x")}, Outputs: Outputs(TypeString), Run: count(func(c *Call) (any, error) { return c.String("name") + y.stamp, nil }),
		Changed: func(context.Context, *Call) (string, error) { return y.stamp, nil }})
	y.Register(Schema{Class: "Show", Inputs: []Input{Link("v", TypeAny), String("name", "out").Opt()}, Output: true, Run: func(_ context.Context, c *Call) ([]any, error) {
		y.ran = append(y.ran, c.Node.ID)
		c.Progress(1, 2, nil)
		c.Saved(File{Name: fmt.Sprintf("%s=%v", c.String("name"), c.Value("v"))})
		return nil, nil
	}})
	y.Register(Schema{Class: "Fail", Inputs: []Input{Seed("seed")}, Outputs: []Output{{Type: number}}, Run: count(func(*Call) (any, error) { return nil, errBroken })})
	return y
}

var errBroken = errors.New("it is broken")

func (y *toys) parse(t *testing.T, text string) *Graph {
	t.Helper()
	g, err := Parse([]byte(text), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// run returns what the Show nodes saw, sorted.
func (y *toys) run(t *testing.T, x *Executor, text string) []string {
	t.Helper()
	job, err := Check(y.parse(t, text), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	y.ran = nil
	result, err := x.Run(t.Context(), job, nil)
	if err != nil {
		t.Fatal(err)
	}
	return shown(result)
}

func shown(r *Result) (names []string) {
	for _, files := range r.Files {
		for _, f := range files {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

const sum = `{
	"1": {"class_type": "Number", "inputs": {"value": 3}},
	"2": {"class_type": "Number", "inputs": {"value": 4, "scale": 0.5}},
	"3": {"class_type": "Add", "inputs": {"a": ["1", 0], "b": ["2", 0]}},
	"4": {"class_type": "Show", "inputs": {"v": ["3", 0]}}
}`

func TestParse(t *testing.T) {
	// As Python's json.dumps writes it.
	const text = `{"7": {"inputs": {"seed": 18446744073709551615, "x": 1e-3, "t": "caf\u00e9 \ud83d\ude00 \"q\"\n", "b": true, "n": null, "l": ["3", 1]}, "class_type": "Any", "_meta": {"title": "T"}}}`
	g, err := Parse([]byte(text), NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if got := g.String(); got != text {
		t.Errorf("written as %s\nwant       %s", got, text)
	}
	want := []Arg{{"seed", json.Number("18446744073709551615")}, {"x", json.Number("1e-3")}, {"t", "café 😀 \"q\"\n"}, {"b", true}, {"n", nil}, {"l", Reference{"3", 1}}}
	if diff := cmp.Diff(want, g.Nodes[0].Args); diff != "" || g.Nodes[0].Title != "T" {
		t.Error(diff)
	}
	// Requests to ComfyUI's /prompt, links with numbers, wrapped values, NaN.
	g, err = Parse([]byte(`{"client_id": "x", "prompt": {"1": {"class_type": "A", "inputs": {"l": [2, 0], "w": {"__value__": 3}, "changed": [NaN].length}}}}`), NewRegistry())
	if err == nil {
		t.Errorf("broken JSON was read: %v", g)
	}
	g, err = Parse([]byte(`{"prompt": {"1": {"class_type": "A", "inputs": {"l": [2, 0], "w": {"__value__": 3}, "s": "NaN", "x": NaN}}},
		"extra_data": {"extra_pnginfo": {"workflow": {"nodes": []}}}}`), NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	want = []Arg{{"l", Reference{"2", 0}}, {"w", json.Number("3")}, {"s", "NaN"}, {"x", nil}}
	if diff := cmp.Diff(want, g.Nodes[0].Args); diff != "" || g.Source == nil {
		t.Errorf("%s, source %v", diff, g.Source)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                      "line 1 column 1",
		"{\n  \"1\": {]":        "line 2 column",
		`[]`:                    "expected a JSON object of nodes, found a list",
		`{}`:                    "it has no nodes",
		`{"1": 3}`:              "expected an object with class_type and inputs, found the number 3",
		`{"1": {"inputs": {}}}`: "class_type is missing",
		`{"1": {"class_type": "A", "inputs": 3}}`: "inputs should be an object",
		`{"prompt": 3}`:                    "\"prompt\" should be an object",
		strings.Repeat(`{"a":`, 5000):      "nested deeper",
		`{"1": {"class_type": "A"}} extra`: "line 1 column",
	} {
		if _, err := Parse([]byte(text), NewRegistry()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// TestCheckReportsEverything looks for every kind of problem in one error.
func TestCheckReportsEverything(t *testing.T) {
	y := newToys()
	g := y.parse(t, `{
		"1": {"class_type": "Numbr", "inputs": {"value": 3}},
		"2": {"class_type": "Number", "inputs": {"value": 1001, "scale": "much", "minus": "maybe"}},
		"3": {"class_type": "Add", "inputs": {"a": ["9", 0], "b": ["2", 3], "how": "plsu"}},
		"4": {"class_type": "Read", "inputs": {}},
		"8": {"class_type": "Show", "inputs": {"v": [1, 2, 3]}},
		"5": {"class_type": "Add", "inputs": {"a": ["4", 0], "b": 3}},
		"6": {"class_type": "Add", "inputs": {"a": ["7", 0]}},
		"7": {"class_type": "Add", "inputs": {"a": ["6", 0]}},
		"10": {"class_type": "Show", "inputs": {"v": ["3", 0], "color": "red"}},
		"11": {"class_type": "Show", "inputs": {"v": ["5", 0]}},
		"12": {"class_type": "Show", "inputs": {"v": ["6", 0]}},
		"13": {"class_type": "Show", "inputs": {"v": ["1", 0]}},
		"14": {"class_type": "Number", "inputs": {}}
	}`)
	_, err := Check(g, y.Registry)
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`node 1 (Numbr): there is no node of this class; did you mean "Number"?`,
		`node 2 (Number), input value: 1001 is above the largest value allowed, 1000`,
		`node 2 (Number), input scale: expected a value of type FLOAT, found the string "much"`,
		`node 2 (Number), input minus: expected a value of type BOOLEAN`,
		`node 3 (Add), input a: linked to node 9, which is not in the workflow`,
		`node 3 (Add), input b: linked to output 3 of node 2 (Number), which has 1`,
		`node 3 (Add), input how: "plsu" is not available; did you mean "plus"?`,
		`node 4 (Read), input name: required input is missing (the usual value is x)`,
		`node 5 (Add), input a: expected NUMBER, but output 0 of node 4 (Read) is STRING`,
		`node 8 (Show), input v: a list must be a link, [node id, index of output], found [1, 2, 3]`,
		`node 5 (Add), input b: expected a link to a node that outputs NUMBER, found the number 3`,
	} {
		if !slices.ContainsFunc(invalid.Problems, func(p Problem) bool { return strings.HasPrefix(p.String(), want) }) {
			t.Errorf("no problem says %s", want)
		}
	}
	if text := err.Error(); !strings.Contains(text, "6") || !strings.Contains(text, "7") || strings.Contains(text, "node 14") || t.Failed() {
		t.Errorf("the error is\n%s", text)
	}
	if _, err := Check(y.parse(t, `{"1": {"class_type": "Number", "inputs": {"value": 1}}}`), y.Registry); err == nil || !strings.Contains(err.Error(), "no node makes an output") {
		t.Errorf("got %v", err)
	}
}

func TestWarnings(t *testing.T) {
	y := newToys()
	job, err := Check(y.parse(t, `{"1": {"class_type": "Number", "inputs": {"value": 1, "color": "red"}}, "2": {"class_type": "Show", "inputs": {"v": ["1", 0]}},
		"3": {"class_type": "Number", "inputs": {"value": 5000}}}`), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	if len(job.Warnings) != 2 || job.Warnings[0].Input != "color" || job.Warnings[1].Node != "3" {
		t.Errorf("warnings %v", job.Warnings)
	}
}

func TestSet(t *testing.T) {
	y := newToys()
	text := strings.Replace(sum, `"inputs": {"value": 3}`, `"inputs": {"value": 3}, "_meta": {"title": "First"}`, 1)
	for _, test := range []struct{ target, value, want string }{
		{"First.value", "10", "out=12"},
		{"2.scale", "2", "out=11"},
		{"Add.how", "times", "out=6"},
		{"Show.name", "a=b", "a=b=5"},
		{"1.minus", "true", "out=-1"},
	} {
		g := y.parse(t, text)
		if err := g.Set(y.Registry, test.target, test.value); err != nil {
			t.Error(err)
			continue
		}
		if got := y.run(t, NewExecutor(nil), g.String()); got[0] != test.want {
			t.Errorf("%s=%s shows %v, want %s", test.target, test.value, got, test.want)
		}
	}
	for target, want := range map[string]string{
		"value": "expected NODE.INPUT=VALUE", "Number.value": "", "9.value": "9", "1.vlaue": `did you mean "value"?`, "3.a": "the input is a link",
	} {
		if err := y.parse(t, sum).Set(y.Registry, target, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
	if err := y.parse(t, sum).Set(y.Registry, "1.value", "many"); err == nil || !strings.Contains(err.Error(), "INT") {
		t.Errorf("got %v", err)
	}
}

// TestCache changes one thing after another: only what depends on it runs.
func TestCache(t *testing.T) {
	y := newToys()
	x := NewExecutor(nil)
	step := func(what, text, shows string, ran ...string) {
		t.Helper()
		got := y.run(t, x, text)
		if !slices.Equal(got, []string{shows}) || !slices.Equal(y.ran, ran) {
			t.Errorf("%s: shows %v and ran %v, want %s and %v", what, got, y.ran, shows, ran)
		}
	}
	step("first", sum, "out=5", "1", "2", "3", "4")
	step("again", sum, "out=5")
	other := strings.Replace(sum, `"value": 4`, `"value": 6`, 1)
	step("a value", other, "out=6", "2", "3", "4")
	step("an equal value", strings.Replace(other, `"value": 6`, `"value": 6.0`, 1), "out=6")
	step("a default", strings.Replace(other, `"value": 3`, `"value": 3, "minus": false`, 1), "out=6")
	step("the name", strings.Replace(other, `"v": ["3", 0]`, `"v": ["3", 0], "name": "n"`, 1), "n=6", "4")

	const read = `{"1": {"class_type": "Read", "inputs": {"name": "f"}}, "2": {"class_type": "Show", "inputs": {"v": ["1", 0]}}}`
	step("another workflow", read, "out=f1", "1", "2")
	step("the same file", read, "out=f1")
	y.stamp = "2"
	step("a changed file", read, "out=f2", "1", "2")
	step("back", sum, "out=5", "1", "2", "3", "4") // results that are not used are dropped
	x.Clear()
	step("cleared", sum, "out=5", "1", "2", "3", "4")
}

func TestTwoOutputs(t *testing.T) {
	y := newToys()
	two := strings.Replace(sum, `"4":`, `"5": {"class_type": "Show", "inputs": {"v": ["1", 0], "name": "one"}}, "4":`, 1)
	if got := y.run(t, NewExecutor(nil), two); !slices.Equal(got, []string{"one=3", "out=5"}) {
		t.Errorf("shows %v", got)
	}
}

func TestEvents(t *testing.T) {
	y := newToys()
	job, err := Check(y.parse(t, sum), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	observe := ObserverFunc(func(e Event) {
		kinds := map[EventKind]string{NodeStarted: "start", NodeProgress: "progress", NodeDone: "done", NodeCached: "cached", NodeFailed: "failed"}
		got = append(got, kinds[e.Kind]+" "+e.Node.ID)
	})
	x := NewExecutor(nil)
	if _, err := x.Run(t.Context(), job, observe); err != nil {
		t.Fatal(err)
	}
	want := []string{"start 1", "done 1", "start 2", "done 2", "start 3", "done 3", "start 4", "progress 4", "done 4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = nil
	if _, err := x.Run(t.Context(), job, observe); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cached 1", "cached 2", "cached 3", "cached 4"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestPrepare has the node that runs next prepared while one finishes, with
// what is known of its inputs.
func TestPrepare(t *testing.T) {
	y := newToys()
	var mu sync.Mutex
	var prepared []string
	prepare := func(_ context.Context, c *Call) {
		mu.Lock()
		defer mu.Unlock()
		prepared = append(prepared, fmt.Sprintf("%s a=%v b=%v", c.Node.ID, c.Value("a"), c.Value("b")))
	}
	const number = Type("NUMBER")
	y.Register(Schema{Class: "Slow", Inputs: []Input{Link("a", number), Link("b", number).Opt()}, Outputs: []Output{{Type: number}}, Prepare: prepare,
		Run: func(_ context.Context, c *Call) ([]any, error) {
			mu.Lock()
			prepared = append(prepared, "run "+c.Node.ID)
			mu.Unlock()
			c.Finishing()
			c.Finishing()
			return []any{c.Value("a").(float64) + 1}, nil
		}})
	const text = `{
		"1": {"class_type": "Number", "inputs": {"value": 3}},
		"2": {"class_type": "Slow", "inputs": {"a": ["1", 0]}},
		"3": {"class_type": "Slow", "inputs": {"a": ["1", 0], "b": ["2", 0]}},
		"4": {"class_type": "Show", "inputs": {"v": ["3", 0]}}
	}`
	x := NewExecutor(nil)
	if got := y.run(t, x, text); !slices.Equal(got, []string{"out=4"}) {
		t.Errorf("shows %v", got)
	}
	// The result of node 2 is not known while it runs, and after node 3 nothing
	// is to be prepared.
	if want := []string{"run 2", "3 a=3 b=<nil>", "run 3"}; !slices.Equal(prepared, want) {
		t.Errorf("prepared %q, want %q", prepared, want)
	}
	prepared = nil
	y.run(t, x, text)
	if prepared != nil {
		t.Errorf("prepared %q for results that are known", prepared)
	}
}

func TestFailure(t *testing.T) {
	y := newToys()
	x := NewExecutor(nil)
	text := strings.Replace(sum, `{"class_type": "Number", "inputs": {"value": 4, "scale": 0.5}}`, `{"class_type": "Fail", "inputs": {"seed": 18446744073709551615}}`, 1)
	job, err := Check(y.parse(t, text), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Run(t.Context(), job, nil)
	var node *NodeError
	if !errors.As(err, &node) || node.Node != "2" || !errors.Is(err, errBroken) || err.Error() != "node 2 (Fail): it is broken" {
		t.Errorf("got %v", err)
	}
	y.ran = nil
	if _, err := x.Run(t.Context(), job, nil); err == nil || !slices.Equal(y.ran, []string{"2"}) {
		t.Errorf("the second try ran %v: %v; what worked should be kept", y.ran, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	good, err := Check(y.parse(t, sum), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewExecutor(nil).Run(ctx, good, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestRandomGraphs compares random workflows, edited again and again, with
// what they mean.
func TestRandomGraphs(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		y, x := newToys(), NewExecutor(nil)
		type node struct {
			value int // of a Number
			a, b  int // of an Add, indices of nodes; -1 for a Number
			times bool
		}
		nodes := make([]node, 2+r.IntN(10))
		random := func(i int) node {
			if i == 0 || r.IntN(3) == 0 {
				return node{value: r.IntN(9) - 4, a: -1}
			}
			return node{a: r.IntN(i), b: r.IntN(i), times: r.IntN(2) == 0}
		}
		for i := range nodes {
			nodes[i] = random(i)
		}
		for range 8 {
			i := r.IntN(len(nodes))
			nodes[i] = random(i)
			shows := r.IntN(len(nodes))
			var parts []string
			means := make([]float64, len(nodes))
			for i, n := range nodes {
				if n.a < 0 {
					means[i] = float64(n.value)
					parts = append(parts, fmt.Sprintf(`"%d": {"class_type": "Number", "inputs": {"value": %d}}`, i, n.value))
					continue
				}
				how := "plus"
				means[i] = means[n.a] + means[n.b]
				if n.times {
					how, means[i] = "times", means[n.a]*means[n.b]
				}
				parts = append(parts, fmt.Sprintf(`"%d": {"class_type": "Add", "inputs": {"a": ["%d", 0], "b": ["%d", 0], "how": "%s"}}`, i, n.a, n.b, how))
			}
			parts = append(parts, fmt.Sprintf(`"show": {"class_type": "Show", "inputs": {"v": ["%d", 0]}}`, shows))
			r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			if math.Abs(means[shows]) > 1e15 {
				continue
			}
			got := y.run(t, x, "{"+strings.Join(parts, ",")+"}")
			if want := fmt.Sprintf("out=%v", means[shows]); got[0] != want {
				t.Fatalf("shows %v, want %s: %s", got, want, parts)
			}
			if len(y.ran) > len(parts) {
				t.Fatalf("nodes ran more than once: %v", y.ran)
			}
		}
	}
}
