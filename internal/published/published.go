// Package published has the names and shapes of the tensors of published models
// for tests, as the script testdata/golden/published.py wrote them.
package published

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// Tensors returns the tensors of a model as bfloat16 without bytes, with a
// prefix before each name. It fails the test unless there are as many tensors
// and parameters as the script counted.
func Tensors(t testing.TB, model, prefix string) eval.Weights {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(golden.Dir(), "published.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n\n") {
		if head, body, _ := strings.Cut(section, "\n"); strings.HasPrefix(head, model+" ") {
			return parse(t, head, body, prefix)
		}
	}
	t.Fatalf("published.txt has no model %s", model)
	return nil
}

// parse reads a section: its head is "model tensors parameters".
func parse(t testing.TB, head, body, prefix string) eval.Weights {
	t.Helper()
	w, parameters := eval.Weights{}, 0
	for line := range strings.Lines(body) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		var shape []int
		if err := json.Unmarshal([]byte(text), &shape); err != nil {
			t.Fatalf("published.txt: %q: %v", line, err)
		}
		for _, name := range expand(t, name) {
			x := eval.Weight{DType: dtype.BF16, Shape: shape}
			w[prefix+name] = x
			parameters += x.Shape.Elems()
		}
	}
	if got := fmt.Sprintf("%s %d %d", strings.Fields(head)[0], len(w), parameters); got != head {
		t.Fatalf("published.txt has %q, and its head says %q", got, head)
	}
	return w
}

// expand returns the names that one with a number of blocks in braces stands for.
func expand(t testing.TB, name string) []string {
	before, rest, ok := strings.Cut(name, "{")
	if !ok {
		return []string{name}
	}
	number, after, _ := strings.Cut(rest, "}")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("published.txt: %q: %v", name, err)
	}
	names := make([]string, n)
	for i := range names {
		names[i] = before + strconv.Itoa(i) + after
	}
	return names
}

// Complete fails the test for every tensor of w that no network reads.
func Complete(t testing.TB, w eval.Weights, audit *nn.Audit) {
	t.Helper()
	if err := audit.Err(); err != nil {
		t.Error(err)
	}
	for _, name := range w.Names() {
		if _, ok := audit.Reads[name]; !ok {
			t.Errorf("no network reads %s %v", name, w[name].Shape)
		}
	}
}

// Layers fails the test for every matrix of w that is none of the layers,
// and for every layer that is not in w or has more rows.
func Layers(t testing.TB, w eval.Weights, layers func(yield func(model.Layer) bool)) {
	t.Helper()
	listed := map[string]bool{}
	for l := range layers {
		x, ok := w[model.DenoiserPrefix+l.Weight]
		if !ok || l.From+l.Rows > x.Shape[0] {
			t.Errorf("the layer %+v has the shape %v", l, x.Shape)
		}
		if l.Side != (len(x.Shape) > 1) {
			t.Errorf("the layer %+v says that a LoRA can be beside a weight of %d dimensions", l, len(x.Shape))
		}
		if l.Rows == 0 {
			listed[model.DenoiserPrefix+l.Weight] = true
		}
	}
	for name, x := range w {
		if strings.HasSuffix(name, ".weight") && len(x.Shape) > 1 && !listed[name] {
			t.Errorf("no layer is %s %v", name, x.Shape)
		}
	}
}
