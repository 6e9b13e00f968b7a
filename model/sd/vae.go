package sd

import (
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A VAEConfig is the autoencoder of Stable Diffusion and FLUX, which turns
// pictures into latents and back. Everything comes from the names and shapes of
// its weights.
type VAEConfig struct {
	Latent int // channels of what the encoder gives and the decoder reads
	Image  int // channels of the picture
	// Down and Up are the channels at each resolution of the encoder and of the
	// decoder, from the picture's on.
	Down, Up []int
	// DownBlocks and UpBlocks are the numbers of residual blocks at each
	// resolution.
	DownBlocks, UpBlocks int
	// Encoder and Decoder say which halves there are.
	Encoder, Decoder bool
	// Quant and PostQuant are the names of 1×1 convolutions at the latent, "" where
	// there is none.
	Quant, PostQuant string
	// Packed says that the latent has squares of 2×2 values as channels, which are
	// normalized by their mean and variance over many pictures, as in FLUX.2.
	Packed bool
}

// Channels returns the channels of the latent.
func (c VAEConfig) Channels() int {
	if c.Packed {
		return square * square * c.Latent
	}
	return c.Latent
}

// Factor returns how many pixels of the picture one of the latent stands for,
// in each direction.
func (c VAEConfig) Factor() int {
	n := 1 << max(len(c.Down)-1, len(c.Up)-1, 0)
	if c.Packed {
		n *= square
	}
	return n
}

// Decode builds the decoder from the weights of the autoencoder. Its input is
// the latent z[batch,Channels,height,width], its output the picture
// y[batch,Image,Factor·height,Factor·width] with values around -1 to 1.
func Decode(s nn.Scope, c VAEConfig, batch, height, width int) {
	g := s.Graph()
	h := g.Input("z", dtype.F32, batch, c.Channels(), height, width)
	if c.Packed {
		h = unpack(s, h)
	}
	if c.PostQuant != "" {
		h = s.Conv(c.PostQuant, h, c.Latent, 1, ir.ConvOptions{})
	}
	s = s.Sub("decoder.")
	h = middle(s.Sub("mid."), s.Conv("conv_in", h, c.Up[len(c.Up)-1], 3, same))
	for level := len(c.Up) - 1; level >= 0; level-- {
		s, n := s.Sub(fmt.Sprintf("up.%d.", level)), c.Up[level]
		for i := range c.UpBlocks {
			h = resnet(s.Sub(fmt.Sprintf("block.%d.", i)), h, n)
		}
		if level > 0 {
			size := g.Shape(h)
			h = s.Conv("upsample.conv", g.Resample(h, ir.Nearest, 2*size[2], 2*size[3]), n, 3, same)
		}
	}
	h = g.SiLU(s.GroupNorm("norm_out", h, groups, vaeEps))
	g.Output("y", s.Conv("conv_out", h, c.Image, 3, same))
}

// Encode builds the encoder. Its input is the picture
// x[batch,Image,height,width] with values from -1 to 1, height and width
// multiples of Factor; its output is the mean of the latent,
// z[batch,Channels,height/Factor,width/Factor].
func Encode(s nn.Scope, c VAEConfig, batch, height, width int) {
	g := s.Graph()
	h := g.Input("x", dtype.F32, batch, c.Image, height, width)
	e := s.Sub("encoder.")
	h = e.Conv("conv_in", h, c.Down[0], 3, same)
	for level, n := range c.Down {
		s := e.Sub(fmt.Sprintf("down.%d.", level))
		for i := range c.DownBlocks {
			h = resnet(s.Sub(fmt.Sprintf("block.%d.", i)), h, n)
		}
		if level < len(c.Down)-1 {
			// The padding is at the end alone.
			h = s.Conv("downsample.conv", h, n, 3, ir.ConvOptions{Stride: []int{2}, PadAfter: []int{1}})
		}
	}
	h = middle(e.Sub("mid."), h)
	h = e.Conv("conv_out", g.SiLU(e.GroupNorm("norm_out", h, groups, vaeEps)), 2*c.Latent, 3, same)
	if c.Quant != "" {
		h = s.Conv(c.Quant, h, 2*c.Latent, 1, ir.ConvOptions{})
	}
	// The other half of the channels is the logarithm of the variance.
	h = g.Slice(h, 1, 0, c.Latent)
	if c.Packed {
		h = pack(s, h)
	}
	g.Output("z", h)
}

const (
	square    = 2    // rows and columns that are channels of a packed latent
	packedEps = 1e-4 // is added to its variance
)

// pack makes channels of squares of x[batch,C,height,width] and normalizes them.
func pack(s nn.Scope, x ir.Value) ir.Value {
	g := s.Graph()
	n := g.Shape(x)
	x = g.Reshape(x, n[0], n[1], n[2]/square, square, n[3]/square, square)
	x = g.Reshape(g.Permute(x, 0, 1, 3, 5, 2, 4), n[0], n[1]*square*square, n[2]/square, n[3]/square)
	mean, deviation := statistics(s, g.Shape(x)[1])
	return g.Binary(ir.Div, g.Sub(x, mean), deviation)
}

// unpack is the inverse of pack.
func unpack(s nn.Scope, x ir.Value) ir.Value {
	g := s.Graph()
	n := g.Shape(x)
	mean, deviation := statistics(s, n[1])
	x = g.Add(g.Mul(x, deviation), mean)
	x = g.Reshape(x, n[0], n[1]/(square*square), square, square, n[2], n[3])
	return g.Reshape(g.Permute(x, 0, 1, 4, 2, 5, 3), n[0], n[1]/(square*square), n[2]*square, n[3]*square)
}

// statistics returns the mean and the standard deviation of each channel, as
// [1,channels,1,1].
func statistics(s nn.Scope, channels int) (mean, deviation ir.Value) {
	g := s.Graph()
	of := func(name string) ir.Value { return g.Reshape(s.Weight("bn."+name, channels), 1, channels, 1, 1) }
	return of("running_mean"), g.Unary(ir.Sqrt, g.Affine(of("running_var"), 1, packedEps))
}

const vaeEps = 1e-6

func middle(s nn.Scope, h ir.Value) ir.Value {
	n := s.Graph().Shape(h)[1]
	h = resnet(s.Sub("block_1."), h, n)
	h = pixelAttention(s.Sub("attn_1."), h)
	return resnet(s.Sub("block_2."), h, n)
}

// resnet is two normalized convolutions to n channels.
func resnet(s nn.Scope, x ir.Value, n int) ir.Value {
	g, in := s.Graph(), x
	if g.Shape(x)[1] != n { // first, so that the norm can write over the input
		x = s.Conv("nin_shortcut", x, n, 1, ir.ConvOptions{})
	}
	h := s.Conv("conv1", g.SiLU(s.GroupNorm("norm1", in, groups, vaeEps)), n, 3, same)
	h = s.Conv("conv2", g.SiLU(s.GroupNorm("norm2", h, groups, vaeEps)), n, 3, same)
	return g.Add(x, h)
}

// pixelAttention is attention with one head between all pixels.
func pixelAttention(s nn.Scope, x ir.Value) ir.Value {
	g := s.Graph()
	shape := g.Shape(x)
	n := shape[1]
	h := g.Reshape(s.GroupNorm("norm", x, groups, vaeEps), shape[0], n, -1)
	h = g.Permute(h, 0, 2, 1)
	h = g.Attention(s.Linear("q", h, n), s.Linear("k", h, n), s.Linear("v", h, n), ir.AttentionOptions{Heads: 1})
	h = g.Permute(s.Linear("proj_out", h, n), 0, 2, 1)
	return g.Add(x, g.Reshape(h, shape...))
}
