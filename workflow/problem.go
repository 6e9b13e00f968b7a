package workflow

import (
	"fmt"
	"slices"
	"strconv"
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

// String returns the problem with its place in front, in one line that holds no
// control characters.
func (p Problem) String() string {
	var b strings.Builder
	if p.Node != "" {
		fmt.Fprintf(&b, "node %s", clip(p.Node))
		if p.Class != "" {
			fmt.Fprintf(&b, " (%s)", clip(p.Class))
		}
		if p.Input != "" {
			fmt.Fprintf(&b, ", input %s", clip(p.Input))
		}
		b.WriteString(": ")
	}
	b.WriteString(fault.Line(p.Message, maxMessage))
	return b.String()
}

// Invalid is the error of a workflow that cannot run, with every reason: the
// first thousand, and how many come after them.
type Invalid struct {
	Problems []Problem
	Omitted  int
}

// Unwrap says that the error is one of the workflow.
func (e *Invalid) Unwrap() error { return errInvalid }

var errInvalid = fault.New(fault.Workflow, "the workflow is not valid")

// Limits of what is kept and told of a workflow, whose size a stranger decides.
const (
	maxProblems = 1000 // problems that are kept
	maxTold     = 20   // things that one message lists
	maxScreen   = 4000 // bytes after which a message lists nothing more
	maxMessage  = 1000 // characters of one thing in a message
	maxName     = 200  // characters of a name in a message
)

// keep appends problems up to the number that is kept and counts the others.
func keep(kept []Problem, omitted int, more []Problem) ([]Problem, int) {
	room := max(0, min(maxProblems-len(kept), len(more)))
	return append(kept, more[:room]...), omitted + len(more) - room
}

// Error lists the problems, one on each line, and counts those beyond a
// screenful.
func (e *Invalid) Error() string {
	if len(e.Problems) == 1 && e.Omitted == 0 {
		return "the workflow is not valid: " + e.Problems[0].String()
	}
	return fmt.Sprintf("the workflow is not valid, %s problems:%s", fault.Count(len(e.Problems)+e.Omitted), List(e.Problems, e.Omitted))
}

// List writes problems as lines of their own, at most some twenty, and counts
// those that are not listed and those that were omitted before.
func List(problems []Problem, omitted int) string {
	var b strings.Builder
	told := 0
	for ; told < len(problems) && told < maxTold && b.Len() < maxScreen; told++ {
		b.WriteString("\n  " + problems[told].String())
	}
	if more := len(problems) - told + omitted; more > 0 {
		fmt.Fprintf(&b, "\n  and %s more", fault.Count(more))
	}
	return b.String()
}

// clip returns a name as messages show it.
func clip(s string) string { return fault.Line(s, maxName) }

// quote quotes a string for a message and shortens a long one.
func quote(s string) string {
	const most = 60
	return strconv.Quote(fault.Cut(s, most))
}

// NodeError is the error of a node that failed while it ran.
type NodeError struct {
	Node  string
	Class string
	Err   error
}

// Error names the node in front of the node's own error.
func (e *NodeError) Error() string {
	lines := strings.Split(e.Err.Error(), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "node %s (%s): %s", clip(e.Node), clip(e.Class), fault.Line(lines[0], maxMessage))
	told := 1
	for ; told < len(lines) && told < maxTold && b.Len() < maxScreen; told++ {
		b.WriteString("\n" + fault.Line(lines[told], maxMessage))
	}
	if more := len(lines) - told; more > 0 {
		fmt.Fprintf(&b, "\n  and %s more lines", fault.Count(more))
	}
	return b.String()
}

// Unwrap returns the node's own error.
func (e *NodeError) Unwrap() error { return e.Err }

// maxFile is longer than any name of a file.
const maxFile = 255

// maxCompared bounds the pairs of characters that are compared for a hint.
const maxCompared = 100 << 20

// closest returns a question that names the candidates most like a name, with a
// space after it, or nothing.
func closest(name string, candidates []string) string {
	type scored struct {
		name     string
		distance int
	}
	var close []scored
	work := 0
	for _, c := range candidates {
		if len(name) > maxFile || len(c) > maxFile {
			continue // no name of a file, and slow to compare
		}
		if work += len(name) * len(c); work > maxCompared {
			break
		}
		d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(c))
		if d <= max(2, len(name)/3) {
			close = append(close, scored{c, d})
		}
	}
	if len(close) == 0 {
		return ""
	}
	slices.SortStableFunc(close, func(a, b scored) int { return a.distance - b.distance })
	var names []string
	for _, s := range close[:min(3, len(close))] {
		names = append(names, quote(s.name))
	}
	return "did you mean " + strings.Join(names, " or ") + "? "
}

// near returns a hint that names the candidates most like a name, or else the
// first few there are.
func near(name string, candidates []string) string {
	if len(candidates) == 0 {
		return "there are none"
	}
	if hint := closest(name, candidates); hint != "" {
		return strings.TrimSpace(hint)
	}
	const most = 12
	var names []string
	for _, c := range candidates[:min(most, len(candidates))] {
		names = append(names, clip(c))
	}
	list := strings.Join(names, ", ")
	if len(candidates) > most {
		list += fmt.Sprintf(" and %s more", fault.Count(len(candidates)-most))
	}
	return "there are: " + list
}
