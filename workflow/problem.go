package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/weir-run/weir/fault"
)

// A Problem is one thing that is wrong with a workflow.
type Problem struct {
	Node    string // id; "" when the whole workflow is meant
	Class   string // "" when it is not known
	Input   string // "" when the whole node is meant
	Message string
}

// String returns the problem with its place in front.
func (p Problem) String() string {
	var b strings.Builder
	if p.Node != "" {
		fmt.Fprintf(&b, "node %s", p.Node)
		if p.Class != "" {
			fmt.Fprintf(&b, " (%s)", p.Class)
		}
		if p.Input != "" {
			fmt.Fprintf(&b, ", input %s", p.Input)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Invalid is the error of a workflow that cannot run, with every reason.
type Invalid struct {
	Problems []Problem
}

// Unwrap says that the error is one of the workflow.
func (e *Invalid) Unwrap() error { return errInvalid }

var errInvalid = fault.New(fault.Workflow, "the workflow is not valid")

// Error lists the problems, one on each line.
func (e *Invalid) Error() string {
	if len(e.Problems) == 1 {
		return "the workflow is not valid: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the workflow is not valid, %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// NodeError is the error of a node that failed while it ran.
type NodeError struct {
	Node  string
	Class string
	Err   error
}

func (e *NodeError) Error() string { return fmt.Sprintf("node %s (%s): %v", e.Node, e.Class, e.Err) }

// Unwrap returns the node's own error.
func (e *NodeError) Unwrap() error { return e.Err }

// maxName is longer than any name of a file.
const maxName = 255

// near returns a hint that names the candidates most like a name, or else the
// first few there are.
func near(name string, candidates []string) string {
	type scored struct {
		name     string
		distance int
	}
	var close []scored
	for _, c := range candidates {
		if len(name) > maxName || len(c) > maxName {
			continue // no name of a file, and slow to compare
		}
		d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(c))
		if d <= max(2, len(name)/3) {
			close = append(close, scored{c, d})
		}
	}
	slices.SortStableFunc(close, func(a, b scored) int { return a.distance - b.distance })
	switch {
	case len(candidates) == 0:
		return "there are none"
	case len(close) > 0:
		var names []string
		for _, s := range close[:min(3, len(close))] {
			names = append(names, quote(s.name))
		}
		return "did you mean " + strings.Join(names, " or ") + "?"
	}
	const most = 12
	list := strings.Join(candidates[:min(most, len(candidates))], ", ")
	if len(candidates) > most {
		list += fmt.Sprintf(" and %d more", len(candidates)-most)
	}
	return "there are: " + list
}
