package sd

import (
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A VAEConfig is the autoencoder of Stable Diffusion, which turns pictures
// into latents and back. Everything comes from the names and shapes of its
// weights.
type VAEConfig struct {
	Latent int // channels of the latent
	Image  int // channels of the picture
	// Down and Up are the numbers of residual blocks at each resolution, from
	// the picture's on.
	Down, Up []int
	// Encoder and Decoder say which halves there are.
	Encoder, Decoder bool
	// Quant and PostQuant say that 1×1 convolutions stand at the latent.
	Quant, PostQuant bool
}

// Factor returns how many pixels of the picture one of the latent stands for,
// in each direction.
func (c VAEConfig) Factor() int { return 1 << (max(len(c.Down), len(c.Up)) - 1) }

// Decode builds the decoder from the weights of the autoencoder. Its input is
// the latent z[batch,Latent,height,width], its output the picture
// y[batch,Image,Factor·height,Factor·width] with values around -1 to 1.
func Decode(s nn.Scope, c VAEConfig, batch, height, width int) {
	g := s.Graph()
	h := g.Input("z", dtype.F32, batch, c.Latent, height, width)
	if c.PostQuant {
		h = s.Conv("post_quant_conv", h, ir.ConvOptions{})
	}
	s = s.Sub("decoder.")
	h = middle(s.Sub("mid."), s.Conv("conv_in", h, same))
	for level := len(c.Up) - 1; level >= 0; level-- {
		s := s.Sub(fmt.Sprintf("up.%d.", level))
		for i := range c.Up[level] {
			h = resnet(s.Sub(fmt.Sprintf("block.%d.", i)), h)
		}
		if level > 0 {
			size := g.Shape(h)
			h = s.Conv("upsample.conv", g.Resample(h, ir.Nearest, 2*size[2], 2*size[3]), same)
		}
	}
	h = g.SiLU(s.GroupNorm("norm_out", h, 32, vaeEps))
	g.Output("y", s.Conv("conv_out", h, same))
}

// Encode builds the encoder. Its input is the picture
// x[batch,Image,height,width] with values from -1 to 1, height and width
// multiples of Factor; its output is the mean of the latent,
// z[batch,Latent,height/Factor,width/Factor].
func Encode(s nn.Scope, c VAEConfig, batch, height, width int) {
	g := s.Graph()
	h := g.Input("x", dtype.F32, batch, c.Image, height, width)
	e := s.Sub("encoder.")
	h = e.Conv("conv_in", h, same)
	for level, blocks := range c.Down {
		s := e.Sub(fmt.Sprintf("down.%d.", level))
		for i := range blocks {
			h = resnet(s.Sub(fmt.Sprintf("block.%d.", i)), h)
		}
		if level < len(c.Down)-1 {
			// The padding is at the end alone.
			h = s.Conv("downsample.conv", h, ir.ConvOptions{Stride: []int{2}, PadAfter: []int{1}})
		}
	}
	h = middle(e.Sub("mid."), h)
	h = e.Conv("conv_out", g.SiLU(e.GroupNorm("norm_out", h, 32, vaeEps)), same)
	if c.Quant {
		h = s.Conv("quant_conv", h, ir.ConvOptions{})
	}
	// The other half of the channels is the logarithm of the variance.
	g.Output("z", g.Slice(h, 1, 0, c.Latent))
}

const vaeEps = 1e-6

func middle(s nn.Scope, h ir.Value) ir.Value {
	h = resnet(s.Sub("block_1."), h)
	h = pixelAttention(s.Sub("attn_1."), h)
	return resnet(s.Sub("block_2."), h)
}

func resnet(s nn.Scope, x ir.Value) ir.Value {
	g, in := s.Graph(), x
	if s.Has("nin_shortcut.weight") { // first, so that the norm can write over the input
		x = s.Conv("nin_shortcut", x, ir.ConvOptions{})
	}
	h := s.Conv("conv1", g.SiLU(s.GroupNorm("norm1", in, 32, vaeEps)), same)
	h = s.Conv("conv2", g.SiLU(s.GroupNorm("norm2", h, 32, vaeEps)), same)
	return g.Add(x, h)
}

// pixelAttention is attention with one head between all pixels.
func pixelAttention(s nn.Scope, x ir.Value) ir.Value {
	g := s.Graph()
	shape := g.Shape(x)
	h := g.Reshape(s.GroupNorm("norm", x, 32, vaeEps), shape[0], shape[1], -1)
	h = g.Permute(h, 0, 2, 1)
	h = g.Attention(s.Linear("q", h), s.Linear("k", h), s.Linear("v", h), ir.AttentionOptions{Heads: 1})
	h = g.Permute(s.Linear("proj_out", h), 0, 2, 1)
	return g.Add(x, g.Reshape(h, shape...))
}
