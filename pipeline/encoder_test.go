package pipeline

import (
	"fmt"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/flux"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/t5"
	"github.com/weir-run/weir/model/zimage"
	"github.com/weir-run/weir/tokenizer"
	"github.com/weir-run/weir/weights"
)

// A tiny is a text encoder of tiny width whose weights are computed.
type tiny struct {
	t       *testing.T
	key     string // before the names when they are hashed
	tensors []weights.Tensor
}

func (f *tiny) add(name string, shape ...int) {
	values := golden.Hashed(f.key+".transformer."+name, shape...)
	raw := make([]byte, 2*len(values))
	dtype.FromF32(raw, values, dtype.F16)
	f.tensors = append(f.tensors, weights.Tensor{Name: name, DType: dtype.F16, Shape: shape, Write: weights.Bytes(raw)})
}

// carry adds a vocabulary of the golden.
func (f *tiny) carry(g golden.File, name string) {
	values := g.I32(name)
	raw := make([]byte, len(values))
	for i, v := range values {
		raw[i] = byte(v)
	}
	f.tensors = append(f.tensors, weights.Tensor{Name: name, DType: dtype.U8, Shape: []int{len(raw)}, Write: weights.Bytes(raw)})
}

func (f *tiny) write() string { return writeTensors(f.t, nil, f.tensors...) }

// tinyLLM is a language model of 32 features with two heads.
func tinyLLM(t *testing.T, key string, layers, vocabulary int, norms bool) *tiny {
	f := &tiny{t: t, key: key}
	f.add("model.embed_tokens.weight", vocabulary, 32)
	for i := range layers {
		l := fmt.Sprintf("model.layers.%d.", i)
		f.add(l+"self_attn.q_proj.weight", 256, 32)
		f.add(l+"self_attn.k_proj.weight", 128, 32)
		f.add(l+"self_attn.v_proj.weight", 128, 32)
		f.add(l+"self_attn.o_proj.weight", 32, 256)
		f.add(l+"mlp.gate_proj.weight", 40, 32)
		f.add(l+"mlp.up_proj.weight", 40, 32)
		f.add(l+"mlp.down_proj.weight", 32, 40)
		f.add(l+"input_layernorm.weight", 32)
		f.add(l+"post_attention_layernorm.weight", 32)
		if norms {
			f.add(l+"self_attn.q_norm.weight", 128)
			f.add(l+"self_attn.k_norm.weight", 128)
		}
	}
	return f
}

// tinyT5 is an encoder of T5 of 48 features; each says that it is UMT5.
func tinyT5(t *testing.T, key string, vocabulary int, each bool) *tiny {
	f := &tiny{t: t, key: key}
	f.add("shared.weight", vocabulary, 48)
	for i := range 3 {
		l := fmt.Sprintf("encoder.block.%d.layer.", i)
		for _, name := range []string{"q", "k", "v", "o"} {
			f.add(l+"0.SelfAttention."+name+".weight", 48, 48)
		}
		if i == 0 || each {
			f.add(l+"0.SelfAttention.relative_attention_bias.weight", 32, 3)
		}
		f.add(l+"0.layer_norm.weight", 48)
		f.add(l+"1.DenseReluDense.wi_0.weight", 64, 48)
		f.add(l+"1.DenseReluDense.wi_1.weight", 64, 48)
		f.add(l+"1.DenseReluDense.wo.weight", 48, 64)
		f.add(l+"1.layer_norm.weight", 48)
	}
	f.add("encoder.final_layer_norm.weight", 48)
	return f
}

// tinyCLIP is CLIP-L of 64 features, with a projection.
func tinyCLIP(t *testing.T) *tiny {
	f := &tiny{t: t, key: "clip_l"}
	linear := func(name string, n, k int) {
		f.add(name+".weight", n, k)
		f.add(name+".bias", n)
	}
	norm := func(name string) {
		f.add(name+".weight", 64)
		f.add(name+".bias", 64)
	}
	f.add("text_model.embeddings.token_embedding.weight", 49408, 64)
	f.add("text_model.embeddings.position_embedding.weight", 77, 64)
	for i := range 2 {
		l := fmt.Sprintf("text_model.encoder.layers.%d.", i)
		norm(l + "layer_norm1")
		norm(l + "layer_norm2")
		for _, name := range []string{"q_proj", "k_proj", "v_proj", "out_proj"} {
			linear(l+"self_attn."+name, 64, 64)
		}
		linear(l+"mlp.fc1", 256, 64)
		linear(l+"mlp.fc2", 64, 256)
	}
	norm("text_model.final_layer_norm")
	f.add("text_projection.weight", 64, 64)
	return f
}

// wan is UMT5, of which what is masked is zero.
var wan = model.Text{
	Slots: []model.Slot{{
		Name: "UMT5", Key: "umt5xxl", Names: &t5.Names, Prefixes: []string{"text_encoders.umt5xxl.transformer."},
		Match: func(src nn.Tensors, prefix string, _ map[string]string) (model.Encoder, error) {
			c, err := t5.Detect(src, prefix)
			return t5.Encoder{Config: c}, err
		},
		Prompt: model.Prompt{Tokenizer: "sentencepiece", Masked: true, Format: tokenizer.Format{End: []int32{1}, MinLength: 512}},
		States: model.States{Norm: true, ZeroPadded: true},
	}},
}

// TestTexts compares encoded prompts, from text to states, with those of ComfyUI's
// text encoders of whole families.
func TestTexts(t *testing.T) {
	g := golden.Open(t, "encoders")
	qwen := tinyLLM(t, "qwen3_4b", 36, 151936, true)
	qwen.add("model.norm.weight", 32)
	qwenFile := qwen.write()
	mistral := tinyLLM(t, "mistral3_24b", 30, 320, false) // without the layers behind the last state
	mistral.carry(g, "tekken_model")
	t5xxl := tinyT5(t, "t5xxl", 32128, false).write()

	umt5 := tinyT5(t, "umt5xxl", 330, true)
	umt5.carry(g, "spiece_model")

	e := newEngine(t, Options{})
	for family, f := range map[string]struct {
		text  *model.Text
		files []string
	}{
		"z_image": {&zimage.Text, []string{qwenFile}},
		"klein":   {&flux.TextKlein, []string{qwenFile}},
		"flux2":   {&flux.TextFlux2, []string{mistral.write()}},
		"flux1":   {&flux.TextFlux1, []string{tinyCLIP(t).write(), t5xxl}},
		"chroma":  {&flux.TextChroma, []string{t5xxl}},
		"wan":     {&wan, []string{umt5.write()}},
	} {
		var files []textFile
		for _, path := range f.files {
			set, src, err := e.tensorsOf(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, textFile{path, set, src})
		}
		clip, err := e.text(f.text, files)
		if err != nil {
			t.Errorf("%s: %v", family, err)
			continue
		}
		for name, prompt := range g.Metadata() {
			what := family + "." + name
			if _, ok := g.Lookup(what); !ok {
				continue
			}
			text, err := clip.Encode(t.Context(), prompt, nil)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if want := int(g.I32(what + ".tokens")[0]); text.Tokens != want || text.Width != g.Shape(what)[1] {
				t.Errorf("%s: %d tokens of %d features, want %d of %d", what, text.Tokens, text.Width, want, g.Shape(what)[1])
				continue
			}
			var some []float32
			for i := 0; i < text.Tokens; i += 7 { // the golden has every seventh
				some = append(some, text.Embed[i*text.Width:(i+1)*text.Width]...)
			}
			golden.Check(t, what, some, g.F32(what), 1e-4)
			if _, ok := g.Lookup(what + ".pooled"); ok {
				golden.Check(t, what+", pooled", text.Pooled, g.F32(what+".pooled"), 1e-4)
			} else if len(text.Pooled) > 0 {
				t.Errorf("%s has a pooled text", what)
			}
		}
	}
}
