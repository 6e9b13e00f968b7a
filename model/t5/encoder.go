package t5

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// Names find an encoder in a file.
var Names = model.Names{
	What:    "encoder of T5",
	Marks:   []string{"encoder.block."},
	Modules: []string{"shared", "encoder", "spiece_model"},
}

// An Encoder is an encoder of T5 as a part of a model.
type Encoder struct{ Config }

// Describe returns kind and sizes.
func (e Encoder) Describe() string {
	name := "T5"
	if e.Each {
		name = "UMT5"
	}
	return fmt.Sprintf("%s with %d layers of %d features", name, e.Config.Layers, e.Width)
}

// Depth returns the number of layers.
func (e Encoder) Depth() int { return e.Config.Layers }

// Features returns the number of features of a token.
func (e Encoder) Features() int { return e.Width }

// Summary returns 0: there is no pooled text.
func (e Encoder) Summary(model.States) int { return 0 }

// Vocabulary returns the number of tokens.
func (e Encoder) Vocabulary() int { return e.Vocab }

// Build builds the encoder.
func (e Encoder) Build(s nn.Scope, in model.TextShape) { Text(s, e.Config, in) }

// Tables returns the rows of the tables of relative positions.
func (e Encoder) Tables(in model.TextShape) map[string]any {
	return map[string]any{"buckets": Buckets(in.Tokens)}
}

// Layers yields the layers of the encoder. LoRA files have them by the names of
// transformers, which the weights have too.
func (e Encoder) Layers(yield func(model.Layer) bool) {
	ff := []string{"wi"}
	if e.Gated {
		ff = []string{"wi_0", "wi_1"}
	}
	names := []string{"layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v", "layer.0.SelfAttention.o", "layer.1.DenseReluDense.wo"}
	for _, name := range ff {
		names = append(names, "layer.1.DenseReluDense."+name)
	}
	for i := range e.Config.Layers {
		for _, name := range names {
			own := blockName(i) + name
			if !yield(model.Layer{Weight: own + ".weight", Own: own, Elsewhere: []string{own}, Side: true}) {
				return
			}
		}
	}
}
