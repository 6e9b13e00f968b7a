// Package zimage builds the denoiser of Z-Image, a single-stream diffusion
// transformer (Cai et al., Z-Image, 2025), and tells from a file's tensors that
// it is one.
package zimage

import (
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
	"github.com/weir-run/weir/model/nn"
)

const (
	// sinusoid is the number of features that a timestep is embedded in first.
	sinusoid = 256
	// multiple is what the tokens of the text and of the picture are padded to.
	multiple = 32
	blockEps = 1e-5
)

// patch is how latents become tokens.
var patch = dit.Patch{Size: 2, ChannelsLast: true}

// axes returns the axes of positions: order in the sequence, row, column. Their
// share of a head is that of the published 32, 48 and 48 features.
func (c *Config) axes() dit.Axes {
	return dit.Axes{Dims: []int{c.HeadDim / 4, c.HeadDim * 3 / 8, c.HeadDim * 3 / 8}, Theta: 256}
}

// positions returns the position of every token, of the text and then of the
// picture. The picture follows the text on the first axis; what pads the
// picture is at 0.
func (c *Config) positions(in model.Shape) []dit.Position {
	text := padded(in.Tokens)
	rows, columns := patch.Grid(in.Height, in.Width)
	at := dit.Line(dit.Position{1}, 0, text)
	at = append(at, dit.Grid(dit.Position{float64(text + 1)}, rows, columns)...)
	return append(at, make([]dit.Position, padded(rows*columns)-rows*columns)...)
}

// padded returns the number of tokens with padding.
func padded(n int) int { return (n + multiple - 1) / multiple * multiple }

// Denoiser builds the network. Its inputs are the latents
// x[batch,Channels,height,width], their noise levels t[batch] from 0 to 1, the
// text context[batch,tokens,Context], and the tables cos and sin of the
// positions. Its output is the velocity y, noise less picture, in the shape of
// x. The network itself is trained on 1-t and picture less noise.
func (c *Config) Denoiser(s nn.Scope, in model.Shape) {
	g := s.Graph()
	t := g.Affine(g.Affine(g.Input("t", dtype.F32, in.Batch), -1, 1), 1000, 0)
	t = g.SiLU(s.Linear("t_embedder.mlp.0", g.Sinusoid(t, sinusoid, 10000), c.Embedding[0]))
	d := denoiser{g, c, s.Linear("t_embedder.mlp.2", t, c.Embedding[1])}

	text := g.Input("context", dtype.F32, in.Batch, in.Tokens, c.Context)
	text = s.Linear("cap_embedder.1", s.RMSNorm("cap_embedder.0", text, blockEps), c.Width)
	text = d.pad(s, "cap_pad_token", text)

	x := patch.Cut(g, g.Input("x", dtype.F32, in.Batch, c.Channels, in.Height, in.Width))
	tokens := g.Shape(x)[1]
	x = d.pad(s, "x_pad_token", s.Linear("x_embedder", x, c.Width))

	begin := g.Shape(text)[1]
	all := begin + g.Shape(x)[1]
	angles := c.axes().Inputs(g, all)
	for i := range c.TextBlocks {
		text = d.textBlock(s.Sub(fmt.Sprintf("context_refiner.%d.", i)), text, angles.Of(g, 0, begin))
	}
	for i := range c.NoiseBlocks {
		x = d.block(s.Sub(fmt.Sprintf("noise_refiner.%d.", i)), x, angles.Of(g, begin, all))
	}
	h := g.Concat(1, text, x)
	for i := range c.Blocks {
		h = d.block(s.Sub(fmt.Sprintf("layers.%d.", i)), h, angles)
	}
	y := d.final(s.Sub("final_layer."), g.Slice(h, 1, begin, begin+tokens))
	g.Output("y", g.Affine(patch.Join(g, y, in.Height, in.Width), -1, 0))
}

// denoiser is what every block needs.
type denoiser struct {
	g *ir.Graph
	c *Config
	t ir.Value // the embedded timestep[B,Embedding[1]]
}

// pad appends a learned token to x[B,tokens,Width] up to a multiple of tokens.
func (d denoiser) pad(s nn.Scope, name string, x ir.Value) ir.Value {
	shape := d.g.Shape(x)
	token := s.Weight(name, 1, d.c.Width) // read even if nothing is padded
	n := padded(shape[1]) - shape[1]
	if n == 0 {
		return x
	}
	return d.g.Concat(1, x, d.g.Expand(d.g.Reshape(token, 1, 1, d.c.Width), shape[0], n, d.c.Width))
}

// block is attention and a feed-forward, each between two norms. The timestep
// scales what goes in and gates what comes out.
func (d denoiser) block(s nn.Scope, x ir.Value, angles dit.Angles) ir.Value {
	g := d.g
	m := dit.Parts(g, s.Linear("adaLN_modulation.0", d.t, 4*d.c.Width), 4)
	in := func(norm string, scale ir.Value) ir.Value {
		return g.Mul(s.RMSNorm(norm, x, blockEps), g.Affine(scale, 1, 1))
	}
	out := func(norm string, h, gate ir.Value) ir.Value {
		return g.Add(x, g.Mul(s.RMSNorm(norm, h, blockEps), g.Unary(ir.Tanh, gate)))
	}
	x = out("attention_norm2", d.attention(s.Sub("attention."), in("attention_norm1", m[0]), angles), m[1])
	return out("ffn_norm2", d.feedForward(s.Sub("feed_forward."), in("ffn_norm1", m[2])), m[3])
}

// textBlock is a block that does not know the timestep.
func (d denoiser) textBlock(s nn.Scope, x ir.Value, angles dit.Angles) ir.Value {
	h := d.attention(s.Sub("attention."), s.RMSNorm("attention_norm1", x, blockEps), angles)
	x = d.g.Add(x, s.RMSNorm("attention_norm2", h, blockEps))
	h = d.feedForward(s.Sub("feed_forward."), s.RMSNorm("ffn_norm1", x, blockEps))
	return d.g.Add(x, s.RMSNorm("ffn_norm2", h, blockEps))
}

func (d denoiser) attention(s nn.Scope, x ir.Value, angles dit.Angles) ir.Value {
	heads := d.c.Width / d.c.HeadDim
	qkv := dit.Heads(s, s.Project("qkv", x, 3*d.c.Width), heads, dit.QKNorm{Q: "q_norm.weight", K: "k_norm.weight", Eps: dit.TorchEps})
	return s.Project("out", dit.Attention(d.g, heads, angles, qkv), d.c.Width)
}

// feedForward is a gated layer (Shazeer, GLU Variants Improve Transformer).
func (d denoiser) feedForward(s nn.Scope, x ir.Value) ir.Value {
	gate := d.g.SiLU(s.Project("w1", x, d.c.Hidden))
	return s.Project("w2", d.g.Mul(gate, s.Project("w3", x, d.c.Hidden)), d.c.Width)
}

// final turns tokens[B,n,Width] into those of the output.
func (d denoiser) final(s nn.Scope, x ir.Value) ir.Value {
	g := d.g
	scale := dit.PerToken(g, s.Linear("adaLN_modulation.1", g.SiLU(d.t), d.c.Width))
	x = g.Mul(g.LayerNorm(x, ir.None, ir.None, dit.NormEps), g.Affine(scale, 1, 1))
	return s.Linear("linear", x, d.c.Channels*patch.Size*patch.Size)
}
