package llm

import (
	"fmt"
	"strings"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// A Kind is what the shapes of a language model do not tell.
type Kind struct {
	Name  string
	Eps   float32 // of the norms
	Theta float64 // the base of the rotary positions
	// Stretch divides the positions of global attentions, 0 by nothing.
	Stretch float64
	// Gemma has norms with weights around 1, more of them, a scaled embedding and
	// GELU where the others have SiLU.
	Gemma bool
	// Window, when it is not 0, is how many tokens most attentions see. One of
	// Period sees all.
	Window, Period int
	LocalTheta     float64 // the base of the positions of those that see a window

	headDim int // where no norm of a head tells it
}

// local reports whether the attention of a layer sees a window.
func (k Kind) local(layer int) bool { return k.Window > 0 && (layer+1)%k.Period != 0 }

// The kinds, with the constants of their published configurations.
var (
	qwen25  = Kind{Name: "Qwen 2.5", Eps: 1e-6, Theta: 1e6, headDim: 128}
	qwen3   = Kind{Name: "Qwen 3", Eps: 1e-6, Theta: 1e6, headDim: 128}
	qwen3VL = Kind{Name: "Qwen 3 VL", Eps: 1e-6, Theta: 5e6, headDim: 128}
	mistral = Kind{Name: "Mistral Small 3", Eps: 1e-5, Theta: 1e9, headDim: 128}
	llama3  = Kind{Name: "Llama 3", Eps: 1e-5, Theta: 5e5, headDim: 128}
	gemma2  = Kind{Name: "Gemma 2", Eps: 1e-6, Theta: 1e4, Gemma: true, headDim: 256}
	gemma3  = Kind{Name: "Gemma 3", Eps: 1e-6, Theta: 1e6, Stretch: 8, Gemma: true, Window: 1024, Period: 6, LocalTheta: 1e4, headDim: 256}
	// Ministral 3 has Mistral's vocabulary and Llama's layers, and is told by its
	// width.
	ministral      = Kind{Name: "Ministral 3", Eps: 1e-5, Theta: 1e6, headDim: 128}
	ministralWidth = 3072
)

// tekken is the size of the vocabulary of Mistral's models since 2024, and
// tekkenModel the tensor of ComfyUI's files with the bytes of that vocabulary.
const (
	tekken      = 131072
	tekkenModel = "tekken_model"
)

// prefixes are where files have the model: ComfyUI's and transformers' text
// models, files without a head, and the models of transformers that see.
var prefixes = []string{"model.", "", "language_model.model.", "model.language_model."}

// Detect reads the configuration of the language model whose weights the source
// has under prefix, and checks every weight that the file has of it.
func Detect(src nn.Tensors, prefix string) (Config, error) {
	all := nn.Names(src.Names())
	c := Config{}
	found := false
	for _, p := range prefixes {
		if all.Has(prefix + p + "layers.") {
			c.prefix, found = p, true
			break
		}
	}
	if !found {
		return c, fmt.Errorf("not a language model: there are no tensors %smodel.layers.0...; its tensors begin with %s", prefix, all.Under(prefix).Beginnings(8))
	}
	at := prefix + c.prefix
	var err error
	if c.Layers, err = all.Count(at + "layers."); err != nil {
		return c, err
	}
	has := parts(all.Under(at+"layers."), at+"layers.")
	for part, what := range foreign {
		if has[part] {
			return c, fmt.Errorf("this is a language model with %s (%slayers.N.%s), which is not supported", what, at, part)
		}
	}
	c.Bias, c.QKNorm, c.Norm = has["self_attn.k_proj.bias"], has["self_attn.q_norm.weight"], all.Has(at+"norm.weight")
	c.Pairs = has["self_attn.q_pairs.weight"]
	c.measure(src, at)
	c.Kind = c.kind(has, all, prefix)
	c.divide()
	if c.HeadDim == 0 || c.Heads == 0 || c.KVHeads == 0 || c.Heads%c.KVHeads != 0 || c.HeadDim%2 != 0 {
		return c, fmt.Errorf("%d features of queries and %d of keys (%slayers.0.self_attn.q_proj.weight, k_proj.weight) are no heads of %d that share keys", c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, at, c.HeadDim)
	}
	return c, c.Check(src, prefix).Err()
}

// foreign are parts of layers of models that have more than this package builds.
var foreign = map[string]string{
	"linear_attn.A_log":         "linear attention, such as Qwen 3.5",
	"self_attn.sinks":           "attention sinks, such as GPT-OSS",
	"mlp.experts.gate_up_proj":  "experts",
	"mlp.gate.weight":           "experts",
	"per_layer_projection":      "embeddings of each layer, such as Gemma 4",
	"layer_scalar":              "scaled layers, such as Gemma 4",
	"self_attn.qkv_proj.weight": "queries, keys and values in one tensor",
	"mlp.gate_up_proj.weight":   "a gate and a projection in one tensor",
}

// parts returns what names have behind the numbers of their layers.
func parts(names nn.Names, prefix string) map[string]bool {
	all := map[string]bool{}
	for _, name := range names {
		if _, part, ok := strings.Cut(name[len(prefix):], "."); ok {
			all[part] = true
		}
	}
	return all
}

// measure reads the dimensions that need no kind, each from several tensors.
func (c *Config) measure(src nn.Source, at string) {
	axes := func(parts ...nn.Axis) (all []nn.Axis) {
		for i := range min(c.Layers, 2) {
			for _, p := range parts {
				all = append(all, nn.Axis{Name: layerName(i) + p.Name, I: p.I})
			}
		}
		return all
	}
	c.Width = nn.Agreed(src, at, append(axes(nn.Axis{Name: "input_layernorm.weight"}, nn.Axis{Name: "post_attention_layernorm.weight"}), nn.Axis{Name: "embed_tokens.weight", I: 1})...)
	c.Inner = nn.Agreed(src, at, axes(nn.Axis{Name: "mlp.gate_proj.weight"}, nn.Axis{Name: "mlp.up_proj.weight"}, nn.Axis{Name: "mlp.down_proj.weight", I: 1})...)
	c.Vocab = nn.Agreed(src, at, nn.Axis{Name: "embed_tokens.weight"})
	if c.QKNorm {
		c.HeadDim = nn.Agreed(src, at, axes(nn.Axis{Name: "self_attn.q_norm.weight"}, nn.Axis{Name: "self_attn.k_norm.weight"})...)
	}
	c.Heads = nn.Agreed(src, at, axes(nn.Axis{Name: "self_attn.q_proj.weight"}, nn.Axis{Name: "self_attn.q_pairs.weight"}, nn.Axis{Name: "self_attn.o_proj.weight", I: 1})...)
	c.KVHeads = nn.Agreed(src, at, axes(nn.Axis{Name: "self_attn.k_proj.weight"}, nn.Axis{Name: "self_attn.k_pairs.weight"}, nn.Axis{Name: "self_attn.v_proj.weight"})...)
}

// divide makes heads of the features of queries and keys, which measure has left
// in Heads and KVHeads.
func (c *Config) divide() {
	if c.HeadDim == 0 {
		c.HeadDim = c.headDim
	}
	if c.HeadDim == 0 || c.Heads%c.HeadDim != 0 || c.KVHeads%c.HeadDim != 0 {
		c.Heads, c.KVHeads = 0, 0
		return
	}
	c.Heads, c.KVHeads = c.Heads/c.HeadDim, c.KVHeads/c.HeadDim
}

// kind tells the kind of a model from what it has.
func (c *Config) kind(has map[string]bool, all nn.Names, prefix string) Kind {
	switch {
	case has["post_feedforward_layernorm.weight"] && c.QKNorm:
		return gemma3
	case has["post_feedforward_layernorm.weight"]:
		return gemma2
	case c.QKNorm && (all.Has(prefix+"visual.deepstack_merger_list.") || all.Has(prefix+"model.visual.deepstack_merger_list.")):
		return qwen3VL
	case c.QKNorm:
		return qwen3
	case c.Bias:
		return qwen25
	case c.Vocab != tekken && !all.Has(prefix+tekkenModel):
		return llama3
	case c.Width == ministralWidth:
		return ministral
	}
	return mistral
}

// Check compares the weights of all layers that the file has with those of a
// source.
func (c Config) Check(src nn.Source, prefix string) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) {
		Text(s.Sub(prefix), c, model.TextShape{Batch: 1, Tokens: 1, States: model.States{Norm: c.Norm}})
	})
}
