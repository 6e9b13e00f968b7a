// Package sd3 builds the denoisers of Stable Diffusion 3 and 3.5: multimodal
// diffusion transformers, in which text and picture have weights of their own
// and attend to each other (Esser et al. 2024, Scaling Rectified Flow
// Transformers).
package sd3

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
	// headEps is the epsilon of the norms of queries and keys.
	headEps = 1e-6
)

// patch is how latents become tokens.
var patch = dit.Patch{Size: 2, ChannelsLast: true}

// Denoiser builds the network. Its inputs are the latents
// x[batch,Channels,height,width], their timesteps t[batch] from 0 to 1000, the
// text context[batch,tokens,Context], its pooled text pooled[batch,Vector], and
// places[rows·columns], the row of each token among the learned positions of
// rows that are read. Its output is the velocity y in the shape of x.
func (c *Config) Denoiser(s nn.Scope, in model.Shape) {
	g := s.Graph()
	t := g.Sinusoid(g.Input("t", dtype.F32, in.Batch), sinusoid, 10000)
	v := c.embed(s.Sub("t_embedder.mlp."), t)
	v = g.Add(v, c.embed(s.Sub("y_embedder.mlp."), g.Input("pooled", dtype.F32, in.Batch, c.Vector)))
	d := denoiser{g, c, g.SiLU(v)}

	text := s.Linear("context_embedder", g.Input("context", dtype.F32, in.Batch, in.Tokens, c.Context), c.Width)
	x := d.picture(s, in)
	for i := range c.Blocks {
		x, text = d.block(s.Sub(fmt.Sprintf("joint_blocks.%d.", i)), i, x, text)
	}
	m := dit.ModulationOf(d.modulations(s.Sub("final_layer."), 2))
	x = s.Linear("final_layer.linear", m.Apply(g, x), c.Channels*patch.Size*patch.Size)
	g.Output("y", patch.Join(g, x, in.Height, in.Width))
}

// embed is two layers with an activation between them.
func (c *Config) embed(s nn.Scope, x ir.Value) ir.Value {
	return s.Linear("2", s.Graph().SiLU(s.Linear("0", x, c.Width)), c.Width)
}

// denoiser is what every block needs.
type denoiser struct {
	g *ir.Graph
	c *Config
	v ir.Value // SiLU of the embedded conditions[batch,Width]
}

// picture returns the tokens of the latents with their positions. Those are
// learned for a square of which the middle is taken.
func (d denoiser) picture(s nn.Scope, in model.Shape) ir.Value {
	g, c := d.g, d.c
	x := patch.Whole(g, g.Input("x", dtype.F32, in.Batch, c.Channels, in.Height, in.Width))
	x = s.Conv("x_embedder.proj", x, c.Width, patch.Size, ir.ConvOptions{Stride: []int{patch.Size}})
	x = g.Permute(g.Reshape(x, in.Batch, c.Width, -1), 0, 2, 1)
	rows, columns := patch.Grid(in.Height, in.Width)
	first := (c.Side - rows) / 2
	table := g.Slice(s.Weight("pos_embed", c.Side*c.Side, c.Width), 0, first*c.Side, (first+rows)*c.Side)
	at := g.Embedding(g.Input("places", dtype.I32, rows*columns), table)
	return g.Add(x, g.Reshape(at, 1, rows*columns, c.Width))
}

// modulations returns n parts of what a block's own layer makes of the
// conditions, each [batch,1,Width].
func (d denoiser) modulations(s nn.Scope, n int) []ir.Value {
	return dit.Parts(d.g, s.Linear("adaLN_modulation.1", d.v, n*d.c.Width), n)
}

// block is attention between text and picture and a feed-forward for each. The
// first blocks of some models attend among the picture alone besides. The last
// block's text is only read.
func (d denoiser) block(s nn.Scope, i int, x, text ir.Value) (newX, newText ir.Value) {
	g, last := d.g, i == d.c.Blocks-1
	sx, st := s.Sub("x_block."), s.Sub("context_block.")
	n, tn := 6, 6
	if i < d.c.Dual {
		n = 9
	}
	if last {
		tn = 2
	}
	xm, tm := d.modulations(sx, n), d.modulations(st, tn)
	tokens := g.Shape(text)[1]
	a := dit.Attention(g, d.c.heads(), dit.Angles{}, d.qkv(st.Sub("attn."), tm, text), d.qkv(sx.Sub("attn."), xm, x))
	all := g.Shape(a)[1]
	if !last {
		newText = d.feedForward(st, tm, d.attended(st.Sub("attn."), tm, text, g.Slice(a, 1, 0, tokens)))
	}
	newX = d.attended(sx.Sub("attn."), xm, x, g.Slice(a, 1, tokens, all))
	if n == 9 {
		alone := dit.Attention(g, d.c.heads(), dit.Angles{}, d.qkv(sx.Sub("attn2."), xm[6:], x))
		newX = d.attended(sx.Sub("attn2."), xm[6:], newX, alone)
	}
	return d.feedForward(sx, xm, newX), newText
}

// qkv returns the queries, keys and values of a stream, modulated by the first
// parts of m.
func (d denoiser) qkv(s nn.Scope, m []ir.Value, x ir.Value) dit.QKV {
	h := s.Linear("qkv", dit.ModulationOf(m[:2]).Apply(d.g, x), 3*d.c.Width)
	norm := dit.QKNorm{}
	if d.c.Norm {
		norm = dit.QKNorm{Q: "ln_q.weight", K: "ln_k.weight", Eps: headEps}
	}
	return dit.Heads(s, h, d.c.heads(), norm)
}

// attended adds what attention gives, gated by the third part of m, to x.
func (d denoiser) attended(s nn.Scope, m []ir.Value, x, a ir.Value) ir.Value {
	return d.g.Add(x, d.g.Mul(s.Linear("proj", a, d.c.Width), m[2]))
}

// feedForward adds two layers, modulated by the parts of m after the first three.
func (d denoiser) feedForward(s nn.Scope, m []ir.Value, x ir.Value) ir.Value {
	mod := dit.ModulationOf(m[3:6])
	h := d.g.Unary(ir.GELUTanh, s.Linear("mlp.fc1", mod.Apply(d.g, x), d.c.Hidden))
	return d.g.Add(x, mod.Gated(d.g, s.Linear("mlp.fc2", h, d.c.Width)))
}
