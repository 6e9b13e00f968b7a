package nn_test

import (
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// TestHolds has shapes in which the elements of another may be stored.
func TestHolds(t *testing.T) {
	for _, tt := range []struct {
		stored, want ir.Shape
		holds        bool
	}{
		{ir.Shape{4, 6}, ir.Shape{4, 6}, true},
		{ir.Shape{4, 6, 1, 1}, ir.Shape{4, 6}, true},
		{ir.Shape{4, 6}, ir.Shape{4, 6, 1, 1}, true},
		{ir.Shape{1, 4, 6}, ir.Shape{4, 6}, true},
		{ir.Shape{6}, ir.Shape{1, 6}, true},
		{ir.Shape{4, 18}, ir.Shape{4, 2, 3, 3}, true},
		{ir.Shape{1}, ir.Shape{1, 1}, true},
		{ir.Shape{6, 4}, ir.Shape{4, 6}, false},
		{ir.Shape{2, 3, 6}, ir.Shape{6, 6}, false},
		{ir.Shape{4, 1, 6}, ir.Shape{4, 6}, false},
		{ir.Shape{2, 4, 6}, ir.Shape{4, 6}, false},
		{ir.Shape{0, 6}, ir.Shape{0, 6}, false},
		{ir.Shape{}, ir.Shape{6}, false},
	} {
		if got := nn.Holds(tt.stored, tt.want); got != tt.holds {
			t.Errorf("%v holds %v: %v, want %v", tt.stored, tt.want, got, tt.holds)
		}
	}
}

// TestAgreed has lengths that tensors agree upon, or not.
func TestAgreed(t *testing.T) {
	w := eval.Weights{"a.x": {Shape: ir.Shape{4, 6}}, "a.y": {Shape: ir.Shape{6}}, "a.z": {Shape: ir.Shape{5, 0}}}
	x, y, z, empty, missing := nn.Axis{Name: "x", I: 1}, nn.Axis{Name: "y"}, nn.Axis{Name: "z"}, nn.Axis{Name: "z", I: 1}, nn.Axis{Name: "w"}
	for _, tt := range []struct {
		axes  []nn.Axis
		want  int
		agree bool
	}{
		{[]nn.Axis{z, x, y}, 6, false},
		{[]nn.Axis{z, x}, 5, false},
		{[]nn.Axis{x, y, missing}, 6, true},
		{[]nn.Axis{empty, empty, y}, 6, false},
		{[]nn.Axis{missing}, 0, true},
	} {
		if got, agree := nn.Agreed(w, "a.", tt.axes...), nn.Agree(w, "a.", tt.axes...); got != tt.want || agree != tt.agree {
			t.Errorf("%v agree upon %d (%v), want %d (%v)", tt.axes, got, agree, tt.want, tt.agree)
		}
	}
}
