package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-run/weir/catalog"
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
		var want, got []string
		for _, w := range widgets {
			if w.Button || w.Forced {
				continue
			}
			text := fmt.Sprintf("%s %s control=%v choices=%v", w.Name, w.Type, w.Control, w.Choices)
			if in := reg.Lookup(class).Input(w.Name); in != nil && in.Default != nil {
				text += fmt.Sprintf(" default=%v", w.Default)
			}
			want = append(want, text)
		}
		for _, in := range reg.Lookup(class).Inputs {
			if !in.Type.Widget() {
				continue
			}
			text := fmt.Sprintf("%s %s control=%v choices=%v", in.Name, in.Type, in.Control, in.Choices)
			switch d := in.Default.(type) {
			case nil:
			case int:
				t.Errorf("%s, input %s: the default has the type int", class, in.Name)
			case int64, uint64:
				text += fmt.Sprintf(" default=%v", d)
			default:
				text += fmt.Sprintf(" default=%v", d)
			}
			got = append(got, text)
		}
		if a, b := strings.Join(got, "\n  "), strings.Join(want, "\n  "); a != b {
			t.Errorf("%s has\n  %s\nComfyUI\n  %s", class, a, b)
		}
	}
}
