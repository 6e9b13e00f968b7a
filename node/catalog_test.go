package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/catalog"
	"github.com/weir-run/weir/workflow"
)

// TestCatalog compares the widgets of Weir's nodes with those of ComfyUI: their
// names, order, types and defaults, and which of them are seeds and prompts.
func TestCatalog(t *testing.T) {
	reg := Registry(&Env{})
	for _, class := range reg.Classes() {
		widgets, known := catalog.Widgets(class)
		if !known {
			if !strings.Contains(class, "GGUF") { // of a pack
				t.Errorf("%s is no node of ComfyUI", class)
			}
			continue
		}
		want, got := told(widgets, reg.Lookup(class).Input), written(t, class, "", reg.Lookup(class).Inputs)
		if a, b := strings.Join(got, "\n  "), strings.Join(want, "\n  "); a != b {
			t.Errorf("%s has\n  %s\nComfyUI\n  %s", class, a, b)
		}
	}
}

// told describes widgets of the catalog, those that choices bring behind them.
func told(widgets []catalog.Widget, input func(string) *workflow.Input) (text []string) {
	for _, w := range widgets {
		if w.Button || w.Forced {
			continue
		}
		one := fmt.Sprintf("%s %s control=%v choices=%v", w.Name, w.Type, w.Control, w.Choices)
		if in := input(w.Name); in != nil && in.Default != nil {
			one += fmt.Sprintf(" default=%v", w.Default)
		}
		text = append(text, one)
		for _, c := range w.Cases {
			for _, one := range told(c.Widgets, input) {
				text = append(text, c.Choice+": "+one)
			}
		}
	}
	return text
}

// written describes inputs that are widgets in the same way.
func written(t *testing.T, class, prefix string, inputs []workflow.Input) (text []string) {
	for _, in := range inputs {
		if !in.Type.Widget() || in.Each != nil {
			continue
		}
		one := fmt.Sprintf("%s %s control=%v choices=%v", prefix+in.Name, in.Type, in.Control, in.Choices)
		switch d := in.Default.(type) {
		case nil:
		case int:
			t.Errorf("%s, input %s: the default has the type int", class, in.Name)
		default:
			one += fmt.Sprintf(" default=%v", d)
		}
		text = append(text, one)
		for _, c := range slices.SortedFunc(slices.Values(in.Cases), func(a, b workflow.Case) int { return strings.Compare(a.Choice, b.Choice) }) {
			for _, one := range written(t, class, prefix+in.Name+".", c.Inputs) {
				text = append(text, c.Choice+": "+one)
			}
		}
	}
	return text
}
