package lora

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model/sd"
)

// parse reads a file from text: a tensor a line, with its name, its dtype and
// its dimensions.
func parse(text string) file {
	f := file{}
	for line := range strings.Lines(text) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		x := eval.Weight{DType: dtype.F32, Bytes: make([]byte, 4)}
		for _, word := range words[1:] {
			if n, err := strconv.Atoi(word); err == nil && n >= 0 && n < 1<<20 && len(x.Shape) < 8 {
				x.Shape = append(x.Shape, n)
			} else if dt, err := dtype.Parse(word); err == nil {
				x.DType = dt
			}
		}
		f[words[0]] = x
	}
	return f
}

// FuzzMap maps files of any names and shapes: whatever is taken fits its
// weight, errors are short and of a kind, and nothing panics.
func FuzzMap(f *testing.F) {
	texts := map[string]string{}
	for _, name := range []string{"comfy_lora", "merge"} {
		for _, ref := range golden.Open(f, name).Refs() {
			if file, tensor, ok := strings.Cut(ref.Name, "/"); ok {
				texts[file] += fmt.Sprintln(tensor, strings.Trim(fmt.Sprint(ref.Shape), "[]"))
			}
		}
	}
	for _, text := range texts {
		f.Add(text)
	}
	f.Add("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.my_style.weight 2 64\ntext_encoder.text_model.encoder.layers.0.mlp.fc1.lora_B.my_style.weight 256 2\n")
	f.Add("base_model.model.conv_in.lora_A.weight I8 2 4 3 3\n.alpha\n.lora_A\nalpha.diff 4")
	w, base := tiny(f, sd.SD1)
	_, xl := tiny(f, sd.SDXL)
	f.Fuzz(func(t *testing.T, text string) {
		in := parse(text)
		_, _ = Family(in)
		_ = Describe(in)
		for _, on := range []Base{base, xl, {Weights: w, Denoiser: base.Denoiser}, {Weights: w, Encoders: base.Encoders}} {
			m, err := Map(in, on)
			if err != nil {
				if len(err.Error()) > 4000 || fault.Of(err) != fault.Model && !strings.Contains(err.Error(), "is not one number") {
					t.Fatalf("an error of %d bytes and the kind %q: %v", len(err.Error()), fault.Of(err), err)
				}
				continue
			}
			for weight := range m.Adapters {
				if _, ok := m.Changes[weight]; ok && on.Encoders == nil {
					t.Errorf("%s has an adapter and a change of one file", weight)
				}
			}
			for _, name := range slices.Concat(slices.Collect(maps.Keys(m.Adapters)), slices.Collect(maps.Keys(m.Changes))) {
				_, shape, ok := on.Weights.Lookup(name)
				if !ok || shape.Elems() == 0 {
					t.Errorf("there is no weight %s", name)
				}
			}
			for _, s := range m.Skipped {
				if len(s.Tensors) == 0 || s.Why == nil || len(s.Why.Error()) > 4000 {
					t.Errorf("skipped: %+v", s)
				}
			}
			for _, list := range m.Adapters {
				for _, a := range list {
					down, up := in[a.Down].Shape, in[a.Up].Shape
					if down.Elems() == 0 || up.Elems() == 0 || a.Rows < 0 {
						t.Errorf("%+v is taken of %v and %v", a, down, up)
					}
				}
			}
		}
	})
}
