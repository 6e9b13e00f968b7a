package node

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// openCLIP are the shapes of a small CLIP-G, t5xxl those of a small T5.
func openCLIP(width int) map[string][]int {
	shapes := map[string][]int{
		"token_embedding.weight": {49408, width}, "positional_embedding": {77, width}, "text_projection": {width, 6},
		"ln_final.weight": {width}, "ln_final.bias": {width},
	}
	for i := range 2 {
		at := fmt.Sprintf("transformer.resblocks.%d.", i)
		for name, shape := range map[string][]int{
			"ln_1": {width}, "ln_2": {width}, "attn.out_proj": {width, width}, "mlp.c_fc": {4 * width, width}, "mlp.c_proj": {width, 4 * width},
		} {
			shapes[at+name+".weight"], shapes[at+name+".bias"] = shape, shape[:1]
		}
		shapes[at+"attn.in_proj_weight"], shapes[at+"attn.in_proj_bias"] = []int{3 * width, width}, []int{3 * width}
	}
	return shapes
}

func t5xxl(width int) map[string][]int {
	shapes := map[string][]int{
		"shared.weight": {32128, width}, "encoder.final_layer_norm.weight": {width},
		"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": {32, 2},
	}
	for i := range 2 {
		at := fmt.Sprintf("encoder.block.%d.layer.", i)
		for _, name := range []string{"q", "k", "v", "o"} {
			shapes[at+"0.SelfAttention."+name+".weight"] = []int{width, width}
		}
		shapes[at+"0.layer_norm.weight"], shapes[at+"1.layer_norm.weight"] = []int{width}, []int{width}
		shapes[at+"1.DenseReluDense.wi_0.weight"], shapes[at+"1.DenseReluDense.wi_1.weight"] = []int{2 * width, width}, []int{2 * width, width}
		shapes[at+"1.DenseReluDense.wo.weight"] = []int{width, 2 * width}
	}
	return shapes
}

// encodingBench has small text encoders; a graph's node "e" is encoded.
func encodingBench(t *testing.T) func(loader, class, inputs string) (Cond, error) {
	b := newBench(t, pipeline.Options{})
	folder := t.TempDir()
	texts := filepath.Join(folder, "models", "text_encoders")
	hashedFile(t, filepath.Join(texts, "g.safetensors"), "", openCLIP(16))
	hashedFile(t, filepath.Join(texts, "t5.safetensors"), "", t5xxl(16))
	emoji, err := os.ReadFile(filepath.Join(root, "models", "checkpoints", "emoji.safetensors"))
	if err == nil {
		err = os.WriteFile(filepath.Join(texts, "l.safetensors"), emoji, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.addRoot(folder)
	var got Conditioning
	b.reg.Register(workflow.Schema{Class: "Take", Inputs: []workflow.Input{workflow.Link("c", workflow.TypeConditioning)}, Output: true, Run: take(&got)})
	return func(loader, class, inputs string) (Cond, error) {
		_, _, err := b.try(b.parse(`{"c": {"class_type": ` + loader + `},
			"e": {"class_type": "` + class + `", "inputs": {"clip": ["c", 0], ` + inputs + `}},
			"t": {"class_type": "Take", "inputs": {"c": ["e", 0]}}}`))
		if err != nil {
			return Cond{}, err
		}
		return got[0], nil
	}
}

const (
	loadSDXL = `"DualCLIPLoader", "inputs": {"clip_name1": "l.safetensors", "clip_name2": "g.safetensors", "type": "sdxl"}`
	loadFlux = `"DualCLIPLoader", "inputs": {"clip_name1": "l.safetensors", "clip_name2": "t5.safetensors", "type": "flux"}`
	loadSD3  = `"TripleCLIPLoader", "inputs": {"clip_name1": "l.safetensors", "clip_name2": "g.safetensors", "clip_name3": "t5.safetensors"}`
	loadSD   = `"CLIPLoader", "inputs": {"clip_name": "l.safetensors", "type": "stable_diffusion"}`
)

// columns returns some features of every token.
func columns(c Cond, from, to int) (out []float32) {
	for i := range c.Tokens {
		out = append(out, c.Embed[i*c.Width+from:i*c.Width+to]...)
	}
	return out
}

// TestTextsForEachEncoder compares the nodes with a text for each encoder with
// CLIPTextEncode, which has one for all.
func TestTextsForEachEncoder(t *testing.T) {
	encode := encodingBench(t)
	must := func(loader, class, inputs string) Cond {
		t.Helper()
		c, err := encode(loader, class, inputs)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const sizes = `"width": 640, "height": 480, "crop_w": 3, "crop_h": 5, "target_width": 800, "target_height": 600, `
	apple, pear := must(loadSDXL, "CLIPTextEncode", `"text": "red apple"`), must(loadSDXL, "CLIPTextEncode", `"text": "(green:1.3) pear"`)
	both := must(loadSDXL, "CLIPTextEncodeSDXL", sizes+`"text_l": "red apple", "text_g": "(green:1.3) pear"`)
	if !slices.Equal(columns(both, 0, 96), columns(apple, 0, 96)) || !slices.Equal(columns(both, 96, 112), columns(pear, 96, 112)) || !slices.Equal(both.Pooled, pear.Pooled) {
		t.Error("SDXL: the texts are not those of each encoder")
	}
	if want := (map[string][]float32{model.Sizes: {480, 640, 5, 3, 600, 800}}); !maps.EqualFunc(both.Numbers, want, slices.Equal) {
		t.Errorf("SDXL: got %v, want %v", both.Numbers, want)
	}
	// A text of two chunks beside one of one chunk, which an empty one follows.
	long := must(loadSDXL, "CLIPTextEncode", `"text": "`+strings.Repeat("cat ", 100)+`"`)
	empty := must(loadSDXL, "CLIPTextEncode", `"text": ""`)
	uneven := must(loadSDXL, "CLIPTextEncodeSDXL", sizes+`"text_l": "red apple", "text_g": "`+strings.Repeat("cat ", 100)+`"`)
	if want := slices.Concat(columns(apple, 0, 96), columns(empty, 0, 96)); uneven.Tokens != 154 || !slices.Equal(columns(uneven, 0, 96), want) ||
		!slices.Equal(columns(uneven, 96, 112), columns(long, 96, 112)) {
		t.Errorf("SDXL: the shorter text of %d tokens is not followed by an empty one", uneven.Tokens)
	}

	apple, pear = must(loadFlux, "CLIPTextEncode", `"text": "red apple"`), must(loadFlux, "CLIPTextEncode", `"text": "(green:1.3) pear"`)
	both = must(loadFlux, "CLIPTextEncodeFlux", `"clip_l": "red apple", "t5xxl": "(green:1.3) pear", "guidance": 2.5`)
	if both.Tokens != 256 || !slices.Equal(both.Embed, pear.Embed) || !slices.Equal(both.Pooled, apple.Pooled) || slices.Equal(apple.Pooled, pear.Pooled) {
		t.Error("FLUX.1: the texts are not those of each encoder")
	}
	if want := (map[string][]float32{model.Guidance: {2.5}}); !maps.EqualFunc(both.Numbers, want, slices.Equal) {
		t.Errorf("FLUX.1: got %v, want %v", both.Numbers, want)
	}

	t5, apple := must(loadFlux, "CLIPTextEncode", `"text": "red apple"`), must(loadSD3, "CLIPTextEncode", `"text": "red apple"`)
	nothing := must(loadSD3, "CLIPTextEncodeSD3", `"clip_l": "", "clip_g": "", "t5xxl": "red apple", "empty_padding": "none"`)
	if nothing.Tokens != 77 || nothing.Width != 112 || len(nothing.Pooled) != 102 || slices.ContainsFunc(nothing.Pooled, func(v float32) bool { return v != 0 }) ||
		!slices.Equal(nothing.Embed, apple.Embed[77*112:]) || t5.Tokens != 256 {
		t.Errorf("SD3: %d tokens of %d features, pooled %d, of a text for T5 alone", nothing.Tokens, nothing.Width, len(nothing.Pooled))
	}
	nothing = must(loadSD3, "CLIPTextEncodeSD3", `"clip_l": "red apple", "clip_g": "", "t5xxl": "", "empty_padding": "none"`)
	if nothing.Tokens != 78 || !slices.Equal(columns(nothing, 0, 96)[:77*96], columns(apple, 0, 96)[:77*96]) {
		t.Errorf("SD3: %d tokens of a text for CLIP-L alone", nothing.Tokens)
	}
	both = must(loadSD3, "CLIPTextEncodeSD3", `"clip_l": "red apple", "clip_g": "red apple", "t5xxl": "red apple", "empty_padding": "empty_prompt"`)
	if !slices.Equal(both.Embed, apple.Embed) || !slices.Equal(both.Pooled, apple.Pooled) {
		t.Error("SD3: three equal texts are not those of CLIPTextEncode")
	}

	lumina := must(loadSD, "CLIPTextEncodeLumina2", `"system_prompt": "alignment", "user_prompt": "red apple"`)
	plain := must(loadSD, "CLIPTextEncode", `"text": "You are an assistant designed to generate high-quality images with the highest degree of image-text alignment based on textual prompts. <Prompt Start> red apple"`)
	if !slices.Equal(lumina.Embed, plain.Embed) {
		t.Error("Lumina 2: the text is not the prompt behind the system prompt")
	}
}

func TestTextsForOtherEncoders(t *testing.T) {
	encode := encodingBench(t)
	_, err := encode(loadSD, "CLIPTextEncodeFlux", `"clip_l": "a", "t5xxl": "b", "guidance": 1`)
	if want := "there are prompts for clip_l, t5xxl, and the text encoders of Stable Diffusion 1.x read clip_l"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
