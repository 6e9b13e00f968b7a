// Package flux builds the denoisers of FLUX.1, FLUX.2 and Chroma: diffusion
// transformers whose first blocks have weights of their own for text and
// picture and whose last blocks read both as one sequence (Esser et al. 2024,
// Scaling Rectified Flow Transformers; Black Forest Labs 2024 and 2025).
package flux

import (
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
	"github.com/weir-run/weir/model/nn"
)

// sinusoid is the number of features that a number is embedded in first.
const sinusoid = 256

// Denoiser builds the network. Its inputs are the latents
// x[batch,Channels,height,width], their noise levels t[batch] from 0 to 1, the
// text context[batch,tokens,Context], and the tables cos and sin of the
// positions. If the network has them there are
// concat[batch,In-Channels,height,width], which stands beside x, the pooled text
// pooled[batch,Vector] and guidance[batch]. References are latents
// reference0[batch,Channels,...] and so on. Its output is the velocity y in the
// shape of x.
func (c *Config) Denoiser(s nn.Scope, in model.Shape) {
	d := denoiser{g: s.Graph(), s: s, c: c}
	rows, columns := c.patch().Grid(in.Height, in.Width)
	picture := d.picture(in)
	d.still = rows * columns
	d.condition(in)
	d.angles = c.axes().Inputs(d.g, in.Tokens+d.g.Shape(picture)[1])

	text := d.linear("txt_in", d.g.Input("context", dtype.F32, in.Batch, in.Tokens, c.Context), c.Width)
	picture = d.linear("img_in", picture, c.Width)
	for i := range c.Double {
		picture, text = d.double(i, picture, text)
	}
	h := d.g.Concat(1, text, picture)
	for i := range c.Single {
		h = d.single(i, h)
	}
	h = d.final(d.g.Slice(h, 1, in.Tokens, in.Tokens+rows*columns))
	d.g.Output("y", c.patch().Join(d.g, h, in.Height, in.Width))
}

// denoiser is what every block needs.
type denoiser struct {
	g      *ir.Graph
	s      nn.Scope
	c      *Config
	angles dit.Angles
	still  int // the token of the picture from which on there are references
	conditions
}

// at returns a denoiser of the same conditions at a block.
func (d denoiser) at(format string, args ...any) denoiser {
	d.s = d.s.Sub(fmt.Sprintf(format, args...))
	return d
}

// linear applies NAME.weight and, but in FLUX.2, NAME.bias.
func (d denoiser) linear(name string, x ir.Value, n int) ir.Value {
	if d.c.Kind == Flux2 {
		return d.s.Project(name, x, n)
	}
	return d.s.Linear(name, x, n)
}

// picture returns the tokens of the latents and of the references.
func (d denoiser) picture(in model.Shape) ir.Value {
	x := d.g.Input("x", dtype.F32, in.Batch, d.c.Channels, in.Height, in.Width)
	if n := d.c.In - d.c.Channels; n > 0 {
		x = d.g.Concat(1, x, d.g.Input("concat", dtype.F32, in.Batch, n, in.Height, in.Width))
	}
	tokens := []ir.Value{d.c.patch().Cut(d.g, x)}
	for i, r := range in.References {
		reference := d.g.Input(referenceName(i), dtype.F32, in.Batch, d.c.Channels, r.Height, r.Width)
		tokens = append(tokens, d.c.patch().Cut(d.g, reference))
	}
	if len(tokens) == 1 {
		return tokens[0]
	}
	return d.g.Concat(1, tokens...)
}

// double is a block in which text and picture have weights of their own and
// attend to each other.
func (d denoiser) double(i int, picture, text ir.Value) (newPicture, newText ir.Value) {
	d = d.at("double_blocks.%d.", i)
	pm, tm := d.doubleModulation(i)
	tokens := d.g.Shape(text)[1]
	a := dit.Attention(d.g, d.c.heads(), d.angles, d.qkv("txt_attn.", tm[0].apply(d.g, text)), d.qkv("img_attn.", pm[0].apply(d.g, picture)))
	all := d.g.Shape(a)[1]
	return d.stream("img_", picture, d.g.Slice(a, 1, tokens, all), pm), d.stream("txt_", text, d.g.Slice(a, 1, 0, tokens), tm)
}

// qkv returns the queries, keys and values of a stream.
func (d denoiser) qkv(prefix string, x ir.Value) dit.QKV {
	x = d.linear(prefix+"qkv", x, 3*d.c.Width)
	return dit.Heads(d.s, x, d.c.heads(), d.qkNorm(prefix))
}

// qkNorm is the norms of queries and keys.
func (d denoiser) qkNorm(prefix string) dit.QKNorm {
	return dit.QKNorm{Q: prefix + "norm.query_norm." + d.c.norm(), K: prefix + "norm.key_norm." + d.c.norm(), Eps: dit.TorchEps}
}

// stream is what a block does with one stream after the attention a.
func (d denoiser) stream(prefix string, x, a ir.Value, m [2]modulation) ir.Value {
	x = d.g.Add(x, m[0].gated(d.g, d.linear(prefix+"attn.proj", a, d.c.Width)))
	h := d.linear(prefix+"mlp.0", m[1].apply(d.g, x), d.c.mlpIn())
	return d.g.Add(x, m[1].gated(d.g, d.linear(prefix+"mlp.2", d.activate(h), d.c.Width)))
}

// activate is the activation of feed-forwards: in FLUX.2 half of the features
// gate the other half.
func (d denoiser) activate(h ir.Value) ir.Value {
	if d.c.Kind != Flux2 {
		return d.g.Unary(ir.GELUTanh, h)
	}
	parts := d.g.Split(h, -1, 2)
	return d.g.Mul(d.g.SiLU(parts[0]), parts[1])
}

// single is a block of one sequence, which attends and feeds forward at once.
func (d denoiser) single(i int, x ir.Value) ir.Value {
	d = d.at("single_blocks.%d.", i)
	m := d.singleModulation(i)
	h := d.linear("linear1", m.apply(d.g, x), 3*d.c.Width+d.c.mlpIn())
	qkv := dit.Heads(d.s, d.g.Slice(h, 2, 0, 3*d.c.Width), d.c.heads(), d.qkNorm(""))
	a := dit.Attention(d.g, d.c.heads(), d.angles, qkv)
	mlp := d.activate(d.g.Slice(h, 2, 3*d.c.Width, 3*d.c.Width+d.c.mlpIn()))
	h = d.g.Concat(2, a, mlp)
	return d.g.Add(x, m.gated(d.g, d.linear("linear2", h, d.c.Width)))
}

// final turns tokens[batch,n,Width] into those of the output.
func (d denoiser) final(x ir.Value) ir.Value {
	x = d.finalModulation().apply(d.g, x)
	n := d.c.patch().Size
	return d.linear("final_layer.linear", x, d.c.Channels*n*n)
}
