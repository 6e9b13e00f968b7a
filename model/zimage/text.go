package zimage

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/llm"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/tokenizer"
)

// Text is Qwen 3, of which the state before the last layer is taken as it is. The
// nodes of ComfyUI take it by whatever type but that of FLUX.
var Text = model.Text{
	Name: "Z-Image", Types: []string{"lumina2", "stable_diffusion", "qwen_image"},
	Slots: []model.Slot{{
		Name: "Qwen 3", Key: "qwen3_4b", Names: &llm.Names, Prefixes: []string{"text_encoders.qwen3_4b.transformer."},
		LoRA: []string{"text_encoders.qwen3_4b.transformer.", "text_encoders.qwen3_4b.", "qwen3_4b.transformer.", "qwen3_4b.", "lora_te_", "text_encoder."},
		Match: func(src nn.Tensors, prefix string, _ map[string]string) (model.Encoder, error) {
			c, err := llm.Detect(src, prefix)
			if err == nil && c.Name != "Qwen 3" {
				err = fmt.Errorf("this is %s, expected Qwen 3", c.Name)
			}
			return llm.Encoder{Config: c}, err
		},
		Prompt: model.Prompt{Tokenizer: "qwen", Masked: true, Format: tokenizer.Format{
			Template: "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", Plain: true, Embeddings: true, MinLength: 1, Pad: tokenizer.QwenPad,
		}},
		States: model.States{Layers: []int{-2}},
	}},
}

// Text returns the family's text encoder.
func (c *Config) Text() []*model.Text { return []*model.Text{&Text} }
