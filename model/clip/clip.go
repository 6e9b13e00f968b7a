// Package clip builds the text encoders of Stable Diffusion: CLIP ViT-L as
// OpenAI and transformers name its weights, and OpenCLIP's larger ones under
// their own names. It builds their encoders of pictures too, and SigLIP's.
package clip

import (
	"fmt"
	"strconv"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A Config is a text encoder. Everything but Heads comes from the shapes of
// its weights.
type Config struct {
	Layers    int
	Width     int
	Heads     int
	Length    int // the number of tokens it reads at once
	Vocab     int
	Projected int // the size of the projected pooled output, 0 without a projection
	// Activation is QuickGELU in OpenAI's CLIP and GELU in OpenCLIP.
	Activation ir.Func

	names names
}

// headDim is the width of a head in every published CLIP text encoder.
const headDim = 64

// MetadataHeads is the key in a checkpoint's metadata that gives the number
// of heads where it is not the width divided by 64.
const MetadataHeads = "weir.clip.num_heads"

// Detect reads the configuration of the text encoder whose weights the source
// has under prefix, which is "cond_stage_model.transformer." in Stable
// Diffusion 1, and "conditioner.embedders.0.transformer." and
// "conditioner.embedders.1.model." in SDXL, and checks every weight against it. Of
// weights with transformers' names nothing tells whether they are OpenCLIP's,
// whose Activation is GELU; the caller must know.
func Detect(src nn.Tensors, prefix string, metadata map[string]string) (Config, error) {
	all := nn.Names(src.Names())
	has := func(name string) bool { return all.Has(prefix + name) }
	c := Config{Activation: ir.QuickGELU}
	switch {
	case has("transformer.resblocks."):
		c.Activation, c.names = ir.GELU, openCLIPNames
	case has("text_model.encoder.layers."):
		c.names = transformersNames("text_model.")
		if has("text_model.text_projection") { // as stable-diffusion.cpp names OpenCLIP's
			c.names.projection, c.names.transposed = "text_model.text_projection", true
		}
	case has("encoder.layers."):
		c.names = transformersNames("")
	case has("text_model."), has("token_embedding."), has("embeddings."):
		return c, fmt.Errorf("the text encoder has no layers: no name of a tensor begins with %stext_model.encoder.layers.0", prefix)
	default:
		return c, fmt.Errorf("not a text encoder of Stable Diffusion (CLIP): there are no tensors %stext_model.encoder.layers.0... or %stransformer.resblocks.0...; its tensors begin with %s", prefix, prefix, all.Under(prefix).Beginnings(8))
	}
	var err error
	if c.Layers, err = all.Count(prefix + c.names.layers); err != nil {
		return c, err
	}
	first := c.names.layer(0)
	c.Width = nn.Agreed(src, prefix, nn.Axis{Name: c.names.tokens, I: 1}, nn.Axis{Name: c.names.positions, I: 1},
		nn.Axis{Name: first.norm1 + ".weight"}, nn.Axis{Name: first.norm2 + ".weight"}, nn.Axis{Name: c.names.finalNorm + ".weight"})
	c.Vocab = nn.Agreed(src, prefix, nn.Axis{Name: c.names.tokens})
	c.Length = nn.Agreed(src, prefix, nn.Axis{Name: c.names.positions})
	if c.names.openCLIP() || has(c.names.projection) {
		if c.Projected = nn.Agreed(src, prefix, nn.Axis{Name: c.names.projection, I: c.names.projectedAxis()}); c.Projected == 0 {
			return c, fmt.Errorf("there is no tensor %s, or it is no matrix", prefix+c.names.projection)
		}
	}
	if want, known := published[c.Width]; known && c.Layers != want {
		return c, fmt.Errorf("the text encoder has %d layers of %d features (%s...), expected %d: the file is incomplete", c.Layers, c.Width, prefix+c.names.layers, want)
	}
	c.Heads = max(c.Width/headDim, 1)
	if text, ok := metadata[MetadataHeads]; ok {
		if c.Heads, err = strconv.Atoi(text); err != nil || c.Heads < 1 {
			return c, fmt.Errorf("metadata %s is %.200q, expected a number of heads", MetadataHeads, text)
		}
	}
	if c.Width%c.Heads != 0 {
		return c, fmt.Errorf("a text encoder of width %d cannot have %d heads", c.Width, c.Heads)
	}
	return c, c.Check(src, prefix).Err()
}

// published are the layers of the text encoders of each width that models of
// Stable Diffusion have: CLIP ViT-L and OpenCLIP ViT-bigG.
var published = map[int]int{768: 12, 1280: 32}

// Check compares the weights of the encoder with those of a source.
func (c Config) Check(src nn.Source, prefix string) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) { Text(s.Sub(prefix), c, 1, Output{Layer: -1, Norm: true}) })
}

// An Output says which of the encoder's states a model is conditioned on.
type Output struct {
	// Layer counts from the end: -1 is the last layer, -2 the one before.
	Layer int
	// Norm applies the final layer norm to that state.
	Norm bool
	// Unprojected leaves out the projection of the pooled output.
	Unprojected bool
}

// Text builds the encoder from the weights at the scope. Its inputs are
// tokens[batch,Length] and ends[batch], the place of each chunk's end token in
// all the tokens, counted through. Its outputs are hidden[batch,Length,Width],
// the state that o names, and pooled[batch,Projected], the last layer's
// normalized state at the end tokens, projected if there is a projection.
func Text(s nn.Scope, c Config, batch int, o Output) {
	encode(s, c, batch, o, tokens(s, c, batch))
}

// TextEmbedded builds the encoder of a text with vectors of textual inversion
// embeddings (Gal et al. 2022) among its tokens. It has two more inputs:
// known[batch,Length,1], which is 1 for a token and 0 for a vector, and
// vectors[batch,Length,Width], which are 0 for a token.
func TextEmbedded(s nn.Scope, c Config, batch int, o Output) {
	g := s.Graph()
	known := g.Input("known", dtype.F32, batch, c.Length, 1)
	vectors := g.Input("vectors", dtype.F32, batch, c.Length, c.Width)
	encode(s, c, batch, o, g.Add(g.Mul(tokens(s, c, batch), known), vectors))
}

// tokens looks up the vectors of the tokens.
func tokens(s nn.Scope, c Config, batch int) ir.Value {
	g := s.Graph()
	return s.EmbeddingOf(c.names.tokens, g.Input("tokens", dtype.I32, batch, c.Length), c.Vocab, c.Width)
}

// encode builds the encoder behind the vectors of the text.
func encode(s nn.Scope, c Config, batch int, o Output, words ir.Value) {
	g := s.Graph()
	ends := g.Input("ends", dtype.I32, batch)

	x := g.Add(words, s.Weight(c.names.positions, c.Length, c.Width))
	states := []ir.Value{x}
	for i := range c.Layers {
		x = layer(s, c, c.names.layer(i), x)
		states = append(states, x)
	}
	last := s.LayerNorm(c.names.finalNorm, x, eps)

	hidden := states[max(len(states)+o.Layer, 0)]
	if o.Norm && hidden == x {
		hidden = last
	} else if o.Norm {
		hidden = s.LayerNorm(c.names.finalNorm, hidden, eps)
	}
	g.Output("hidden", hidden)

	pooled := g.Embedding(ends, g.Reshape(last, batch*c.Length, c.Width))
	if c.Projected > 0 && !o.Unprojected {
		if c.names.transposed {
			pooled = g.Linear(pooled, g.Permute(s.Weight(c.names.projection, c.Width, c.Projected), 1, 0), ir.None)
		} else {
			pooled = s.LinearOf(c.names.projection, "", pooled, c.Projected)
		}
	}
	g.Output("pooled", pooled)
}

// eps is the epsilon of every layer norm.
const eps = 1e-5

// layer is a layer of the text encoder.
func layer(s nn.Scope, c Config, n layerNames, x ir.Value) ir.Value {
	return block{c.Width, c.Heads, 4 * c.Width, c.Activation, true}.build(s, n, x)
}

// A block is a pre-norm transformer block, whose attention is causal in texts.
type block struct {
	width, heads, inner int
	activation          ir.Func
	causal              bool
}

func (b block) build(s nn.Scope, n layerNames, x ir.Value) ir.Value {
	g := s.Graph()
	h := s.LayerNorm(n.norm1, x, eps)
	q, k, v := queryKeyValue(s, n, h, b.width)
	h = g.Attention(q, k, v, ir.AttentionOptions{Heads: b.heads, Causal: b.causal})
	x = g.Add(x, s.Linear(n.out, h, b.width))
	h = s.LayerNorm(n.norm2, x, eps)
	h = g.Unary(b.activation, s.Linear(n.up, h, b.inner))
	return g.Add(x, s.Linear(n.down, h, b.width))
}

func queryKeyValue(s nn.Scope, n layerNames, x ir.Value, width int) (q, k, v ir.Value) {
	if n.inProj == "" {
		return s.Linear(n.q, x, width), s.Linear(n.k, x, width), s.Linear(n.v, x, width)
	}
	// OpenCLIP's attention has "in_proj_weight", not "in_proj.weight".
	g := s.Graph()
	qkv := s.LinearOf(n.inProj+"_weight", n.inProj+"_bias", x, 3*width)
	parts := g.Split(qkv, -1, 3)
	return parts[0], parts[1], parts[2]
}
