package workflow

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
)

// twoOutputs has two output nodes, 4 and 5, of which one part differs.
func twoOutputs(part string) string {
	return `{
		"1": {"class_type": "Number", "inputs": {"value": 3}},
		"2": ` + part + `,
		"3": {"class_type": "Add", "inputs": {"a": ["1", 0], "b": ["2", 0]}},
		"4": {"class_type": "Show", "inputs": {"v": ["3", 0], "name": "sum"}},
		"5": {"class_type": "Show", "inputs": {"v": ["1", 0], "name": "one"}}
	}`
}

// TestOutputsThatCanRunDo checks graphs with one output that cannot run, each
// for another reason: the other one runs.
func TestOutputsThatCanRunDo(t *testing.T) {
	for name, part := range map[string]string{
		"unknown class": `{"class_type": "Numbr", "inputs": {}}`,
		"missing input": `{"class_type": "Number", "inputs": {}}`,
		"wrong value":   `{"class_type": "Number", "inputs": {"value": 5000}}`,
		"wrong type":    `{"class_type": "Read", "inputs": {"name": "x"}}`,
		"missing node":  `{"class_type": "Add", "inputs": {"a": ["77", 0]}}`,
		"cycle":         `{"class_type": "Add", "inputs": {"a": ["3", 0]}}`,
		"self":          `{"class_type": "Add", "inputs": {"a": ["2", 0]}}`,
	} {
		y := newToys()
		job, err := Check(y.parse(t, twoOutputs(part)), y.Registry)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(job.Skipped) != 1 || job.Skipped[0].ID != "4" || len(job.Problems) == 0 {
			t.Errorf("%s: skipped %v for %v", name, job.Skipped, job.Problems)
		}
		result, err := NewExecutor(nil).Run(t.Context(), job, nil)
		if err != nil || !slices.Equal(shown(result), []string{"one=3"}) || !slices.Equal(y.ran, []string{"1", "5"}) {
			t.Errorf("%s: shows %v and ran %v: %v", name, shown(result), y.ran, err)
		}
	}
}

// TestOutputsAfterAFailure runs what does not need a node that fails.
func TestOutputsAfterAFailure(t *testing.T) {
	y := newToys()
	job, err := Check(y.parse(t, twoOutputs(`{"class_type": "Fail", "inputs": {"seed": 1}}`)), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	x := NewExecutor(nil)
	result, err := x.Run(t.Context(), job, nil)
	var node *NodeError
	if !errors.As(err, &node) || node.Node != "2" || fault.Of(err) != fault.Workflow {
		t.Errorf("got %v of kind %q", err, fault.Of(err))
	}
	if !slices.Equal(shown(result), []string{"one=3"}) || slices.Contains(y.ran, "3") {
		t.Errorf("shows %v and ran %v", shown(result), y.ran)
	}
}

// TestPanicIsTheNodesError has nodes panic in each of their functions.
func TestPanicIsTheNodesError(t *testing.T) {
	broken := func() { panic("negative shift amount") }
	for where, schema := range map[string]Schema{
		"Run":     {Run: func(context.Context, *Call) ([]any, error) { broken(); return nil, nil }},
		"outputs": {Run: func(context.Context, *Call) ([]any, error) { return nil, nil }},
		"Changed": {
			Run:     func(context.Context, *Call) ([]any, error) { return []any{1.0}, nil },
			Changed: func(context.Context, *Call) (string, error) { broken(); return "", nil },
		},
	} {
		y := newToys()
		schema.Class, schema.Outputs = "Broken", []Output{{Type: "NUMBER"}}
		y.Register(schema)
		job, err := Check(y.parse(t, twoOutputs(`{"class_type": "Broken", "inputs": {}}`)), y.Registry)
		if err != nil {
			t.Fatal(err)
		}
		result, err := NewExecutor(nil).Run(t.Context(), job, nil)
		if fault.Of(err) != fault.Internal || !strings.HasPrefix(err.Error(), "node 2 (Broken): ") || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("%s: got %v of kind %q", where, err, fault.Of(err))
		}
		if !slices.Equal(shown(result), []string{"one=3"}) {
			t.Errorf("%s: shows %v", where, shown(result))
		}
	}
	// What prepares a node may fail without a word: the node itself says it.
	y := newToys()
	y.Register(Schema{Class: "Slow", Inputs: []Input{Link("a", "NUMBER")}, Outputs: []Output{{Type: "NUMBER"}},
		Prepare: func(context.Context, *Call) { broken() },
		Run: func(_ context.Context, c *Call) ([]any, error) {
			c.Finishing()
			return []any{c.Value("a")}, nil
		}})
	if got := y.run(t, NewExecutor(nil), `{"1": {"class_type": "Number", "inputs": {"value": 3}}, "2": {"class_type": "Slow", "inputs": {"a": ["1", 0]}},
		"3": {"class_type": "Slow", "inputs": {"a": ["2", 0]}}, "4": {"class_type": "Show", "inputs": {"v": ["3", 0]}}}`); !slices.Equal(got, []string{"out=3"}) {
		t.Errorf("shows %v", got)
	}
}

// A purse is a memory of so many bytes.
type purse struct{ free, least int64 }

func (p *purse) Claim(_ context.Context, n int64) error {
	if n > p.free {
		return fault.New(fault.Memory, "%d bytes are asked for, %d are free", n, p.free)
	}
	p.free -= n
	p.least = min(p.least, p.free)
	return nil
}

// A block is a result of so many bytes.
type block int64

func (b *block) Size() int64 { return int64(*b) }

// TestMemoryOfResults runs a chain of nodes that each hold 10 bytes and take 5
// more while they run.
func TestMemoryOfResults(t *testing.T) {
	chain := func(y *toys, text string) *Job {
		y.Register(Schema{Class: "Block", Inputs: []Input{Link("a", "BLOCK").Opt(), Bool("same", false).Opt()}, Outputs: []Output{{Type: "BLOCK"}},
			Run: func(ctx context.Context, c *Call) ([]any, error) {
				if c.Bool("same") {
					return []any{c.Value("a")}, nil
				}
				if err := c.Need(ctx, 15); err != nil {
					return nil, err
				}
				b := block(10)
				return []any{&b}, nil
			}})
		job, err := Check(y.parse(t, text), y.Registry)
		if err != nil {
			t.Fatal(err)
		}
		return job
	}
	const text = `{
		"1": {"class_type": "Block", "inputs": {}},
		"2": {"class_type": "Block", "inputs": {"a": ["1", 0]}},
		"3": {"class_type": "Block", "inputs": {"a": ["2", 0], "same": true}},
		"4": {"class_type": "Block", "inputs": {"a": ["3", 0]}},
		"5": {"class_type": "Show", "inputs": {"v": ["4", 0]}}
	}`
	run := func(free int64) (*purse, *Executor, error) {
		p := &purse{free, free}
		x := NewExecutor(p)
		_, err := x.Run(t.Context(), chain(newToys(), text), nil)
		return p, x, err
	}
	// All stay in memory when there is enough; a result that is an input too counts as any other.
	p, x, err := run(100)
	if err != nil || p.free != 60 || p.least != 55 {
		t.Errorf("%d bytes are free, %d at least: %v", p.free, p.least, err)
	}
	x.Clear()
	if p.free != 100 {
		t.Errorf("%d bytes are free without results", p.free)
	}
	// One that is needed and one that is made fit: the others make way.
	if p, x, err = run(25); err != nil || p.least < 0 {
		t.Errorf("%d bytes are free at least: %v", p.least, err)
	}
	x.Clear()
	if p.free != 25 {
		t.Errorf("%d bytes are free without results", p.free)
	}
	p, x, err = run(24)
	var node *NodeError
	if fault.Of(err) != fault.Memory || !errors.As(err, &node) || node.Node != "2" {
		t.Errorf("got %v", err)
	}
	x.Clear()
	if p.free != 24 {
		t.Errorf("%d bytes are free after a failure", p.free)
	}
}
