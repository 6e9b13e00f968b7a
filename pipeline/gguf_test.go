package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// quantize writes the tensors of a set as a GGUF file, and the same numbers in
// float32 as a safetensors file.
func quantize(t *testing.T, set *weights.Set) (quantized, plain string) {
	t.Helper()
	file, same, err := synth.Quantized(t.Context(), set, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	quantized, plain = filepath.Join(dir, "model.gguf"), filepath.Join(dir, "model.safetensors")
	if err := os.WriteFile(quantized, file, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := weights.Write(t.Context(), plain, set.Metadata(), same); err != nil {
		t.Fatal(err)
	}
	return quantized, plain
}

func openSet(t *testing.T, paths ...string) *weights.Set {
	t.Helper()
	set, err := weights.OpenSet(t.Context(), paths...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return set
}

// everything runs all parts of a checkpoint and returns what they give.
func everything(t *testing.T, c *Checkpoint) map[string][]float32 {
	t.Helper()
	text := encode(t, c, "a (red:1.2) apple")
	l, err := c.VAE.Encode(t.Context(), media.NewImage(1, 64, 64, 3, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.VAE.Decode(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]float32{
		"text": text.Embed, "noise": predict(t, c, latent.Picture(1, 4, 16, 16), text)[0], "latents": l.Data, "picture": m.Pix(),
	}
}

func same(t *testing.T, what string, got, want map[string][]float32) {
	t.Helper()
	for name, w := range want {
		if !slices.Equal(got[name], w) {
			e, err := golden.RelativeError(got[name], w)
			t.Errorf("%s: the %s is not the same, relative error %.3g, %v", what, name, e, err)
		}
	}
}

// TestQuantizedIsTheSame runs a GGUF file and a file with what its weights
// dequantize to: every bit is the same, with plenty of memory and with a third
// of what the weights take.
func TestQuantizedIsTheSame(t *testing.T) {
	quantized, plain := quantize(t, openSet(t, emoji))
	want := everything(t, open(t, newEngine(t, Options{}), plain))
	same(t, "in place", everything(t, open(t, newEngine(t, Options{}), quantized)), want)

	info, err := os.Stat(quantized)
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := os.Stat(plain); err != nil || info.Size() > whole.Size()/3 {
		t.Fatalf("%d bytes are quantized to %d: %v", whole.Size(), info.Size(), err)
	}
	vram := info.Size() / 3
	e := newEngine(t, Options{VRAM: vram})
	same(t, "in a third of the memory", everything(t, open(t, e, quantized)), want)
	if s := e.Stats().VRAM; s.Peak > vram {
		t.Errorf("%d of %d bytes were taken", s.Peak, vram)
	}
	// In memory they are as small as in the file: all stay where the float32
	// ones would be streamed.
	e = newEngine(t, Options{VRAM: 2 * info.Size()})
	c := open(t, e, quantized)
	for range 2 {
		everything(t, c)
	}
	if r := e.Residency(); r.Streamed != 0 {
		t.Errorf("with twice the size of the file as memory, %s streams %d bytes", r.Program, r.Streamed)
	}
	// The picture is nearly that of the original.
	original := everything(t, open(t, newEngine(t, Options{}), emoji))
	if e, err := golden.RelativeError(want["noise"], original["noise"]); err != nil || e > 0.5 || e == 0 {
		t.Errorf("quantized, the noise is off by %v, %v", e, err)
	}
}

// TestLoRAOnQuantized puts a LoRA on a GGUF file and on the same weights in
// float32.
func TestLoRAOnQuantized(t *testing.T) {
	quantized, plain := quantize(t, openSet(t, emoji))
	ramp := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(i%7)/7 - 0.4
		}
		return out
	}
	var tensors []weights.Tensor
	for name, shape := range map[string][2]int{
		"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v":    {128, 96},
		"lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj": {1024, 128},
		"lora_te_text_model_encoder_layers_0_mlp_fc2":                         {96, 384},
	} {
		tensors = append(tensors, weights.F32(name+".lora_down.weight", dtype.F16, []int{2, shape[1]}, ramp(2*shape[1])),
			weights.F32(name+".lora_up.weight", dtype.F16, []int{shape[0], 2}, ramp(2*shape[0])))
	}
	path := filepath.Join(t.TempDir(), "lora.safetensors")
	if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	with := func(file string) map[string][]float32 {
		e := newEngine(t, Options{})
		l, err := e.LoRA(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		c := open(t, e, file)
		without := everything(t, c)
		if c.Model, c.CLIP, err = l.On(c.Model, c.CLIP, 0.8, 0.8); err != nil {
			t.Fatal(err)
		}
		out := everything(t, c)
		if slices.Equal(without["text"], out["text"]) || slices.Equal(without["noise"], out["noise"]) {
			t.Error("the LoRA has changed nothing")
		}
		return out
	}
	same(t, "with a LoRA", with(quantized), with(plain))
}

// write writes tensors of a set under new names.
func write(t *testing.T, set *weights.Set, metadata map[string]string, names map[string]string) string {
	t.Helper()
	var tensors []weights.Tensor
	for from, to := range names {
		ref, ok := set.Lookup(from)
		if !ok {
			t.Fatalf("there is no tensor %s", from)
		}
		values, err := ref.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, weights.F32(to, dtype.F32, ref.Shape, values))
	}
	path := filepath.Join(t.TempDir(), "part.safetensors")
	if err := weights.Write(t.Context(), path, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

// renamed returns the names of a set that begin with a prefix, with another one
// in its place.
func renamed(set *weights.Set, prefix, to string) map[string]string {
	names := map[string]string{}
	for _, name := range set.Names() {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			names[name] = to + rest
		}
	}
	return names
}

// TestPartsAreTheCheckpoint opens UNet and text encoder as files of their own,
// quantized or not, with prefix and without: they give what they give in the
// checkpoint.
func TestPartsAreTheCheckpoint(t *testing.T) {
	quantized, plain := quantize(t, openSet(t, emoji))
	e := newEngine(t, Options{})
	whole := open(t, e, plain)
	text := encode(t, whole, "red apple")
	shape := latent.Picture(1, 4, 16, 16)
	noise := predict(t, whole, shape, text)[0]

	set := openSet(t, plain)
	metadata := set.Metadata()
	metadata[sd.MetadataFactor] = "4"
	unetGGUF, _ := quantize(t, openSet(t, emoji).Sub(sd.UNetPrefix))
	for what, path := range map[string]string{
		"without prefix": write(t, set, metadata, renamed(set, sd.UNetPrefix, "")),
		"with prefix":    write(t, set, metadata, renamed(set, sd.UNetPrefix, sd.UNetPrefix)),
		"GGUF":           unetGGUF,
		"the checkpoint": quantized,
	} {
		m, err := e.UNet(t.Context(), path)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := predict(t, &Checkpoint{Model: m}, shape, text)[0]
		if !slices.Equal(got, noise) {
			t.Errorf("UNet, %s: the prediction is another one", what)
		}
		if f := m.Format().Stride.Height; f != 4 && strings.Contains(what, "prefix") {
			t.Errorf("UNet, %s: latents of 1/%d", what, f)
		}
	}
	for what, path := range map[string]string{
		"without prefix": write(t, set, metadata, renamed(set, sd.ClipLSD1, "")),
		"with prefix":    write(t, set, metadata, renamed(set, sd.ClipLSD1, sd.ClipLSD1)),
		"the checkpoint": quantized,
	} {
		c, err := e.CLIP(t.Context(), "stable_diffusion", path)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := encode(t, &Checkpoint{CLIP: c}, "red apple"); !slices.Equal(got.Embed, text.Embed) {
			t.Errorf("CLIP, %s: the prompt is encoded otherwise", what)
		}
	}
}
