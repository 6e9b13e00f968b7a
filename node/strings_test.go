package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
)

// TestStringNodes compares with ComfyUI's nodes.
func TestStringNodes(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(golden.Dir(), "texts.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases [][3]json.RawMessage
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 1000 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		var class string
		var want any
		for i, to := range []any{&class, nil, &want} {
			if to == nil {
				continue
			}
			if err := json.Unmarshal(c[i], to); err != nil {
				t.Fatal(err)
			}
		}
		got, err := evaluate(t, fmt.Sprintf(`"x": {"class_type": %q, "inputs": %s}`, class, c[1]))
		switch {
		case err != nil && want == nil:
			if !strings.Contains(err.Error(), "input ") {
				t.Errorf("%s %s: the error names no input: %v", class, c[1], err)
			}
		case err != nil:
			t.Errorf("%s %s: %v, want %q", class, c[1], err, want)
		case want == nil && class == "RegexExtract": // a group that did not match is None, here an empty text
		case fmt.Sprint(got[0]) != fmt.Sprint(want):
			t.Errorf("%s %s: %q, want %q", class, c[1], got[0], want)
		}
	}
}

// TestPatternThatTakesLong ends all the same, with the reason.
func TestPatternThatTakesLong(t *testing.T) {
	_, err := evaluate(t, `"x": {"class_type": "RegexMatch", "inputs": {"string": "`+strings.Repeat("a", 60)+`!", "regex_pattern": "^(a+)+$", "case_insensitive": true, "multiline": false, "dotall": false}}`)
	if err == nil || !strings.Contains(err.Error(), "was given up") {
		t.Errorf("got %v", err)
	}
}
