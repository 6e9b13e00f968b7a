package t5

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/tokenizer"
)

// Slot returns T5-XXL as the encoder of a model whose texts are filled up to so
// many tokens.
func Slot(least int) model.Slot {
	return model.Slot{
		Name: "T5-XXL", Key: "t5xxl", Names: &Names, Prefixes: []string{"text_encoders.t5xxl.transformer."},
		LoRA: []string{"text_encoders.t5xxl.transformer.", "text_encoders.t5xxl.", "t5xxl.transformer.", "t5xxl.", "text_encoder."},
		Match: func(src nn.Tensors, prefix string, _ map[string]string) (model.Encoder, error) {
			c, err := Detect(src, prefix)
			if err == nil && c.Each {
				err = fmt.Errorf("this is UMT5, which models of Wan read, expected T5-XXL")
			}
			return Encoder{Config: c}, err
		},
		Prompt: model.Prompt{Tokenizer: "t5", Format: tokenizer.Format{Embeddings: true, End: []int32{tokenizer.T5End}, MinLength: least}},
		States: model.States{Layers: []int{-1}, Norm: true},
	}
}
