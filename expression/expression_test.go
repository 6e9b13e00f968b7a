package expression

import (
	"encoding/json"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/golden"
)

// refused are formulas that ComfyUI evaluates: attributes of numbers.
var refused = map[string]bool{"a.real": true}

// TestEvaluate compares with ComfyUI's node.
func TestEvaluate(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(golden.Dir(), "expressions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases [][3]json.RawMessage
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 500 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		var text string
		var values map[string]json.Number
		var want []any
		for i, to := range []any{&text, &values, &want} {
			d := json.NewDecoder(strings.NewReader(string(c[i])))
			d.UseNumber()
			if err := d.Decode(to); err != nil {
				t.Fatal(err)
			}
		}
		names := map[string]any{}
		var list []any
		for _, name := range []string{"a", "b", "c"} {
			if i, err := values[name].Int64(); err == nil {
				names[name] = i
			} else {
				names[name], _ = values[name].Float64()
			}
			list = append(list, names[name])
		}
		names["values"] = list
		got, err := Evaluate(text, names)
		if err != nil {
			if want != nil && !refused[text] {
				t.Errorf("%s of %v: %v, want %v", text, values, err, want)
			}
			if fault.Of(err) != fault.Workflow {
				t.Errorf("%s: the error %v is of kind %v", text, err, fault.Of(err))
			}
			continue
		}
		if want == nil {
			// Numbers that are too large for a FLOAT are the node's to refuse.
			if i, ok := got.(*big.Int); !ok || i.BitLen() <= 1024 {
				t.Errorf("%s of %v is %v, want an error", text, values, got)
			}
			continue
		}
		f, _ := want[0].(json.Number).Float64()
		g := got
		if b, ok := got.(bool); ok {
			g = map[bool]float64{false: 0, true: 1}[b]
		}
		if math.Abs(float(g)-f) > 1e-15*math.Abs(f) || truth(got) != want[2].(bool) {
			t.Errorf("%s of %v is %v, want %v", text, values, got, want)
		}
		if i, ok := got.(*big.Int); ok && want[1] != nil && i.String() != want[1].(json.Number).String() {
			t.Errorf("%s of %v is %v, want %v", text, values, got, want[1])
		}
	}
}

func TestHostile(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "the expression is empty",
		strings.Repeat("(", 200) + "1":    "nested deeper",
		strings.Repeat("-", 200) + "1":    "nested deeper",
		strings.Repeat("not ", 200) + "1": "nested deeper",
		strings.Repeat("1+", 6000) + "1":  "the most are 10000",
		"9**9**9":                         "more than 65536 bits",
		"(2**65000)*(2**65000)":           "more than 65536 bits",
		"1<<10000<<10000<<10000<<10000<<10000<<10000<<10000": "more than 65536 bits",
		"a":               `the name "a" is not defined`,
		"round(1, 10**9)": "the most are 1000",
		"$":               `'$' at place 1 is not understood`,
		"ä":               `'ä' at place 1 is not understood`,
		"int(1e999)":      "is no integer",
		"1e999":           "not finite",
		"0x":              `"0x" is no number`,
	} {
		if _, err := Evaluate(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", text, err, want)
		}
	}
}

func FuzzEvaluate(f *testing.F) {
	for _, text := range []string{"a*b+1", "max(a, 5) if a in values else -2**3 // 7", "round(2.5, 1) << 3 & ~7 != 0x1f", "not (1 < values[0] <= 1e3)"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Evaluate(text, map[string]any{"a": int64(7), "b": 1.5, "values": []any{int64(7), 1.5}})
		if (v == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	})
}
