package merge

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/weights"
)

// A comfyCase is LoRA files on top of each other, what ComfyUI makes of weights
// with them, and the strength of the first.
type comfyCase struct {
	files    []string
	strength float32
	merged   map[string][]float32
}

// comfy returns the files of the golden and the cases by their names.
func comfy(t testing.TB) (files map[string]*weights.Set, cases map[string]*comfyCase) {
	t.Helper()
	f := golden.Open(t, "comfy_lora")
	tensors := map[string][]weights.Tensor{}
	files, cases = map[string]*weights.Set{}, map[string]*comfyCase{}
	for _, ref := range f.Refs() {
		if file, tensor, ok := strings.Cut(ref.Name, "/"); ok {
			tensors[file] = append(tensors[file], weights.F32(tensor, dtype.F32, ref.Shape, f.F32(ref.Name)))
			continue
		}
		name, weight, _ := strings.Cut(ref.Name, ":")
		if cases[name] == nil {
			cases[name] = &comfyCase{merged: map[string][]float32{}}
		}
		cases[name].merged[weight] = f.F32(ref.Name)
	}
	for name, list := range tensors {
		files[name] = write(t, list...)
	}
	for name, c := range cases {
		file, strength, _ := strings.Cut(name, "@")
		s, err := strconv.ParseFloat(strength, 32)
		if err != nil {
			t.Fatal(err)
		}
		c.strength, c.files = float32(s), []string{file}
		if files[file] == nil {
			c.files = []string{file + "#1", file + "#2"}
		}
	}
	if len(cases) < 50 {
		t.Fatalf("%d cases in the golden", len(cases))
	}
	return files, cases
}

// TestMergedIsComfyUIs merges files of every kind, alone and on top of each
// other, and compares the weights with those that ComfyUI makes of the same.
func TestMergedIsComfyUIs(t *testing.T) {
	base := unet(t, dtype.F32)
	files, cases := comfy(t)
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		all := map[string][]Change{}
		for i, file := range c.files {
			m, err := lora.Map(source{files[file]}, newBase(t, base))
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if len(m.Unmatched) > 0 {
				t.Errorf("%s: unmatched: %v", file, m.Unmatched)
			}
			strength := c.strength
			if i > 0 {
				strength = 0.8
			}
			for weight, list := range m.Adapters {
				for _, a := range list {
					all[weight] = append(all[weight], Change{lora.Merged(a), files[file], strength})
				}
			}
			for weight, list := range m.Changes {
				for _, change := range list {
					all[weight] = append(all[weight], Change{change, files[file], strength})
				}
			}
		}
		if d := len(all) - len(c.merged); d != 0 {
			t.Errorf("%s: %d weights are changed, want %d", name, len(all), len(c.merged))
		}
		for weight, want := range c.merged {
			golden.Check(t, fmt.Sprintf("%s, %s", name, weight), values(read(t, base, weight, all[weight]...), dtype.F32), want, 2e-6)
		}
	}
}
