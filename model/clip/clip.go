// Package clip builds the text encoders of Stable Diffusion: CLIP ViT-L as
// OpenAI and transformers name its weights, and OpenCLIP's larger ones under
// their own names.
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
// "conditioner.embedders.1.model." in SDXL. Of weights with transformers' names
// nothing tells whether they are OpenCLIP's, whose Activation is GELU; the
// caller must know.
func Detect(src nn.Source, prefix string, metadata map[string]string) (Config, error) {
	has := func(name string) bool { _, _, ok := src.Lookup(prefix + name); return ok }
	c := Config{Activation: ir.QuickGELU}
	switch {
	case has(openCLIPNames.positions):
		c.Activation, c.names = ir.GELU, openCLIPNames
	case has("text_model.embeddings.token_embedding.weight"):
		c.names = transformersNames("text_model.")
		if has("text_model.text_projection") { // as stable-diffusion.cpp names OpenCLIP's
			c.names.projection, c.names.transposed = "text_model.text_projection", true
		}
	default:
		c.names = transformersNames("")
	}

	var err error
	shape := func(name string) ir.Shape {
		_, shape, ok := src.Lookup(prefix + name)
		switch {
		case err != nil:
		case !ok:
			err = fmt.Errorf("the text encoder has no tensor %s", prefix+name)
		case len(shape) != 2:
			err = fmt.Errorf("tensor %s of the text encoder has shape %v, expected 2 dimensions", prefix+name, shape)
		default:
			return shape
		}
		return ir.Shape{1, 1}
	}
	tokens := shape(c.names.tokens)
	c.Vocab, c.Width, c.Length = tokens[0], tokens[1], shape(c.names.positions)[0]
	for has(c.names.layer(c.Layers).norm1 + ".weight") {
		c.Layers++
	}
	if has(c.names.projection) {
		p := shape(c.names.projection)
		c.Projected = p[0]
		if c.names.transposed {
			c.Projected = p[1]
		}
	}
	if err == nil && c.Layers == 0 {
		err = fmt.Errorf("the text encoder has no layers: there is no tensor %s%s.weight", prefix, c.names.layer(0).norm1)
	}
	if err != nil {
		return c, err
	}
	c.Heads = max(c.Width/headDim, 1)
	if text, ok := metadata[MetadataHeads]; ok {
		if c.Heads, err = strconv.Atoi(text); err != nil || c.Heads < 1 {
			return c, fmt.Errorf("metadata %s is %q, expected a number of heads", MetadataHeads, text)
		}
	}
	if c.Width%c.Heads != 0 {
		return c, fmt.Errorf("a text encoder of width %d cannot have %d heads", c.Width, c.Heads)
	}
	return c, nil
}

// An Output says which of the encoder's states a model is conditioned on.
type Output struct {
	// Layer counts from the end: -1 is the last layer, -2 the one before.
	Layer int
	// Norm applies the final layer norm to that state.
	Norm bool
}

// Text builds the encoder from the weights at the scope. Its inputs are
// tokens[batch,Length] and ends[batch], the place of each chunk's end token in
// all the tokens, counted through. Its outputs are hidden[batch,Length,Width],
// the state that o names, and pooled[batch,Projected], the last layer's
// normalized state at the end tokens, projected if there is a projection.
func Text(s nn.Scope, c Config, batch int, o Output) {
	g := s.Graph()
	tokens := g.Input("tokens", dtype.I32, batch, c.Length)
	ends := g.Input("ends", dtype.I32, batch)

	x := g.Add(g.Embedding(tokens, s.Weight(c.names.tokens)), s.Weight(c.names.positions))
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
	if c.Projected > 0 {
		projection := s.Weight(c.names.projection)
		if c.names.transposed {
			projection = g.Permute(projection, 1, 0)
		}
		pooled = g.Linear(pooled, projection, ir.None)
	}
	g.Output("pooled", pooled)
}

// eps is the epsilon of every layer norm.
const eps = 1e-5

// layer is a pre-norm transformer block with causal attention.
func layer(s nn.Scope, c Config, n layerNames, x ir.Value) ir.Value {
	g := s.Graph()
	h := s.LayerNorm(n.norm1, x, eps)
	q, k, v := queryKeyValue(s, n, h)
	h = g.Attention(q, k, v, ir.AttentionOptions{Heads: c.Heads, Causal: true})
	x = g.Add(x, s.Linear(n.out, h))
	h = s.LayerNorm(n.norm2, x, eps)
	h = g.Unary(c.Activation, s.Linear(n.up, h))
	return g.Add(x, s.Linear(n.down, h))
}

func queryKeyValue(s nn.Scope, n layerNames, x ir.Value) (q, k, v ir.Value) {
	if n.inProj == "" {
		return s.Linear(n.q, x), s.Linear(n.k, x), s.Linear(n.v, x)
	}
	// OpenCLIP's attention has "in_proj_weight", not "in_proj.weight".
	g := s.Graph()
	qkv := s.LinearOf(n.inProj+"_weight", n.inProj+"_bias", x)
	parts := g.Split(qkv, -1, 3)
	return parts[0], parts[1], parts[2]
}
