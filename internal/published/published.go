// Package published has the names and shapes of the tensors of published models
// for tests, as the script testdata/golden/published.py wrote them.
package published

import (
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// Tensors returns the tensors of a model as bfloat16 without bytes, with a
// prefix before each name.
func Tensors(t testing.TB, model, prefix string) eval.Weights {
	t.Helper()
	tensors, err := synth.Published(model, prefix)
	if err != nil {
		t.Fatal(err)
	}
	w := eval.Weights{}
	for _, x := range tensors {
		w[x.Name] = eval.Weight{DType: dtype.BF16, Shape: x.Shape}
	}
	return w
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
