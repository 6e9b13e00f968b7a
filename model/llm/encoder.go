package llm

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// Names find a language model in a file.
var Names = model.Names{
	What: "language model",
	Marks: []string{"model.layers.0.input_layernorm.", "language_model.model.layers.0.input_layernorm.", "model.language_model.layers.0.input_layernorm.",
		"layers.0.input_layernorm."},
	Not: []string{"model."},
	Modules: []string{
		"model", "language_model", "layers", "embed_tokens", "norm", "lm_head", "visual", "vision_tower", "vision_model", "multi_modal_projector",
		"tekken_model", "spiece_model",
	},
}

// An Encoder is a language model as a part of a model.
type Encoder struct{ Config }

// Describe returns kind and sizes.
func (e Encoder) Describe() string {
	return fmt.Sprintf("%s with %d layers of %d features", e.Name, e.Config.Layers, e.Width)
}

// Depth returns the number of layers.
func (e Encoder) Depth() int { return e.Config.Layers }

// Features returns the number of features of a token.
func (e Encoder) Features() int { return e.Width }

// Summary returns 0: there is no pooled text.
func (e Encoder) Summary(model.States) int { return 0 }

// Vocabulary returns the number of tokens.
func (e Encoder) Vocabulary() int { return e.Vocab }

// Build builds the model.
func (e Encoder) Build(s nn.Scope, in model.TextShape) { Text(s, e.Config, in) }

// Tables returns the positions of the tokens.
func (e Encoder) Tables(in model.TextShape) map[string]any { return e.Config.Tables(in.Tokens) }

// Layers yields the layers of the model. LoRA files have them by the names of
// transformers, which the weights have too. Rows of queries and keys that are in
// another order fit no LoRA.
func (e Encoder) Layers(yield func(model.Layer) bool) {
	for i := range e.Config.Layers {
		for _, name := range []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} {
			if e.Pairs && (name == "self_attn.q_proj" || name == "self_attn.k_proj") {
				continue
			}
			own := e.prefix + layerName(i) + name
			elsewhere := "model." + layerName(i) + name
			if !yield(model.Layer{Weight: own + ".weight", Own: own, Elsewhere: []string{elsewhere}, Side: true}) {
				return
			}
		}
	}
}
