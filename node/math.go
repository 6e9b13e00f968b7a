package node

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/weir-run/weir/expression"
	"github.com/weir-run/weir/workflow"
)

// registerMath registers the node that evaluates formulas.
func registerMath(reg *workflow.Registry, _ *Env) {
	var letters []string
	for c := 'a'; c <= 'z'; c++ {
		letters = append(letters, string(c))
	}
	formula := workflow.String("expression", "a + b")
	formula.Multiline = true
	reg.Register(workflow.Schema{
		Class: "ComfyMathExpression", Name: "Math Expression", Category: "utilities",
		Description: "Evaluates a formula of its inputs, a to z, in the syntax of Python: + - * / // % ** & | ^ ~ << >>, comparisons, and, or, not, if-else, values, sum min max abs round pow sqrt ceil floor log log2 log10 sin cos tan int float.",
		Inputs:      []workflow.Input{formula, workflow.Several("values", workflow.Link("value", "FLOAT,INT,BOOLEAN"), 1, letters...)},
		Outputs:     []workflow.Output{{Type: workflow.TypeFloat, Name: "FLOAT"}, {Type: workflow.TypeInt, Name: "INT"}, {Type: workflow.TypeBool, Name: "BOOL"}},
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			names := map[string]any{}
			var list []any
			for _, in := range c.Several("values") {
				names[strings.TrimPrefix(in.Name, "values.")] = in.Value
				list = append(list, in.Value)
			}
			names["values"] = list
			v, err := expression.Evaluate(c.String("expression"), names)
			if err != nil {
				return nil, fmt.Errorf("input expression: %w", err)
			}
			return ofNumber(v)
		},
	})
}

// ofNumber returns a number as FLOAT, INT and BOOLEAN.
func ofNumber(v any) ([]any, error) {
	f, i := 0.0, new(big.Int)
	switch v := v.(type) {
	case bool:
		if v {
			f, i = 1, big.NewInt(1)
		}
	case *big.Int:
		f, _ = new(big.Float).SetInt(v).Float64()
		i = v
	case float64:
		f = v
		new(big.Float).SetFloat64(v).Int(i)
	}
	if math.IsInf(f, 0) {
		return nil, fmt.Errorf("input expression: the result has %d bits and is too large", i.BitLen())
	}
	out := []any{f, nil, f != 0 || i.Sign() != 0}
	switch {
	case i.IsInt64():
		out[1] = i.Int64()
	case i.IsUint64():
		out[1] = i.Uint64()
	default: // only who takes the INT is wrong
		out[1] = given(nil, fmt.Errorf("the result %.6g is no integer of 64 bits", f))
	}
	return out, nil
}
