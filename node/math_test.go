package node

import (
	"fmt"
	"strings"
	"testing"
)

func TestMathExpression(t *testing.T) {
	values := value("i", "Int", "2049") + value("f", "Float", "1.5") + value("b", "Boolean", "true") + value("s", "String", `"7"`)
	for inputs, want := range map[string]string{
		`"expression": "a * b + 1", "values.a": ["i", 0], "values.b": ["f", 0]`:   "[3074.5 3074 true]",
		`"expression": "a > 2048", "values.a": ["i", 0]`:                          "[1 1 true]",
		`"expression": "sum(values)", "values.a": ["i", 0], "values.c": ["b", 0]`: "[2050 2050 true]",
		`"expression": "a - 2049", "values.a": ["i", 0]`:                          "[0 0 false]",
		`"expression": "2 ** 63", "values.a": ["i", 0]`:                           "9223372036854775808 true]",
		`"expression": "a / 0", "values.a": ["i", 0]`:                             "node x (ComfyMathExpression): input expression: division by zero",
		`"expression": "2 ** 1024", "values.a": ["i", 0]`:                         "the result has 1025 bits and is too large",
		`"expression": "b", "values.a": ["i", 0]`:                                 `the name "b" is not defined`,
		`"expression": "b"`:                       "input values.a: required input is missing",
		`"expression": "a", "values.a": ["s", 0]`: "expected FLOAT,INT,BOOLEAN, but output 0 of node s (PrimitiveString) is STRING",
	} {
		got, err := evaluate(t, `"x": {"class_type": "ComfyMathExpression", "inputs": {`+inputs+`}}`+values)
		if text := fmt.Sprint(got, err); !strings.Contains(text, want) {
			t.Errorf("%s\n%s, want %s", inputs, text, want)
		}
	}
	// An integer that does not fit is an error of who takes it.
	_, err := evaluate(t, `"x": {"class_type": "PrimitiveInt", "inputs": {"value": ["m", 1]}}, "m": {"class_type": "ComfyMathExpression", "inputs": {"expression": "2 ** 64", "values.a": ["i", 0]}}`+values)
	if err == nil || !strings.Contains(err.Error(), "input value: the result 1.84467e+19 is no integer of 64 bits") {
		t.Errorf("got %v", err)
	}
}
