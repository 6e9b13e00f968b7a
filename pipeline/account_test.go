package pipeline

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// changed writes a file with some tensors left out and others added.
func changed(t *testing.T, path string, without []string, more ...weights.Tensor) string {
	t.Helper()
	set := openSet(t, path)
	var tensors []weights.Tensor
	for _, name := range set.Names() {
		ref, _ := set.Lookup(name)
		out := false
		for _, w := range without {
			out = out || strings.HasPrefix(name, w)
		}
		if out {
			continue
		}
		raw := make([]byte, ref.Length)
		if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, weights.Tensor{Name: name, DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
	}
	return writeTensors(t, set.Metadata(), append(tensors, more...)...)
}

// opened opens a file in every role that it may have, and returns the errors.
func opened(t *testing.T, e *Engine, path string) map[string]error {
	errs := map[string]error{}
	_, errs["checkpoint"] = e.Checkpoint(t.Context(), path)
	_, errs["UNet"] = e.UNet(t.Context(), path)
	_, errs["text encoder"] = e.CLIP(t.Context(), "stable_diffusion", path)
	_, errs["VAE"] = e.VAE(t.Context(), path)
	_, errs["upscaler"] = e.Upscaler(t.Context(), path)
	return errs
}

// TestMissing leaves out one tensor: the file is refused where the tensor is
// needed, and nowhere else.
func TestMissing(t *testing.T) {
	e := newEngine(t, Options{})
	for name, roles := range map[string][]string{
		sd.ClipLSD1 + "text_model.encoder.layers.1.mlp.fc1.bias":                  {"checkpoint", "text encoder"},
		sd.ClipLSD1 + "text_model.final_layer_norm.weight":                        {"checkpoint", "text encoder"},
		sd.UNetPrefix + "input_blocks.1.0.in_layers.0.weight":                     {"checkpoint", "UNet"},
		sd.UNetPrefix + "middle_block.1.transformer_blocks.0.attn2.to_out.0.bias": {"checkpoint", "UNet"},
		sd.UNetPrefix + "output_blocks.1.2.conv.weight":                           {"checkpoint", "UNet"},
		sd.VAEPrefix + "decoder.up.1.block.0.norm1.weight":                        {"checkpoint", "VAE"},
		sd.VAEPrefix + "encoder.down.0.downsample.conv.bias":                      {"checkpoint", "VAE"},
		sd.VAEPrefix + "decoder.up.0.block.0.nin_shortcut.weight":                 {"checkpoint", "VAE"},
	} {
		path := changed(t, emoji, []string{name})
		for role, err := range opened(t, e, path) {
			needed := false
			for _, r := range roles {
				needed = needed || r == role
			}
			switch {
			case role == "upscaler":
			case needed && (fault.Of(err) != fault.Model || !strings.Contains(err.Error(), "there is no tensor "+name) || !strings.Contains(err.Error(), path)):
				t.Errorf("%s without %s: %v", role, name, err)
			case !needed && err != nil:
				t.Errorf("%s does not need %s: %v", role, name, err)
			}
		}
	}
}

// TestUnused warns once of tensors that nothing uses, and not of those that are
// known to do nothing.
func TestUnused(t *testing.T) {
	e := newEngine(t, Options{})
	tensor := func(name string, shape ...int) weights.Tensor {
		return weights.F32(name, dtype.F32, shape, make([]float32, ir.Shape(shape).Elems()))
	}
	log := warnings(t)
	harmless := changed(t, emoji, nil, tensor("model_ema.diffusion_modelinput_blocks00weight", 3), tensor("alphas_cumprod", 1000), tensor("betas", 1000),
		tensor(sd.ClipLSD1+"text_model.embeddings.position_ids", 1, 77), tensor("logit_scale"), tensor("v_pred", 1), tensor("optimizer.state.0", 4),
		tensor(sd.VAEPrefix+"loss.logvar"), tensor("global_step"), tensor(sd.ClipLSD1+"vision_model.encoder.layers.0.mlp.fc1.bias", 7))
	for role, err := range opened(t, e, harmless) {
		if err != nil && role != "upscaler" {
			t.Errorf("%s: %v", role, err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("known tensors are warned of: %s", log)
	}
	var more []weights.Tensor
	for i := range 3000 {
		more = append(more, tensor(fmt.Sprintf("%sadapter.%d\x1b[31m.weight", sd.UNetPrefix, i), 1))
	}
	more = append(more, tensor(sd.ClipLSD1+"text_model.encoder.layers.1.mlp.gate.weight", 1), tensor(sd.VAEPrefix+"decoder.refiner.weight", 1))
	path := changed(t, emoji, nil, more...)
	for range 2 {
		for role, err := range opened(t, e, path) {
			if err != nil && role != "upscaler" {
				t.Errorf("%s: %v", role, err)
			}
		}
	}
	text := log.String()
	for _, want := range []string{"count=3002", "count=3000", "and 2,997 more", "mlp.gate.weight", "decoder.refiner.weight", "model.safetensors"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning has %s", want)
		}
	}
	if lines := strings.Count(text, "\n"); lines != 8 || len(text) > 8000 || strings.Contains(text, "\x1b") {
		t.Errorf("%d warnings of %d bytes: %s", lines, len(text), text)
	}
}

// TestPackings refuses quantized weights by the name of their format, in every
// role, and inspection says it.
func TestPackings(t *testing.T) {
	e := newEngine(t, Options{})
	layer := sd.UNetPrefix + "input_blocks.3.1.transformer_blocks.0.attn1.to_q."
	one := func(names ...string) (out []weights.Tensor) {
		for _, name := range names {
			if !strings.HasPrefix(name, "scaled_") {
				name = layer + name
			}
			out = append(out, weights.F32(name, dtype.F32, []int{1}, []float32{1}))
		}
		return out
	}
	small := filepath.Join(golden.Dir(), "srvgg_x2.safetensors")
	for _, tt := range []struct {
		want    string
		tensors []weights.Tensor
	}{
		{"bitsandbytes in 4 bits", one("weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4")},
		{"bitsandbytes in 4 bits", one("weight.nested_absmax")},
		{"bitsandbytes in 8 bits", one("SCB", "weight_format")},
		{"scaled FP8", one("scale_weight")}, {"scaled FP8", one("scale_input")},
		{"with scales, without", one("weight_scale", "input_scale")},
		{"NVFP4", one("weight_scale", "weight_scale_2")},
		{"GPTQ", one("qweight", "qzeros", "scales", "g_idx")},
		{"AWQ", one("qweight", "qzeros", "scales")},
		{"SVDQuant", one("qweight", "wscales", "smooth_factor", "proj_down", "proj_up")},
		{"HQQ", one("W_q")},
	} {
		path := changed(t, small, nil, tt.tensors...)
		for role, err := range opened(t, e, path) {
			if fault.Of(err) != fault.Model || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "(it has ") {
				t.Errorf("%s: %v, want %s", role, err, tt.want)
			}
		}
		if kind, what := Recognise(openSet(t, path)); kind != "unknown" || !strings.Contains(what, tt.want) {
			t.Errorf("inspected as %s: %s, want %s", kind, what, tt.want)
		}
	}
	set := openSet(t, emoji)
	ref, _ := set.Lookup(layer + "weight")
	metadata := set.Metadata()
	metadata["_quantization_metadata"] = `{"layers":{"input_blocks.0.0":{"format":"int3"}}}`
	if _, err := e.UNet(t.Context(), writeTensors(t, metadata, weights.F32("input_blocks.0.0.weight", dtype.F32, []int{1}, []float32{1}))); err == nil || !strings.Contains(err.Error(), `format that is not known: "int3"`) {
		t.Errorf("got %v", err)
	}
	// Integers that nothing explains are no weights.
	path := changed(t, emoji, []string{layer + "weight"}, weights.Tensor{Name: layer + "weight", DType: dtype.I8, Shape: ref.Shape, Write: weights.Bytes(make([]byte, ref.Elements()))})
	if _, err := e.UNet(t.Context(), path); err == nil || !strings.Contains(err.Error(), layer+"weight has the dtype I8") {
		t.Errorf("got %v", err)
	}
}

// TestMergedDimensions stores convolutions as matrices, as some converters to
// GGUF do: every bit is the same.
func TestMergedDimensions(t *testing.T) {
	set := openSet(t, emoji)
	e := newEngine(t, Options{})
	want := everything(t, open(t, e, emoji))
	for what, shape := range map[string]func(ir.Shape) ir.Shape{
		"rows":              func(s ir.Shape) ir.Shape { return ir.Shape{s[0], s[1:].Elems()} },
		"one dimension":     func(s ir.Shape) ir.Shape { return ir.Shape{s.Elems()} },
		"kernels in a row":  func(s ir.Shape) ir.Shape { return ir.Shape{s[0], s[1], s[2:].Elems()} },
		"channels in a row": func(s ir.Shape) ir.Shape { return append(ir.Shape{s[0] * s[1]}, s[2:]...) },
	} {
		var tensors []weights.Tensor
		for _, name := range set.Names() {
			ref, _ := set.Lookup(name)
			raw := make([]byte, ref.Length)
			if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
				t.Fatal(err)
			}
			to := ref.Shape
			if len(to) == 4 {
				to = shape(to)
			}
			tensors = append(tensors, weights.Tensor{Name: name, DType: ref.DType, Shape: to, Write: weights.Bytes(raw)})
		}
		c := open(t, e, writeTensors(t, set.Metadata(), tensors...))
		same(t, what, everything(t, c), want)
		for _, name := range set.Names() { // as LoRAs see them
			original, _ := set.Lookup(name)
			if _, shape, _ := c.Model.base.Weights.Lookup(name); len(original.Shape) == 4 && original.Shape[2] == 3 && !shape.Equal(original.Shape) {
				t.Errorf("%s: %s has the shape %v, want %v", what, name, shape, original.Shape)
			}
		}
	}
}

// TestMergedQuantized stores quantized convolutions as rows, without saying which
// shape they had: every bit is the same as where the metadata say it.
func TestMergedQuantized(t *testing.T) {
	set := openSet(t, emoji)
	var said, merged []gguf.Tensor
	metadata := map[string]any{}
	for key, value := range set.Metadata() {
		metadata[key] = value
	}
	plain := maps.Clone(metadata)
	for _, name := range set.Names() {
		ref, _ := set.Lookup(name)
		values, err := ref.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		x := gguf.Tensor{Name: name, DType: dtype.F32, Shape: ref.Shape, Data: dtype.BytesOf(values)}
		one := x
		if row := ir.Shape(ref.Shape[1:]).Elems(); len(ref.Shape) == 4 && row%32 == 0 && len(values)%256 == 0 {
			x.DType, x.Data = dtype.Q8_0, gguf.Quantize(dtype.Q8_0, values)
			one = x
			x.Shape, one.Shape = []int{len(values) / 256, 256}, []int{ref.Shape[0], row}
			var shape []int32
			for _, n := range ref.Shape {
				shape = append(shape, int32(n))
			}
			metadata["comfy.gguf.orig_shape."+name] = shape
		}
		said, merged = append(said, x), append(merged, one)
	}
	file := func(name string, metadata map[string]any, tensors []gguf.Tensor) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, gguf.Encode(metadata, tensors), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	e := newEngine(t, Options{})
	want := everything(t, open(t, e, file("said.gguf", metadata, said)))
	same(t, "rows", everything(t, open(t, e, file("merged.gguf", plain, merged))), want)
}

// TestPartial opens checkpoints without a part. Using it is an error that names
// the file and the part.
func TestPartial(t *testing.T) {
	e := newEngine(t, Options{})
	for prefix, want := range map[string]string{sd.VAEPrefix: "has no VAE", sd.ClipLSD1: "has no text encoder", sd.UNetPrefix: "has no UNet"} {
		path := changed(t, emoji, []string{prefix})
		c, err := e.Checkpoint(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Whole(); fault.Of(err) != fault.Model || !strings.Contains(err.Error(), path+" "+want) {
			t.Errorf("without %s: %v", prefix, err)
		}
		if (c.Model == nil) != (prefix == sd.UNetPrefix) || (c.CLIP == nil) != (prefix == sd.ClipLSD1) || (c.VAE == nil) != (prefix == sd.VAEPrefix) {
			t.Errorf("without %s: %+v", prefix, c)
		}
	}
	if err := open(t, e, emoji).Whole(); err != nil {
		t.Error(err)
	}
	if _, err := e.Checkpoint(t.Context(), filepath.Join(golden.Dir(), "vae.safetensors")); err == nil || !strings.Contains(err.Error(), "an autoencoder alone") {
		t.Errorf("got %v", err)
	}
}
