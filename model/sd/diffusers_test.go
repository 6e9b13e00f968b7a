package sd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model/nn"
)

// TestDiffusersNames compares the names of every layer with those that ComfyUI
// converts diffusers' to.
func TestDiffusersNames(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(golden.Dir(), "diffusers_names.txt"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if want[f[0]] == nil {
			want[f[0]] = map[string]string{}
		}
		want[f[0]][f[1]+".weight"] = f[2] + ".weight"
	}
	for model, layers := range want {
		var names nn.Names
		for name := range layers {
			names = append(names, name)
		}
		slices.Sort(names)
		of := FromDiffusersUNet
		if strings.HasPrefix(model, "vae") {
			of = FromDiffusersVAE
		}
		r, err := of(names)
		if err != nil {
			t.Fatal(err)
		}
		for name, original := range layers {
			if got, ok := r.Original(name); !ok || got != original {
				t.Errorf("%s: %s is %q, want %s", model, name, got, original)
			}
		}
		if name, ok := r.Original("unknown.layer.weight"); ok {
			t.Errorf("%s: an unknown layer is %s", model, name)
		}
		for _, first := range []string{"down_blocks.0.", "encoder.down_blocks.0."} {
			hole := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.HasPrefix(name, first) })
			if len(hole) < len(names) {
				if _, err := of(hole); err == nil || !strings.Contains(err.Error(), first) {
					t.Errorf("%s without %s: %v", model, first, err)
				}
			}
		}
	}
}
