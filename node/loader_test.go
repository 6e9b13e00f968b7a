package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
)

// withModels adds a root of models to the demo's: an autoencoder and a LoRA.
func withModels(t *testing.T, b *bench) {
	t.Helper()
	extra := t.TempDir()
	for _, dir := range []string{"vae", "loras"} {
		if err := os.MkdirAll(filepath.Join(extra, "models", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The demo's own autoencoder, as a file of its own without the prefix.
	set, err := weights.OpenSet(t.Context(), filepath.Join(root, "models", "checkpoints", "emoji.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	vae := set.Sub("first_stage_model.")
	var tensors []weights.Tensor
	for _, name := range vae.Names() {
		ref, _ := vae.Lookup(name)
		raw := make([]byte, ref.Length)
		if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, weights.Tensor{Name: name, DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
	}
	if err := weights.Write(t.Context(), filepath.Join(extra, "models", "vae", "own.safetensors"), nil, tensors); err != nil {
		t.Fatal(err)
	}
	ones := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(i%7)/7 - 0.4
		}
		return out
	}
	var lora []weights.Tensor
	for name, k := range map[string]int{
		"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v": 128,
		"lora_te_text_model_encoder_layers_0_mlp_fc2":                      96,
	} {
		in := map[int]int{128: 96, 96: 384}[k]
		lora = append(lora, weights.F32(name+".lora_down.weight", dtype.BF16, []int{2, in}, ones(2*in)),
			weights.F32(name+".lora_up.weight", dtype.BF16, []int{k, 2}, ones(2*k)))
	}
	if err := weights.Write(t.Context(), filepath.Join(extra, "models", "loras", "both.safetensors"), nil, lora); err != nil {
		t.Fatal(err)
	}
	b.addRoot(extra)
}

// TestLoaders draws with an autoencoder of its own, which is the demo's, and
// with LoRAs, whose strengths on model and text encoder count apart.
func TestLoaders(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	withModels(t, b)
	draw := func(loaders, model, clip, vae string) []float32 {
		t.Helper()
		return b.run(b.parse(`{"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}}, ` + loaders + `
			"2": {"class_type": "CLIPTextEncode", "inputs": {"text": "red apple", "clip": ` + clip + `}},
			"4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
			"5": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
				"model": ` + model + `, "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["4", 0]}},
			"6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ` + vae + `}},
			"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["6", 0]}}}`)).Pix()
	}
	lora := func(model, clip string) string {
		return `"7": {"class_type": "LoraLoader", "inputs": {"lora_name": "both.safetensors", "strength_model": ` + model + `, "strength_clip": ` + clip + `,
			"model": ["1", 0], "clip": ["1", 1]}},`
	}
	const only = `"7": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "both.safetensors", "strength_model": 1.0, "model": ["1", 0]}},`
	plain := draw("", `["1", 0]`, `["1", 1]`, `["1", 2]`)
	pictures := map[string][]float32{
		"plain":     plain,
		"on both":   draw(lora("1.0", "1.0"), `["7", 0]`, `["7", 1]`, `["1", 2]`),
		"on model":  draw(lora("1.0", "0.0"), `["7", 0]`, `["7", 1]`, `["1", 2]`),
		"on text":   draw(lora("0.0", "1.0"), `["7", 0]`, `["7", 1]`, `["1", 2]`),
		"backwards": draw(lora("-1.0", "0.0"), `["7", 0]`, `["7", 1]`, `["1", 2]`),
	}
	for a, x := range pictures {
		for b, y := range pictures {
			if a < b && slices.Equal(x, y) {
				t.Errorf("the picture %s is the one %s", a, b)
			}
		}
	}
	if !slices.Equal(draw(lora("0.0", "0.0"), `["7", 0]`, `["7", 1]`, `["1", 2]`), plain) {
		t.Error("a LoRA of no strength changes the picture")
	}
	if !slices.Equal(draw(only, `["7", 0]`, `["1", 1]`, `["1", 2]`), pictures["on model"]) {
		t.Error("a LoRA on the model only is another one than with no strength on the text")
	}
	own := draw(`"8": {"class_type": "VAELoader", "inputs": {"vae_name": "own.safetensors"}},`, `["1", 0]`, `["1", 1]`, `["8", 0]`)
	if !slices.Equal(own, plain) {
		t.Error("the same autoencoder as a file of its own gives another picture")
	}
}

// TestLoRAOfAnotherModel is refused with what was found and what is known.
func TestLoRAOfAnotherModel(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.env.Folders.Add("loras", golden.Dir())
	g := b.parse(strings.Replace(b.emoji("KSampler.steps=1").String(), `"model": ["1", 0]`, `"model": ["77", 0]`, 1))
	text := strings.TrimSuffix(g.String(), "}") + `, "77": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "srvgg_x2.safetensors", "strength_model": 1.0, "model": ["1", 0]}}}`
	_, _, err := b.try(b.parse(text))
	if err == nil || !strings.Contains(err.Error(), "node 77 (LoraLoaderModelOnly)") || !strings.Contains(err.Error(), "srvgg_x2.safetensors") {
		t.Errorf("got %v", err)
	}
}

// TestLoRAOnWhatThereIs draws with a LoRA on a UNet from a file without text
// encoders, whose prompts are encoded by those of another file, and with files
// that have nothing for a node's model: they change nothing and stop nothing.
func TestLoRAOnWhatThereIs(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	extra := t.TempDir()
	for _, dir := range []string{"checkpoints", "loras/a", "loras/b"} {
		if err := os.MkdirAll(filepath.Join(extra, "models", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	set, err := weights.OpenSet(t.Context(), filepath.Join(root, "models", "checkpoints", "emoji.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var part []weights.Tensor
	for _, name := range set.Names() {
		if ref, _ := set.Lookup(name); !strings.HasPrefix(name, sd.ClipLSD1) {
			raw := make([]byte, ref.Length)
			if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
				t.Fatal(err)
			}
			part = append(part, weights.Tensor{Name: name, DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
		}
	}
	write := func(name string, metadata map[string]string, tensors ...weights.Tensor) {
		if err := weights.Write(t.Context(), filepath.Join(extra, "models", name), metadata, tensors); err != nil {
			t.Fatal(err)
		}
	}
	pair := func(name string, by float32, n, k int) []weights.Tensor {
		down, up := make([]float32, 2*k), make([]float32, 2*n)
		for i := range down {
			down[i] = by * (float32(i%7)/7 - 0.4)
		}
		for i := range up {
			up[i] = float32(i%5)/5 - 0.4
		}
		return []weights.Tensor{weights.F32(name+".lora_down.weight", dtype.F16, []int{2, k}, down), weights.F32(name+".lora_up.weight", dtype.F16, []int{n, 2}, up)}
	}
	const unet, text = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v", "lora_te_text_model_encoder_layers_0_mlp_fc2"
	write("checkpoints/part.safetensors", set.Metadata(), part...)
	write("loras/a/style.safetensors", nil, pair(unet, 1, 128, 96)...)
	write("loras/b/style.safetensors", nil, pair(unet, -2, 128, 96)...)
	write("loras/text.safetensors", nil, pair(text, 1, 96, 384)...)
	b.addRoot(extra)
	draw := func(loader string) []float32 {
		t.Helper()
		return b.run(b.parse(`{"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "part.safetensors"}},
			"3": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji.safetensors"}},
			"7": ` + loader + `,
			"2": {"class_type": "CLIPTextEncode", "inputs": {"text": "red apple", "clip": ["3", 1]}},
			"4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
			"5": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
				"model": ["7", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["4", 0]}},
			"6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["3", 2]}},
			"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["6", 0]}}}`)).Pix()
	}
	both := func(name string) []float32 {
		return draw(`{"class_type": "LoraLoader", "inputs": {"lora_name": "` + name + `", "strength_model": 1.0, "strength_clip": 1.0, "model": ["1", 0], "clip": ["1", 1]}}`)
	}
	only := func(name string) []float32 {
		return draw(`{"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "` + name + `", "strength_model": 1.0, "model": ["1", 0]}}`)
	}
	plain := only("text.safetensors")
	if !slices.Equal(both("text.safetensors"), plain) {
		t.Error("a LoRA for text encoders changes the UNet")
	}
	a := only("a/style.safetensors")
	if slices.Equal(a, plain) || !slices.Equal(both("a/style.safetensors"), a) {
		t.Error("a LoRA on a checkpoint without text encoders is another one than on the model only, or none")
	}
	if other := only("b/style.safetensors"); slices.Equal(other, a) || slices.Equal(other, plain) {
		t.Error("two files of one name in two folders are one")
	}
}
