package pipeline

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// encoderFiles are CLIP-L and OpenCLIP-G, without prefixes, of the goldens.
func encoderFiles(t *testing.T) (l, g string) {
	t.Helper()
	write := func(name, prefix string) string {
		set := openSet(t, filepath.Join(golden.Dir(), name+".safetensors"))
		return write(t, set, map[string]string{clip.MetadataHeads: "4"}, renamed(set, prefix, ""))
	}
	return write("clip_l", sd.ClipLSD1), write("open_clip", sd.ClipG)
}

// TestTwoTextEncoders opens both of SDXL's in either order.
func TestTwoTextEncoders(t *testing.T) {
	e := newEngine(t, Options{})
	l, g := encoderFiles(t)
	for _, paths := range [][]string{{l, g}, {g, l}} {
		c, err := e.CLIP(t.Context(), "sdxl", paths...)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.encoders) != 2 || c.encoders[0].Summary(model.States{}) != 48 || c.encoders[1].Summary(model.States{}) != 64 ||
			c.encoders[0].slot.Prompt.Pad == 0 || c.encoders[1].slot.Prompt.Pad != 0 || !slices.Equal(c.encoders[1].slot.States.Layers, []int{-2}) || c.encoders[1].slot.States.Norm {
			t.Errorf("got %+v", c.encoders)
		}
		if len(c.base.Encoders) != 2 || c.base.Denoiser != nil {
			t.Errorf("LoRAs find %+v", c.base)
		}
	}
}

// TestTwoTextEncodersEncode has the demo's encoder as CLIP-L and a small random
// one as OpenCLIP-G.
func TestTwoTextEncodersEncode(t *testing.T) {
	const width, vocab = 8, 49408
	r := rand.New(rand.NewPCG(1, 2))
	var tensors []weights.Tensor
	add := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(r.NormFloat64())
		}
		tensors = append(tensors, weights.F32(name, dtype.F16, shape, values))
	}
	add("token_embedding.weight", vocab, width)
	add("positional_embedding", 77, width)
	add("text_projection", width, 6)
	for _, layer := range []string{"transformer.resblocks.0.", "transformer.resblocks.1."} {
		for name, shape := range map[string][]int{
			"ln_1": {width}, "ln_2": {width}, "attn.out_proj": {width, width}, "mlp.c_fc": {4 * width, width}, "mlp.c_proj": {width, 4 * width},
		} {
			add(layer+name+".weight", shape...)
			add(layer+name+".bias", shape[0])
		}
		add(layer+"attn.in_proj_weight", 3*width, width)
		add(layer+"attn.in_proj_bias", 3*width)
	}
	add("ln_final.weight", width)
	add("ln_final.bias", width)
	path := filepath.Join(t.TempDir(), "g.safetensors")
	if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Options{})
	c, err := e.CLIP(t.Context(), "sdxl", path, emoji)
	if err != nil {
		t.Fatal(err)
	}
	apple, pear := encode(t, &Checkpoint{CLIP: c}, "red apple"), encode(t, &Checkpoint{CLIP: c}, "green pear")
	if apple.Tokens != 77 || apple.Width != 96+width || len(apple.Pooled) != 6 || slices.Equal(apple.Pooled, pear.Pooled) {
		t.Errorf("%d tokens of %d features, pooled %v and %v", apple.Tokens, apple.Width, apple.Pooled, pear.Pooled)
	}
	// The first features are those of CLIP-L before its last layer, unnormalized.
	l := *c
	l.encoders = c.encoders[:1]
	if got := encode(t, &Checkpoint{CLIP: &l}, "red apple"); !slices.Equal(got.Embed[:96], apple.Embed[:96]) || got.Width != 96 {
		t.Error("the features of CLIP-L are not the first ones")
	}
}

func TestPartErrors(t *testing.T) {
	e := newEngine(t, Options{})
	l, g := encoderFiles(t)
	vae := filepath.Join(golden.Dir(), "vae.safetensors")
	for want, open := range map[string]func() error{
		"are text encoders of the same size, 64 features":         func() error { _, err := e.CLIP(t.Context(), "sdxl", l, l); return err },
		"has 2 text encoders, found 1 files":                      func() error { _, err := e.CLIP(t.Context(), "sdxl", l); return err },
		"vae.safetensors: not a text encoder of Stable Diffusion": func() error { _, err := e.CLIP(t.Context(), "stable_diffusion", vae); return err },
		"nowhere.gguf": func() error { _, err := e.CLIP(t.Context(), "stable_diffusion", "nowhere.gguf"); return err },
		"there is no tensor model.diffusion_model.input_blocks.": func() error { _, err := e.UNet(t.Context(), l); return err },
	} {
		if err := open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if c, err := e.CLIP(t.Context(), "stable_diffusion", g); err != nil || c.text.Name != sd.Refiner {
		t.Errorf("OpenCLIP-G alone is not the refiner's: %v", err)
	}
}

// TestLoRAOnParts puts a LoRA that is on the UNet only on parts that are files
// of their own: the text encoder takes it and is as before.
func TestLoRAOnParts(t *testing.T) {
	e := newEngine(t, Options{})
	path := filepath.Join(t.TempDir(), "lora.safetensors")
	const layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v"
	if err := weights.Write(t.Context(), path, nil, []weights.Tensor{
		weights.F32(layer+".lora_down.weight", dtype.F32, []int{1, 96}, make([]float32, 96)),
		weights.F32(layer+".lora_up.weight", dtype.F32, []int{128, 1}, make([]float32, 128)),
	}); err != nil {
		t.Fatal(err)
	}
	l, err := e.LoRA(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.UNet(t.Context(), emoji)
	if err != nil {
		t.Fatal(err)
	}
	with, _, err := l.On(m, nil, 1, 0)
	if err != nil || len(with.loras) != 1 {
		t.Errorf("the UNet has %d LoRAs, %v", len(with.loras), err)
	}
	c, err := e.CLIP(t.Context(), "stable_diffusion", emoji)
	if err != nil {
		t.Fatal(err)
	}
	_, text, err := l.On(nil, c, 0, 1)
	if err != nil || len(text.encoders[0].loras) != 0 {
		t.Errorf("the text encoder has %d LoRAs, %v", len(text.encoders[0].loras), err)
	}
}
