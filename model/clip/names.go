package clip

import "fmt"

// names are the tensors of an encoder as its family calls them.
type names struct {
	tokens, positions     string // tables
	finalNorm, projection string
	layer                 func(i int) layerNames
}

// layerNames are the tensors of a layer. OpenCLIP has query, key and value in
// one matrix, inProj; the others have three.
type layerNames struct {
	norm1, q, k, v, inProj, out string
	norm2, up, down             string
}

// transformersNames are those of transformers' CLIPTextModel. Some early
// checkpoints leave out "text_model".
func transformersNames(model string) names {
	return names{
		tokens:     model + "embeddings.token_embedding.weight",
		positions:  model + "embeddings.position_embedding.weight",
		finalNorm:  model + "final_layer_norm",
		projection: "text_projection.weight",
		layer: func(i int) layerNames {
			l := fmt.Sprintf("%sencoder.layers.%d.", model, i)
			return layerNames{
				norm1: l + "layer_norm1", q: l + "self_attn.q_proj", k: l + "self_attn.k_proj", v: l + "self_attn.v_proj", out: l + "self_attn.out_proj",
				norm2: l + "layer_norm2", up: l + "mlp.fc1", down: l + "mlp.fc2",
			}
		},
	}
}

// openCLIPNames are those of open_clip's text transformer.
var openCLIPNames = names{
	tokens:     "token_embedding.weight",
	positions:  "positional_embedding",
	finalNorm:  "ln_final",
	projection: "text_projection",
	layer: func(i int) layerNames {
		l := fmt.Sprintf("transformer.resblocks.%d.", i)
		return layerNames{
			norm1: l + "ln_1", inProj: l + "attn.in_proj", out: l + "attn.out_proj",
			norm2: l + "ln_2", up: l + "mlp.c_fc", down: l + "mlp.c_proj",
		}
	},
}
