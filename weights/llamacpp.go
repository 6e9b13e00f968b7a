package weights

import "strings"

// architectureKey is the metadata that names the kind of a GGUF file's model.
const architectureKey = "general.architecture"

// Llama.cpp has names of its own for the layers of text models. These are the ones of transformers, by the kind of the
// model. N stands for the number of a layer.
var (
	llamaLayers = map[string]string{
		"token_embd":        "model.embed_tokens",
		"output_norm":       "model.norm",
		"output":            "lm_head",
		"blk.N.attn_norm":   "model.layers.N.input_layernorm",
		"blk.N.attn_q":      "model.layers.N.self_attn.q_proj",
		"blk.N.attn_k":      "model.layers.N.self_attn.k_proj",
		"blk.N.attn_v":      "model.layers.N.self_attn.v_proj",
		"blk.N.attn_output": "model.layers.N.self_attn.o_proj",
		"blk.N.attn_q_norm": "model.layers.N.self_attn.q_norm",
		"blk.N.attn_k_norm": "model.layers.N.self_attn.k_norm",
		"blk.N.ffn_norm":    "model.layers.N.post_attention_layernorm",
		"blk.N.ffn_gate":    "model.layers.N.mlp.gate_proj",
		"blk.N.ffn_up":      "model.layers.N.mlp.up_proj",
		"blk.N.ffn_down":    "model.layers.N.mlp.down_proj",
	}
	// pairedLayers are those of the architecture llama that have other names: the rows of queries and keys are in another
	// order than in transformers. What the rotary positions rotate together are neighbours, not in two halves of a head.
	pairedLayers = map[string]string{
		"blk.N.attn_q": "model.layers.N.self_attn.q_pairs",
		"blk.N.attn_k": "model.layers.N.self_attn.k_pairs",
	}
	t5Layers = map[string]string{
		"token_embd":           "shared",
		"enc.output_norm":      "encoder.final_layer_norm",
		"enc.blk.N.attn_norm":  "encoder.block.N.layer.0.layer_norm",
		"enc.blk.N.attn_q":     "encoder.block.N.layer.0.SelfAttention.q",
		"enc.blk.N.attn_k":     "encoder.block.N.layer.0.SelfAttention.k",
		"enc.blk.N.attn_v":     "encoder.block.N.layer.0.SelfAttention.v",
		"enc.blk.N.attn_o":     "encoder.block.N.layer.0.SelfAttention.o",
		"enc.blk.N.attn_rel_b": "encoder.block.N.layer.0.SelfAttention.relative_attention_bias",
		"enc.blk.N.ffn_norm":   "encoder.block.N.layer.1.layer_norm",
		"enc.blk.N.ffn_gate":   "encoder.block.N.layer.1.DenseReluDense.wi_0",
		"enc.blk.N.ffn_up":     "encoder.block.N.layer.1.DenseReluDense.wi_1",
		"enc.blk.N.ffn_down":   "encoder.block.N.layer.1.DenseReluDense.wo",
	}
)

// architectures are the tables of names for each kind of model, of which the first that has a layer counts. Those that are
// not here keep their names.
var architectures = map[string][]map[string]string{
	"llama": {pairedLayers, llamaLayers}, "mistral3": {pairedLayers, llamaLayers},
	"qwen2": {llamaLayers}, "qwen2vl": {llamaLayers}, "qwen3": {llamaLayers},
	"t5": {t5Layers}, "t5encoder": {t5Layers},
}

// fromLlamaCPP returns a view of a GGUF file's tensors under the names of transformers, if llama.cpp has written it with
// names of its own.
func (s *Set) fromLlamaCPP() (*Set, error) {
	tables := architectures[s.metadata[architectureKey]]
	if tables == nil {
		return s, nil
	}
	view, err := s.Renamed(func(name string) string {
		layer, kind, _ := cutLast(name, ".")
		numbered, number := withoutNumber(layer)
		for _, layers := range tables {
			if to, ok := layers[numbered]; ok {
				return strings.Replace(to, "N", number, 1) + "." + kind
			}
		}
		return name
	})
	if err != nil {
		return nil, err
	}
	if !view.HasPrefix("encoder.block.0.layer.1.DenseReluDense.wi_0.") { // an older T5, without a gate
		view, err = view.Renamed(func(name string) string {
			return strings.Replace(name, ".DenseReluDense.wi_1.", ".DenseReluDense.wi.", 1)
		})
	}
	if view != nil {
		view.owned = s.owned
	}
	return view, err
}

// cutLast cuts a text at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// withoutNumber returns a layer's name with N in place of the number behind "blk.".
func withoutNumber(layer string) (numbered, number string) {
	before, rest, ok := strings.Cut(layer, "blk.")
	if !ok {
		return layer, ""
	}
	number, rest, _ = strings.Cut(rest, ".")
	return before + "blk.N." + rest, number
}
