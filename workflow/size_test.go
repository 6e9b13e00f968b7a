package workflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weir-run/weir/fault"
)

// within fails a test whose work takes far longer than work of the order
// n log n could.
func within(t *testing.T, f func()) {
	t.Helper()
	stop := time.AfterFunc(3*time.Minute, func() { panic(t.Name() + ": it takes more than n log n") })
	defer stop.Stop()
	f()
}

// short fails for an error that does not fit a screen or holds characters that
// steer a terminal.
func short(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if lines := strings.Count(text, "\n"); lines > 30 || utf8.RuneCountInString(text) > maxScreen+6*maxMessage {
		t.Errorf("an error of %d bytes and %d lines: %.500s", len(text), lines, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
		t.Errorf("a control character in %.500q", text)
	}
}

// chain writes nodes 1 to n, each of which adds its predecessor to itself.
func chain(n int, first string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"0": %s`, first)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, `, "%d": {"class_type": "Add", "inputs": {"a": ["%d", 0]}}`, i, i-1)
	}
	fmt.Fprintf(&b, `, "out": {"class_type": "Show", "inputs": {"v": ["%d", 0]}}}`, n)
	return b.String()
}

const number3 = `{"class_type": "Number", "inputs": {"value": 3}}`

func TestLongChains(t *testing.T) {
	y := newToys()
	y.Register(Schema{Class: "Late", Inputs: []Input{Link("a", "NUMBER")}, Outputs: []Output{{Type: "NUMBER"}},
		Run: func(_ context.Context, c *Call) ([]any, error) { c.Finishing(); return []any{c.Value("a")}, nil }})
	within(t, func() {
		if got := y.run(t, NewExecutor(nil), strings.ReplaceAll(chain(20_000, number3), `"Add"`, `"Late"`)); got[0] != "out=3" {
			t.Errorf("shows %v", got)
		}
	})
	within(t, func() {
		g := y.parse(t, chain(50_000, `{"class_type": "Missing", "inputs": {}}`))
		_, err := Check(g, y.Registry)
		if err == nil || fault.Of(err) != fault.Workflow || !strings.Contains(err.Error(), "Missing") {
			t.Fatalf("got %v", err)
		}
		short(t, err)
	})
}

// TestCycles has cycles whose length and number are those of the file.
func TestCycles(t *testing.T) {
	y := newToys()
	long := chain(20_000, `{"class_type": "Add", "inputs": {"a": ["20000", 0]}}`)
	var many strings.Builder // every node needs the 40 before it and the 40 after it
	many.WriteString("{")
	for i := range 2000 {
		fmt.Fprintf(&many, `"%d": {"class_type": "Unknown", "inputs": {`, i)
		for k := -40; k <= 40; k++ {
			fmt.Fprintf(&many, `"i%d": ["%d", 0], `, k, (i+k+2000)%2000)
		}
		many.WriteString(`"z": 1}}, `)
	}
	many.WriteString(`"out": {"class_type": "Show", "inputs": {"v": ["5", 0]}}}`)
	for name, text := range map[string]string{
		"long": long, "many": many.String(), "itself": `{"1": {"class_type": "Add", "inputs": {"a": ["1", 0]}}, "2": {"class_type": "Show", "inputs": {"v": ["1", 0]}}}`,
	} {
		within(t, func() {
			_, err := Check(y.parse(t, text), y.Registry)
			if err == nil || !strings.Contains(err.Error(), "the node needs its own result") {
				t.Fatalf("%s: %v", name, err)
			}
			short(t, err)
			if name == "long" && !strings.Contains(err.Error(), "and 19,993 more") {
				t.Errorf("the length is not told: %v", err)
			}
		})
	}
}

// TestManyProblems has more to say than a screen or the memory holds.
func TestManyProblems(t *testing.T) {
	y := newToys()
	var classes, inputs, long strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&classes, `"%d": {"class_type": "Unknown%d", "inputs": {"a": ["%d", 0]}}, `, i, i, i+1)
		fmt.Fprintf(&inputs, `"i%d": 1, `, i)
	}
	name := strings.Repeat("\x1b[31mx", 500_000)
	escaped := strings.ReplaceAll(name, "\x1b", `\u001b`)
	fmt.Fprintf(&long, `{"%[1]s": {"class_type": "%[1]s", "inputs": {"%[1]s": 1}}, "2": {"class_type": "Show", "inputs": {"v": ["%[1]s", 0], "%[1]s": "%[1]s"}},
		"3": {"class_type": "Add", "inputs": {"a": ["nothing%[1]s", 0], "how": "%[1]s"}}, "4": {"class_type": "Show", "inputs": {"v": ["3", 0], "name": 1}}}`, escaped)
	for what, text := range map[string]string{
		"classes": `{` + classes.String() + `"20000": ` + number3 + `, "out": {"class_type": "Show", "inputs": {"v": ["0", 0]}}}`,
		"inputs":  `{"1": {"class_type": "Number", "inputs": {` + inputs.String() + `"value": 5000}}, "out": {"class_type": "Show", "inputs": {"v": ["1", 0]}}}`,
		"names":   long.String(),
	} {
		within(t, func() {
			_, err := Check(y.parse(t, text), y.Registry)
			var invalid *Invalid
			if !errors.As(err, &invalid) {
				t.Fatalf("%s: %v", what, err)
			}
			short(t, err)
			if what == "classes" && (invalid.Omitted != 19_000 || !strings.Contains(err.Error(), "20,000 problems") || !strings.Contains(err.Error(), "and 19,980 more")) {
				t.Errorf("%d omitted: %v", invalid.Omitted, err)
			}
		})
	}
	g := y.parse(t, long.String())
	for _, target := range []string{name + ".x", "2." + name, name, "nothing.x", "Show.name"} {
		if err := g.Set(y.Registry, target, name); err != nil {
			short(t, err)
		}
	}
	failed := &NodeError{name, name, errors.New(name + strings.Repeat("\n"+name, 30))}
	short(t, failed)
	short(t, errors.New((&Node{ID: name, Class: name, Title: name}).Label()))
	if _, err := Parse([]byte(`{"1": {"class_type": "A", "inputs": {"x": [1, "`+escaped+`", 3]}}, "`+escaped+`": {"class_type": "A", "inputs": 3}}`), y.Registry); err == nil {
		t.Error("a list is not a link")
	} else {
		short(t, err)
	}
}

// TestManyFailures has more nodes that fail than a screen holds.
func TestManyFailures(t *testing.T) {
	y := newToys()
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, `"%d": {"class_type": "Fail", "inputs": {"seed": %d}}, "s%d": {"class_type": "Show", "inputs": {"v": ["%d", 0]}}, `, i, i, i, i)
	}
	job, err := Check(y.parse(t, `{`+b.String()+`"out": {"class_type": "Show", "inputs": {"v": ["0", 0]}}}`), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewExecutor(nil).Run(t.Context(), job, nil)
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "and 1,980 more nodes") {
		t.Fatalf("got %v", err)
	}
	short(t, err)
}

// TestWarningsAreBounded keeps what is told of a node with more inputs than its
// class.
func TestWarningsAreBounded(t *testing.T) {
	y := newToys()
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, `"%d": {"class_type": "Number", "inputs": {"value": 1, "coulor": 1, "vlaue": 2}}, `, i)
	}
	job, err := Check(y.parse(t, `{`+b.String()+`"out": {"class_type": "Show", "inputs": {"v": ["0", 0]}}}`), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	if len(job.Warnings) != maxProblems || job.MoreWarnings != 60_000-1-maxProblems {
		t.Errorf("%d warnings and %d more", len(job.Warnings), job.MoreWarnings)
	}
	if got := job.Warnings[1].String(); got != `node 0 (Number), input vlaue: the class has no such input; did you mean "value"? it is ignored` {
		t.Errorf("the warning is %s", got)
	}
	if text := List(job.Warnings, job.MoreWarnings); strings.Count(text, "\n") != maxTold+1 || !strings.HasSuffix(text, "and 59,979 more") {
		t.Errorf("told as %s", text)
	}
}
