package clip

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// Names find a text encoder in a file, as transformers and open_clip name it.
var Names = model.Names{
	What:  "text encoder",
	Marks: []string{"text_model.encoder.layers.", "encoder.layers.", "transformer.resblocks."},
	Not:   []string{"text_model.", "vision_model.", "visual."},
	Modules: []string{
		"text_model", "text_projection", "embeddings", "encoder", "final_layer_norm", "vision_model", "visual_projection",
		"transformer", "token_embedding", "positional_embedding", "ln_final", "logit_scale", "visual", "attn_mask",
	},
}

// An Encoder is a text encoder as a part of a model.
type Encoder struct{ Config }

// Describe returns kind and sizes.
func (e Encoder) Describe() string {
	name := "CLIP"
	if e.Activation == ir.GELU {
		name = "OpenCLIP"
	}
	return fmt.Sprintf("%s with %d layers of %d features, reads %d tokens at once", name, e.Config.Layers, e.Width, e.Length)
}

// Depth returns the number of layers.
func (e Encoder) Depth() int { return e.Config.Layers }

// Features returns the number of features of a token.
func (e Encoder) Features() int { return e.Width }

// Summary returns the number of features of the pooled text.
func (e Encoder) Summary(s model.States) int {
	if e.Projected > 0 && !s.Unprojected {
		return e.Projected
	}
	return e.Width
}

// Vocabulary returns the number of tokens.
func (e Encoder) Vocabulary() int { return e.Vocab }

// Build builds the encoder.
func (e Encoder) Build(s nn.Scope, in model.TextShape) {
	build, output := Text, Output{Layer: -1}
	if in.Embedded {
		build = TextEmbedded
	}
	if len(in.States.Layers) > 0 {
		output.Layer = in.States.Layers[0]
	}
	output.Norm, output.Unprojected = in.States.Norm, in.States.Unprojected
	build(s, e.Config, in.Batch, output)
}

// Tables returns nothing.
func (e Encoder) Tables(model.TextShape) map[string]any { return nil }

// Layers yields the layers of the encoder by their names in transformers.
func (e Encoder) Layers(yield func(model.Layer) bool) {
	linear := e.Matrices()
	for i, m := range slices.Concat(linear, e.Others()) {
		l := model.Layer{Weight: m.Weight, Elsewhere: []string{m.Name}, From: m.From, Rows: m.Rows, Transposed: m.Transposed, Side: i < len(linear)}
		// Early checkpoints, and some files of encoders alone, leave this out.
		if short, ok := strings.CutPrefix(m.Name, "text_model."); ok {
			l.Elsewhere = append(l.Elsewhere, short)
		}
		if !yield(l) {
			return
		}
	}
}
