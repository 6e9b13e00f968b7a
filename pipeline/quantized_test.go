package pipeline

import (
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/weights"
)

// quantizedLayers returns the layers that comfy-kitchen has quantized, with the
// shapes that they have in a network.
func quantizedLayers(t *testing.T) *weights.Set {
	t.Helper()
	set, err := unpacked(t.Context(), openSet(t, filepath.Join(golden.Dir(), "quantized.safetensors")))
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string][]int{}
	for _, name := range set.Names() {
		if layer, ok := strings.CutSuffix(name, ".values"); ok {
			values, _ := set.Lookup(name)
			shapes[layer+".weight"] = values.Shape
		}
	}
	padded := map[string][]int{}
	for name, shape := range shapes {
		if ref, _ := set.Lookup(name); ref.Quant.Padded {
			padded[name] = shape
		}
	}
	return set.Shaped(padded)
}

// numbers returns a tensor of a set in float32.
func numbers(t *testing.T, set *weights.Set, name string) []float32 {
	t.Helper()
	ref, ok := set.Lookup(name)
	if !ok {
		t.Fatalf("there is no tensor %s", name)
	}
	values, err := ref.ReadF32(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// TestQuantizedLayers compares products with quantized weights, and rows of them
// as embeddings, with those of the weights that comfy-kitchen makes of them, in
// place and on a device with memory of its own.
func TestQuantizedLayers(t *testing.T) {
	set := quantizedLayers(t)
	for _, o := range []Options{{}, {VRAM: 1 << 20}} {
		p := part{engine: newEngine(t, o), name: "layers", set: set}
		for _, name := range set.Names() {
			layer, ok := strings.CutSuffix(name, ".values")
			if !ok {
				continue
			}
			values, _ := set.Lookup(name)
			n, k := values.Shape[0], values.Shape[1]
			x := numbers(t, set, layer+".x")
			out, err := p.run(t.Context(), layer, func(s nn.Scope) {
				g := s.Graph()
				g.Output("y", s.Project(layer, g.Input("x", dtype.F32, len(x)/k, k), n))
			}, run.Inputs{"x": x})
			if err != nil {
				t.Fatalf("%s: %v", layer, err)
			}
			golden.Check(t, layer, out["y"], numbers(t, set, layer+".y"), 1e-6)

			ids, all := []int32{int32(n - 1), 0, int32(n / 2)}, numbers(t, set, name)
			var rows []float32
			for _, id := range ids {
				rows = append(rows, all[int(id)*k:][:k]...)
			}
			if out, err = p.run(t.Context(), "table "+layer, func(s nn.Scope) {
				g := s.Graph()
				g.Output("rows", s.Embedding(layer, g.Input("ids", dtype.I32, len(ids)), n, k))
			}, run.Inputs{"ids": ids}); err != nil {
				t.Fatalf("%s: %v", layer, err)
			}
			golden.Check(t, "table "+layer, out["rows"], rows, 1e-6)
		}
	}
}

// emojiQuantized writes the demo's checkpoint with the quantized layers of the
// golden in it, and the same with what they stand for.
func emojiQuantized(t *testing.T) (quantized, plain string) {
	t.Helper()
	stored := openSet(t, filepath.Join(golden.Dir(), "quantized.safetensors")).Sub("emoji.").Under(sd.UNetPrefix)
	meant, err := unpacked(t.Context(), stored)
	if err != nil {
		t.Fatal(err)
	}
	original := openSet(t, emoji)
	var rest, values, parts []weights.Tensor
	copied := func(ref weights.Ref, name string) weights.Tensor {
		raw := make([]byte, ref.Length)
		if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		return weights.Tensor{Name: name, DType: ref.DType, Shape: ref.Shape, Write: func(w io.Writer) error { _, err := w.Write(raw); return err }}
	}
	for _, name := range stored.Names() {
		ref, _ := stored.Lookup(name)
		parts = append(parts, copied(ref, name))
	}
	replaced := 0
	for _, name := range original.Names() {
		ref, _ := original.Lookup(name)
		if _, ok := stored.Lookup(name); !ok {
			rest = append(rest, copied(ref, name))
			continue
		}
		replaced++
		values = append(values, weights.F32(name, dtype.F32, ref.Shape, numbers(t, meant, name)))
	}
	if replaced != 10 {
		t.Fatalf("%d layers are quantized, want 10", replaced)
	}
	dir := t.TempDir()
	quantized, plain = filepath.Join(dir, "quantized.safetensors"), filepath.Join(dir, "plain.safetensors")
	for path, added := range map[string][]weights.Tensor{quantized: parts, plain: values} {
		if err := weights.Write(t.Context(), path, original.Metadata(), slices.Concat(rest, added)); err != nil {
			t.Fatal(err)
		}
	}
	return quantized, plain
}

// TestQuantizedUNet compares the demo's UNet, some layers of which are quantized
// in all formats, with diffusers on what comfy-kitchen makes of those layers.
func TestQuantizedUNet(t *testing.T) {
	quantized, plain := emojiQuantized(t)
	g := golden.Open(t, "quantized")
	for _, path := range []string{quantized, plain} {
		for _, o := range []Options{{}, {VRAM: 4 << 20}} {
			m := open(t, newEngine(t, o), path).Model
			key, b := m.network(2, model.Shape{Shape: latent.Picture(2, 4, 8, 12), Tokens: 77})
			out, err := m.run(t.Context(), key, b, run.Inputs{"x": g.F32("emoji/x"), "t": g.F32("emoji/t"), "context": g.F32("emoji/context")})
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, filepath.Base(path), out["y"], g.F32("emoji/y"), 1e-4)
		}
	}
}

// TestQuantizedPicture makes a picture with a checkpoint of quantized layers,
// and one with what they stand for.
func TestQuantizedPicture(t *testing.T) {
	quantized, plain := emojiQuantized(t)
	const formats = "; quantized layers: 1 asym_w4a8_int8, 1 convrot_w4a4, 1 float8_e4m3fn, 5 int8_tensorwise, 1 mxfp8, 1 nvfp4"
	if kind, what := Recognise(openSet(t, quantized)); kind != "checkpoint" || !strings.HasSuffix(what, formats) {
		t.Errorf("recognised as %s: %s, want%s", kind, what, formats[1:])
	}
	want := everything(t, open(t, newEngine(t, Options{}), plain))
	got := everything(t, open(t, newEngine(t, Options{}), quantized))
	for name := range want {
		golden.Check(t, name, got[name], want[name], 1e-5)
	}
}

// TestLoRAsOnQuantizedLayers puts LoRAs of every kind on quantized layers and on
// what they stand for: those that lie beside the weights are the same, those that
// are merged into them round the sum to F16.
func TestLoRAsOnQuantizedLayers(t *testing.T) {
	quantized, plain := emojiQuantized(t)
	const block = "lora_unet_mid_block_attentions_0_transformer_blocks_0_"
	sizes := map[string][2]int{
		block + "attn1_to_q": {128, 128}, block + "attn2_to_q": {128, 128}, block + "attn2_to_k": {128, 96},
		block + "attn2_to_v": {128, 96}, block + "ff_net_2": {128, 512}, block + "ff_net_0_proj": {1024, 128},
	}
	random := func(n int, seed float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(0.3 * math.Sin(seed+float64(i*i%97)))
		}
		return out
	}
	for what, merged := range map[string]bool{"beside": false, "DoRA": true, "difference": true} {
		var tensors []weights.Tensor
		for i, name := range slices.Sorted(maps.Keys(sizes)) {
			n, k := sizes[name][0], sizes[name][1]
			add := func(suffix string, shape ...int) {
				count := 1
				for _, d := range shape {
					count *= d
				}
				tensors = append(tensors, weights.F32(name+suffix, dtype.F32, shape, random(count, float64(i))))
			}
			if what == "difference" {
				add(".diff", n, k)
				continue
			}
			add(".lora_down.weight", 4, k)
			add(".lora_up.weight", n, 4)
			if what == "DoRA" {
				add(".dora_scale", n, 1)
			}
		}
		path := filepath.Join(t.TempDir(), "lora.safetensors")
		if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
			t.Fatal(err)
		}
		noise := map[string][]float32{}
		for _, file := range []string{quantized, plain} {
			e := newEngine(t, Options{})
			l, err := e.LoRA(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			c := open(t, e, file)
			text := encode(t, c, "red apple")
			without := predict(t, c, latent.Picture(1, 4, 16, 16), text)[0]
			if c.Model, _, err = l.On(c.Model, nil, 0.7, 0); err != nil {
				t.Fatal(err)
			}
			noise[file] = predict(t, c, latent.Picture(1, 4, 16, 16), text)[0]
			if e, err := golden.RelativeError(noise[file], without); err != nil || e < 1e-4 {
				t.Errorf("%s: the LoRA changes %v, %v", what, e, err)
			}
		}
		limit := 1e-5
		if merged {
			limit = 2e-3
		}
		golden.Check(t, what, noise[quantized], noise[plain], limit)
	}
}
