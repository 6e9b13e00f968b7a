package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/weir-run/weir/ir"
)

// Uses returns the extents that each operation uses, in the order in which
// operations run.
func (p *Program) Uses() [][]int {
	uses := make([][]int, len(p.Ops))
	for i := range p.Ops {
		uses[i] = p.Ops[i].Extents
	}
	return uses
}

// WeightBytes returns the sum of the sizes of the extents.
func (p *Program) WeightBytes() int64 {
	var n int64
	for _, e := range p.Extents {
		n += e.Bytes
	}
	return n
}

// WriteTable writes a summary of the program for people: its inputs, outputs
// and sizes and how many operations there are of each kind. With ops, a line
// for each operation follows.
func (p *Program) WriteTable(w io.Writer, ops bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "program\t%s\n", p.Name)
	for _, b := range p.Inputs {
		fmt.Fprintf(t, "input\t%s\t%v %v\n", b.Name, b.DType, b.Shape)
	}
	for _, b := range p.Outputs {
		fmt.Fprintf(t, "output\t%s\t%v %v\n", b.Name, b.DType, b.Shape)
	}
	fmt.Fprintf(t, "activations\t%s\tlower bound %s\n", mib(p.Arena), mib(p.LowerBound))
	if p.Regions > 0 {
		fmt.Fprintf(t, "tiled\t%d regions\tin up to %d pieces\n", p.Regions, p.Pieces)
	}
	fmt.Fprintf(t, "weights\t%s\tin %d extents, the largest %s\n", mib(p.WeightBytes()), len(p.Extents), mib(p.largestExtent()))
	fmt.Fprintf(t, "operations\t%d\t%s\n", len(p.Ops), p.kinds())
	if ops {
		fmt.Fprint(t, "\n#\toperation\twhere\toperands\tresult\tsteps\textents\tplace\n")
		for i := range p.Ops {
			op := &p.Ops[i]
			fmt.Fprintf(t, "%d\t%s%s\t%s\t%s\t%v\t%s\t%s\t%d\n", i, op.Kind, op.rows(), op.Name,
				op.operands(), op.Out.Shape, stepNames(op.Steps), list(op.Extents), op.Out.Offset)
		}
	}
	return t.Flush()
}

func (p *Program) largestExtent() int64 {
	var n int64
	for _, e := range p.Extents {
		n = max(n, e.Bytes)
	}
	return n
}

// kinds returns how many operations there are of each kind, the most first.
func (p *Program) kinds() string {
	count := map[ir.Kind]int{}
	var kinds []ir.Kind
	for i := range p.Ops {
		if k := p.Ops[i].Kind; count[k] == 0 {
			kinds = append(kinds, k)
		}
		count[p.Ops[i].Kind]++
	}
	slices.SortFunc(kinds, func(a, b ir.Kind) int { return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b)) })
	var words []string
	for _, k := range kinds {
		words = append(words, fmt.Sprintf("%d %s", count[k], k))
	}
	return strings.Join(words, ", ")
}

// rows returns the tile of rows of an operation that has one.
func (op *Op) rows() string {
	if op.Attrs.RowTo == 0 {
		return ""
	}
	return fmt.Sprintf("[%d:%d]", op.Attrs.RowFrom, op.Attrs.RowTo)
}

// operands returns the shapes and the names of what an operation reads.
func (op *Op) operands() string {
	var words []string
	for i, arg := range op.Args {
		switch {
		case isStepOperand(op.Steps, i):
		case arg.Extent >= 0:
			words = append(words, fmt.Sprintf("%s %v", arg.DType, arg.Shape))
		default:
			words = append(words, fmt.Sprint(arg.Shape))
		}
	}
	return strings.Join(words, " ")
}

func stepNames(steps []ir.Step) string {
	var words []string
	for _, s := range steps {
		words = append(words, s.Func.String())
	}
	return strings.Join(words, " ")
}

// list returns numbers as text, a run of consecutive ones by its ends.
func list(n []int) string {
	var words []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if j > i {
			words = append(words, fmt.Sprintf("%d-%d", n[i], n[j]))
		} else {
			words = append(words, fmt.Sprint(n[i]))
		}
		i = j + 1
	}
	return strings.Join(words, ",")
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// MarshalJSON writes the operation with its kind, where it is in the model, its
// constants, steps and operands.
func (op Op) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind    ir.Kind
		Name    string
		Attrs   ir.Attrs
		Steps   []ir.Step `json:",omitempty"`
		Out     Operand
		Args    []Operand
		Extents []int `json:",omitempty"`
	}{op.Kind, op.Name, op.Attrs, op.Steps, op.Out, op.Args, op.Extents})
}

// MarshalJSON writes the operand with the name of its dtype, and its extent and
// part if it is a weight.
func (o Operand) MarshalJSON() ([]byte, error) {
	type at struct{ Extent, Part int }
	v := struct {
		Weight  string `json:",omitempty"`
		*at     `json:",omitempty"`
		Offset  int64
		Skip    int `json:",omitempty"`
		DType   string
		Shape   ir.Shape
		Strides []int
	}{o.Name, nil, o.Offset, o.Skip, o.DType.String(), o.Shape, o.Strides}
	if o.Extent >= 0 {
		v.at = &at{o.Extent, o.Part}
	}
	return json.Marshal(v)
}

// MarshalJSON writes the binding with the name of its dtype.
func (b Binding) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name          string
		Offset, Bytes int64
		DType         string
		Shape         ir.Shape
	}{b.Name, b.Offset, b.Bytes, b.DType.String(), b.Shape})
}
