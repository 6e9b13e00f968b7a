package sd

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/weir-run/weir/model/nn"
)

// maxLevels is the largest number of resolutions of a network. Published ones
// have 3 to 6.
const maxLevels = 8

// detectUNet reads the configuration off the names and shapes of the weights,
// and checks every weight against it.
func detectUNet(s source) (UNetConfig, error) {
	var c UNetConfig
	if !s.names.Has(UNetPrefix) {
		return c, fmt.Errorf("there is no tensor %s..., which Stable Diffusion 1.x and SDXL have", UNetPrefix)
	}
	if err := c.latents(s); err != nil {
		return c, err
	}
	if err := c.down(s); err != nil {
		return c, err
	}
	if err := c.up(s); err != nil {
		return c, err
	}
	if s.names.Has(UNetPrefix + "label_emb.") {
		c.Vector = nn.Agreed(s, UNetPrefix, nn.Axis{Name: "label_emb.0.0.weight", I: 1})
	}
	if err := c.attention(s); err != nil {
		return c, err
	}
	if s.names.Has(UNetPrefix+"label_emb.") && c.Pooled() <= 0 {
		return c, fmt.Errorf("the UNet is conditioned on a vector of %d features (%slabel_emb.0.0.weight), expected more than the %d of six sizes", c.Vector, UNetPrefix, 6*sizeDim)
	}
	return c, c.Check(s.Source).Err()
}

// Check compares the weights of the UNet with those of a source.
func (c UNetConfig) Check(src nn.Source) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) { UNet(s.Sub(UNetPrefix), c, 1, 1, 1, 1) })
}

// latents reads the channels at both ends.
func (c *UNetConfig) latents(s source) error {
	c.Channels = nn.Agreed(s, UNetPrefix,
		nn.Axis{Name: "input_blocks.0.0.bias", I: 0}, nn.Axis{Name: "input_blocks.0.0.weight", I: 0},
		nn.Axis{Name: "time_embed.0.weight", I: 1}, nn.Axis{Name: "out.2.weight", I: 1}, nn.Axis{Name: "out.0.weight", I: 0})
	c.In = nn.Agreed(s, UNetPrefix, nn.Axis{Name: "input_blocks.0.0.weight", I: 1})
	c.Out = nn.Agreed(s, UNetPrefix,
		nn.Axis{Name: "out.2.bias", I: 0}, nn.Axis{Name: "out.2.weight", I: 0}, nn.Axis{Name: "input_blocks.0.0.weight", I: 1})
	if c.In == 9 || c.In == 8 {
		return fmt.Errorf("the UNet reads %d channels: it is one for inpainting or editing pictures, which is not supported yet; SetLatentNoiseMask inpaints with every other checkpoint", c.In)
	}
	c.In = c.Out
	return nil
}

// down reads the blocks on the way down and in the middle.
func (c *UNetConfig) down(s source) error {
	n, err := s.names.Count(UNetPrefix + "input_blocks.")
	if err != nil {
		return err
	}
	c.Input = []Block{{Channels: c.Channels}}
	for i := 1; i < n; i++ {
		prefix := fmt.Sprintf("%sinput_blocks.%d.", UNetPrefix, i)
		b := Block{Resize: s.names.Has(prefix + "0.op."), Channels: c.Input[i-1].Channels}
		if !b.Resize {
			if b, err = s.block(prefix); err != nil {
				return err
			}
		}
		c.Input = append(c.Input, b)
	}
	if c.Scale() >= maxLevels {
		return fmt.Errorf("the UNet has %d resolutions, expected at most %d", c.Scale()+1, maxLevels)
	}
	c.Middle, err = s.depth(UNetPrefix + "middle_block.1.")
	return err
}

// up reads the blocks on the way up. Each reads what the block across gives, so
// where the resolution is doubled follows from where it was halved.
func (c *UNetConfig) up(s source) error {
	n, err := s.names.Count(UNetPrefix + "output_blocks.")
	if err != nil {
		return err
	}
	if n > len(c.Input) {
		return fmt.Errorf("the UNet has %d input blocks and %d output blocks, expected as many of both", len(c.Input), n)
	}
	for i := range c.Input {
		prefix := fmt.Sprintf("%soutput_blocks.%d.", UNetPrefix, i)
		if i >= n {
			return fmt.Errorf("there is no residual block at %s, and the UNet has %d input blocks", prefix, len(c.Input))
		}
		b, err := s.block(prefix)
		if err != nil {
			return err
		}
		b.Resize = c.Input[len(c.Input)-1-i].Resize
		c.Output = append(c.Output, b)
	}
	return nil
}

// block reads a residual block and its transformer.
func (s source) block(prefix string) (Block, error) {
	depth, err := s.depth(prefix + "1.")
	b := Block{Res: true, Depth: depth, Channels: nn.Agreed(s, prefix+"0.",
		nn.Axis{Name: "in_layers.2.weight", I: 0}, nn.Axis{Name: "in_layers.2.bias", I: 0},
		nn.Axis{Name: "emb_layers.1.weight", I: 0}, nn.Axis{Name: "emb_layers.1.bias", I: 0},
		nn.Axis{Name: "out_layers.0.weight", I: 0}, nn.Axis{Name: "out_layers.0.bias", I: 0},
		nn.Axis{Name: "out_layers.3.weight", I: 0}, nn.Axis{Name: "out_layers.3.bias", I: 0})}
	switch {
	case err != nil:
		return b, err
	case b.Channels == 0:
		return b, fmt.Errorf("there is no residual block at %s: %s names no tensor", prefix, prefix+"0.in_layers.2.weight")
	case b.Channels%groups != 0:
		return b, fmt.Errorf("the residual block at %s has %d channels, expected a multiple of %d", prefix, b.Channels, groups)
	}
	return b, nil
}

// depth counts the blocks of a transformer.
func (s source) depth(prefix string) (int, error) {
	n, err := s.names.Count(prefix + "transformer_blocks.")
	if err == nil && n == 0 && s.names.Has(prefix+"proj_in.") {
		err = fmt.Errorf("the transformer at %s has no blocks: no name of a tensor begins with %stransformer_blocks.0", prefix, prefix)
	}
	return n, err
}

// attention finds the text's features and the attention heads. UNets of 1.x,
// whose transformers begin with a convolution, have eight heads; later ones have
// heads of 64 features.
func (c *UNetConfig) attention(s source) error {
	var text, kernels []nn.Axis
	transformer := func(prefix string, b Block) {
		for i := range b.Depth {
			at := fmt.Sprintf("%s1.transformer_blocks.%d.attn2.", prefix, i)
			text = append(text, nn.Axis{Name: at + "to_k.weight", I: 1}, nn.Axis{Name: at + "to_v.weight", I: 1})
		}
		if b.Depth > 0 {
			kernels = append(kernels, nn.Axis{Name: prefix + "1.proj_in.weight", I: 2}, nn.Axis{Name: prefix + "1.proj_out.weight", I: 2})
		}
	}
	c.each(transformer)
	if c.Context = nn.Agreed(s, UNetPrefix, text...); c.Context == 0 {
		return errors.New("the UNet has no transformer that attends to text (attn2.to_k.weight)")
	}
	if c.Vector == 0 && c.Context == contextSD2 {
		return fmt.Errorf("this is a UNet of Stable Diffusion 2.x, which is not supported yet: it reads text of %d features (attn2.to_k.weight)", c.Context)
	}
	// Converters to GGUF may store the convolutions of 1.x as matrices.
	if nn.Agreed(s, UNetPrefix, kernels...) > 0 || c.Vector == 0 && c.Context == contextSD1 {
		c.Heads = 8
	} else {
		c.HeadDim = 64
	}
	if text, ok := s.metadata[MetadataHeads]; ok {
		heads, err := strconv.Atoi(text)
		if err != nil || heads < 1 {
			return fmt.Errorf("metadata %s is %.200q, expected a number of heads", MetadataHeads, text)
		}
		c.Heads, c.HeadDim = heads, 0
	}
	var err error
	c.each(func(prefix string, b Block) {
		if b.Depth > 0 && err == nil && (c.Heads > 0 && b.Channels%c.Heads != 0 || c.Heads == 0 && b.Channels%c.HeadDim != 0) {
			err = fmt.Errorf("the transformer at %s: attention with %d features cannot have the heads of its family; the metadata %s can give their number", UNetPrefix+prefix, b.Channels, MetadataHeads)
		}
	})
	return err
}

// The numbers of features of the text that 1.x and 2.x read.
const contextSD1, contextSD2 = 768, 1024

// each calls f with every block that may have a transformer and its prefix.
func (c *UNetConfig) each(f func(prefix string, b Block)) {
	for i, b := range c.Input {
		f(fmt.Sprintf("input_blocks.%d.", i), b)
	}
	f("middle_block.", Block{Channels: c.Input[len(c.Input)-1].Channels, Depth: c.Middle})
	for i, b := range c.Output {
		f(fmt.Sprintf("output_blocks.%d.", i), b)
	}
}
