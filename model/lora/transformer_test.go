package lora

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/flux"
	"github.com/weir-run/weir/model/sd3"
	"github.com/weir-run/weir/model/zimage"
)

// TestNamesOfTransformers compares the layers of published diffusion
// transformers, as programs name them in LoRA files, with ComfyUI's: each name is
// for the same rows of the same weight. Names of layers whose rows are in another
// order elsewhere are unknown.
func TestNamesOfTransformers(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(golden.Dir(), "dit_lora.json"))
	if err != nil {
		t.Fatal(err)
	}
	var models map[string]map[string][]any
	if err := json.Unmarshal(text, &models); err != nil || len(models) != 5 {
		t.Fatalf("%d models, %v", len(models), err)
	}
	for name, known := range models {
		w := published.Tensors(t, name, model.DenoiserPrefix)
		all := Base{Weights: w, Denoiser: layered(t, name, w)}.networks()
		for lora, want := range known {
			var best found
			for _, f := range all.find(lora) {
				if best.weight == "" || f.rank > best.rank {
					best = f
				}
			}
			if want == nil {
				if best.weight != "" {
					t.Errorf("%s: %s is %s, want nothing", name, lora, best.weight)
				}
				continue
			}
			weight, from, rows := strings.Replace(best.weight, ".scale", ".weight", 1), float64(best.from), float64(best.rows)
			if weight != want[0] || from != want[1] || rows != want[2] {
				t.Errorf("%s: %s is %q from %v, %v rows, want %v", name, lora, best.weight, from, rows, want)
			}
		}
	}
}

// layered recognises a denoiser.
func layered(t *testing.T, name string, w eval.Weights) Layered {
	t.Helper()
	var l Layered
	var err error
	switch name {
	case "z-image":
		l, err = zimage.Detect(w)
	case "sd3.5-medium":
		l, err = sd3.Detect(w)
	default:
		l, err = flux.Detect(w)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}
