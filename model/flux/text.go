package flux

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/llm"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/model/t5"
	"github.com/weir-run/weir/tokenizer"
)

// TextFlux1 is T5, whose texts are filled up and never cut, and the pooled text of
// CLIP-L.
var TextFlux1 = model.Text{
	Name: "FLUX.1", Types: []string{"flux"}, Join: model.First,
	Slots: []model.Slot{t5.Slot(256), clipSlot()},
}

// TextChroma is T5 alone, whose texts are not filled up.
var TextChroma = model.Text{Name: "Chroma", Types: []string{"chroma"}, Slots: []model.Slot{chromaSlot()}}

// chromaSlot weighs words as PixArt's text encoder does in ComfyUI.
func chromaSlot() model.Slot {
	slot := t5.Slot(1)
	slot.Prompt.AgainstPads = true
	return slot
}

// TextFlux2 is Mistral Small 3, of which three states stand side by side.
var TextFlux2 = model.Text{
	Name: "FLUX.2 dev", Types: []string{"flux2", "stable_diffusion"},
	Slots: []model.Slot{{
		Name: "Mistral Small 3", Key: "mistral3_24b", Names: &llm.Names, Prefixes: []string{"text_encoders.mistral3_24b.transformer."},
		LoRA: loraNames("mistral3_24b"), Match: language("Mistral Small 3"),
		Prompt: model.Prompt{Tokenizer: "tekken", Format: tokenizer.Format{
			Plain: true, Embeddings: true, Start: []int32{1}, MinLength: 1, Pad: 11, Left: true,
			Template: "[SYSTEM_PROMPT]You are an AI that reasons about image descriptions. You give structured responses focusing on object relationships, object\n" +
				"attribution and actions without speculation.[/SYSTEM_PROMPT][INST]{}[/INST]",
		}},
		States: model.States{Layers: []int{10, 20, 30}},
	}},
}

// TextKlein is Qwen 3 of 4B or 8B, of which three states stand side by side.
var TextKlein = model.Text{
	Name: "FLUX.2 klein", Types: []string{"flux2"},
	Slots: []model.Slot{{
		Name: "Qwen 3", Key: "qwen3_4b", Names: &llm.Names, Prefixes: []string{"text_encoders.qwen3_4b.transformer.", "text_encoders.qwen3_8b.transformer."},
		LoRA: append(loraNames("qwen3_4b"), loraNames("qwen3_8b")...), Match: language("Qwen 3"),
		Prompt: model.Prompt{Tokenizer: "qwen", Masked: true, Format: tokenizer.Format{
			Plain: true, Embeddings: true, MinLength: 512, Pad: tokenizer.QwenPad,
			Template: "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
		}},
		States: model.States{Layers: []int{9, 18, 27}},
	}},
}

// Text returns the text encoders of the variant.
func (c *Config) Text() []*model.Text {
	switch {
	case c.Kind == Chroma:
		return []*model.Text{&TextChroma, &TextFlux1}
	case c.Kind == Flux1:
		return []*model.Text{&TextFlux1}
	case c.Guidance:
		return []*model.Text{&TextFlux2}
	}
	return []*model.Text{&TextKlein}
}

// clipSlot is CLIP-L, of which the pooled text counts alone.
func clipSlot() model.Slot {
	slot, _ := sd.SlotsLater()
	return slot
}

// loraNames are put before the layers of an encoder in LoRA files.
func loraNames(key string) []string {
	return []string{"text_encoders." + key + ".transformer.", "text_encoders." + key + ".", key + ".transformer.", key + ".", "text_encoder."}
}

// language recognises a language model of a kind.
func language(kind string) func(nn.Tensors, string, map[string]string) (model.Encoder, error) {
	return func(src nn.Tensors, prefix string, _ map[string]string) (model.Encoder, error) {
		c, err := llm.Detect(src, prefix)
		if err == nil && c.Name != kind {
			err = fmt.Errorf("this is %s, expected %s", c.Name, kind)
		}
		return llm.Encoder{Config: c}, err
	}
}
