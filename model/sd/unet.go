package sd

import (
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A UNetConfig is the denoiser of Stable Diffusion: residual blocks with
// transformers on a pyramid of resolutions. Everything but the heads comes
// from the names and shapes of its weights.
type UNetConfig struct {
	In, Out  int // channels of the latent
	Channels int // at the highest resolution
	Context  int // features of the text
	// Vector is the number of features of the vector that SDXL is conditioned
	// on besides the text: the pooled text and six embedded sizes, of its refiner
	// four and a score. 0 without.
	Vector int
	// Input and Output are the blocks on the way down and up; Middle is the
	// depth of the transformer between them, 0 without one.
	Input, Output []Block
	Middle        int
	// Heads is the number of attention heads, or 0 when every head has HeadDim
	// features.
	Heads, HeadDim int
}

// A Block is one of input_blocks or output_blocks.
type Block struct {
	Res      bool // begins with a residual block
	Channels int  // of its result
	Depth    int  // of its transformer, 0 without one
	// Resize says that the block ends by halving the resolution (of the input
	// blocks) or doubling it (of the output blocks).
	Resize bool
}

// sizeDim is the number of features each of SDXL's sizes is embedded in.
const sizeDim = 256

// Refiner reports whether the UNet is SDXL's refiner: it reads the states of one
// text encoder, which are as wide as the pooled text.
func (c UNetConfig) Refiner() bool { return c.Vector > 0 && c.Vector-5*sizeDim == c.Context }

// sizes returns how many sizes the UNet is told, the refiner's score among them.
func (c UNetConfig) sizes() int {
	if c.Refiner() {
		return 5
	}
	return 6
}

// Pooled returns the number of features of the pooled text in Vector.
func (c UNetConfig) Pooled() int { return c.Vector - c.sizes()*sizeDim }

// heads returns the number of attention heads that n features have.
func (c UNetConfig) heads(n int) int {
	if c.Heads > 0 {
		return c.Heads
	}
	return n / c.HeadDim
}

// Scale returns how often the resolution is halved: the latent's height and
// width should be multiples of 1<<Scale.
func (c UNetConfig) Scale() int {
	n := 0
	for _, b := range c.Input {
		if b.Resize {
			n++
		}
	}
	return n
}

// UNet builds the denoiser from the weights at "model.diffusion_model.". Its
// inputs are the latent x[batch,In,height,width], the timestep t[batch], the
// text context[batch,tokens,Context] and, if there is a Vector, the pooled
// text pooled[batch,Pooled] and sizes[batch,sizes]: height, width, crop top, crop
// left, target height, target width, in pixels. Its output is
// y[batch,Out,height,width].
func UNet(s nn.Scope, c UNetConfig, batch, height, width, tokens int) {
	g := s.Graph()
	u := unet{s, g, c, ir.None, g.Input("context", dtype.F32, batch, tokens, c.Context)}
	h := g.Input("x", dtype.F32, batch, c.In, height, width)
	u.emb = u.embedding(g.Input("t", dtype.F32, batch), batch)

	var skips []ir.Value
	for i, b := range c.Input {
		s := s.Sub(fmt.Sprintf("input_blocks.%d.", i))
		switch {
		case i == 0:
			h = s.Conv("0", h, b.Channels, 3, same)
		case b.Res:
			h = u.block(s, h, b)
		default:
			h = s.Conv("0.op", h, b.Channels, 3, ir.ConvOptions{Stride: []int{2}, Pad: []int{1}})
		}
		skips = append(skips, h)
	}

	middle := s.Sub("middle_block.")
	n := c.Input[len(c.Input)-1].Channels
	h = u.res(middle.Sub("0."), h, n)
	if c.Middle > 0 {
		h = u.transformer(middle.Sub("1."), h, c.Middle)
		h = u.res(middle.Sub("2."), h, n)
	} else {
		h = u.res(middle.Sub("1."), h, n)
	}

	for i, b := range c.Output {
		s := s.Sub(fmt.Sprintf("output_blocks.%d.", i))
		skip := skips[len(skips)-1]
		skips = skips[:len(skips)-1]
		h = u.block(s, g.Concat(1, u.fit(h, skip), skip), b)
		if b.Resize {
			at := "1."
			if b.Depth > 0 {
				at = "2."
			}
			size := g.Shape(h)
			h = g.Resample(h, ir.Nearest, 2*size[2], 2*size[3])
			if len(skips) > 0 {
				h = u.fit(h, skips[len(skips)-1])
			}
			h = s.Conv(at+"conv", h, b.Channels, 3, same)
		}
	}
	h = g.SiLU(s.GroupNorm("out.0", h, groups, 1e-5))
	g.Output("y", s.Conv("out.2", h, c.Out, 3, same))
}

// same keeps the resolution under a 3×3 convolution.
var same = ir.ConvOptions{Pad: []int{1}}

// groups is the number of groups of channels in every group norm.
const groups = 32

// unet is what every block of a denoiser needs.
type unet struct {
	s       nn.Scope
	g       *ir.Graph
	c       UNetConfig
	emb     ir.Value // the embedded timestep, before each block's own layer
	context ir.Value
}

// fit makes h as large as its skip. Resolutions that are odd on the way down
// come back one pixel larger or smaller.
func (u unet) fit(h, skip ir.Value) ir.Value {
	hs, ss := u.g.Shape(h), u.g.Shape(skip)
	if hs[2] == ss[2] && hs[3] == ss[3] {
		return h
	}
	return u.g.Resample(h, ir.Nearest, ss[2], ss[3])
}

// embedding is the timestep, and in SDXL the pooled text and the sizes, as
// every residual block sees it.
func (u unet) embedding(t ir.Value, batch int) ir.Value {
	g, s := u.g, u.s
	emb := g.Sinusoid(t, u.c.Channels, 10000)
	n := 4 * u.c.Channels
	emb = s.Linear("time_embed.2", g.SiLU(s.Linear("time_embed.0", emb, n)), n)
	if u.c.Vector > 0 {
		pooled := g.Input("pooled", dtype.F32, batch, u.c.Pooled())
		told := u.c.sizes()
		sizes := g.Reshape(g.Input("sizes", dtype.F32, batch, told), batch*told)
		vector := g.Concat(1, pooled, g.Reshape(g.Sinusoid(sizes, sizeDim, 10000), batch, told*sizeDim))
		emb = g.Add(emb, s.Linear("label_emb.0.2", g.SiLU(s.Linear("label_emb.0.0", vector, n)), n))
	}
	return g.SiLU(emb)
}

// block is a residual block and its transformer.
func (u unet) block(s nn.Scope, h ir.Value, b Block) ir.Value {
	h = u.res(s.Sub("0."), h, b.Channels)
	if b.Depth > 0 {
		h = u.transformer(s.Sub("1."), h, b.Depth)
	}
	return h
}

// res is two normalized convolutions to n channels, with the timestep added
// between them.
func (u unet) res(s nn.Scope, x ir.Value, n int) ir.Value {
	g, in := u.g, x
	if g.Shape(x)[1] != n { // first, so that the norm can write over the input
		x = s.Conv("skip_connection", x, n, 1, ir.ConvOptions{})
	}
	h := s.Conv("in_layers.2", g.SiLU(s.GroupNorm("in_layers.0", in, groups, 1e-5)), n, 3, same)
	emb := s.Linear("emb_layers.1", u.emb, n)
	h = g.Add(h, g.Reshape(emb, append(g.Shape(emb)[:2:2], 1, 1)...))
	h = s.Conv("out_layers.3", g.SiLU(s.GroupNorm("out_layers.0", h, groups, 1e-5)), n, 3, same)
	return g.Add(h, x)
}

// transformer attends, for each pixel, to the other pixels and to the text.
func (u unet) transformer(s nn.Scope, x ir.Value, depth int) ir.Value {
	g := u.g
	shape := g.Shape(x)
	h := g.Reshape(s.GroupNorm("norm", x, groups, 1e-6), shape[0], shape[1], -1)
	h = s.Linear("proj_in", g.Permute(h, 0, 2, 1), shape[1])
	for i := range depth {
		h = u.transformerBlock(s.Sub(fmt.Sprintf("transformer_blocks.%d.", i)), h)
	}
	h = g.Permute(s.Linear("proj_out", h, shape[1]), 0, 2, 1)
	return g.Add(g.Reshape(h, shape...), x)
}

func (u unet) transformerBlock(s nn.Scope, x ir.Value) ir.Value {
	h := s.LayerNorm("norm1", x, 1e-5)
	x = u.g.Add(x, u.attention(s.Sub("attn1."), h, h))
	h = s.LayerNorm("norm2", x, 1e-5)
	x = u.g.Add(x, u.attention(s.Sub("attn2."), h, u.context))
	h = s.LayerNorm("norm3", x, 1e-5)
	return u.g.Add(x, u.feedForward(s.Sub("ff.net."), h))
}

func (u unet) attention(s nn.Scope, x, context ir.Value) ir.Value {
	n := u.g.Shape(x)[2]
	q, k, v := s.Project("to_q", x, n), s.Project("to_k", context, n), s.Project("to_v", context, n)
	return s.Linear("to_out.0", u.g.Attention(q, k, v, ir.AttentionOptions{Heads: u.c.heads(n)}), n)
}

// feedForward is a gated layer: half of the features gate the other half.
func (u unet) feedForward(s nn.Scope, x ir.Value) ir.Value {
	n := u.g.Shape(x)[2]
	parts := u.g.Split(s.Linear("0.proj", x, 8*n), -1, 2)
	return s.Linear("2", u.g.Mul(parts[0], u.g.GELU(parts[1])), n)
}
