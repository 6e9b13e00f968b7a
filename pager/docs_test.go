package pager_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocs compares docs/pager.md with the example: the code on the page is
// literally the example's, and what it says is printed is what is.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/pager.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	example := string(source)
	_, output, _ := strings.Cut(example, "// Output:\n")
	output = strings.TrimSuffix(strings.ReplaceAll(output, "\t// ", ""), "}\n")
	if output == "" || !strings.Contains(string(page), "```\n"+output+"```\n") {
		t.Errorf("the page does not show what the example prints:\n%s", output)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("the page has no code")
	}
	for _, b := range blocks {
		code, _, closed := strings.Cut(b, "```\n")
		if !closed || !strings.Contains(example, code) {
			t.Errorf("this code of the page is not in example_test.go:\n%s", code)
		}
	}
}
