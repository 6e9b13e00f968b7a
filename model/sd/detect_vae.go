package sd

import (
	"fmt"

	"github.com/weir-run/weir/model/nn"
)

// DetectVAE reads the configuration of the autoencoder whose weights begin
// with prefix, and checks every weight against it.
func DetectVAE(src nn.Tensors, prefix string) (VAEConfig, error) {
	s := newSource(src, nil)
	var c VAEConfig
	if !s.names.Has(prefix + "decoder.") {
		return c, fmt.Errorf("no autoencoder of Stable Diffusion: there are no tensors %sdecoder...; load one with VAELoader", prefix)
	}
	c.Decoder, c.Encoder = true, s.names.Has(prefix+"encoder.")
	c.Packed = s.names.Has(prefix + "bn.")
	// FLUX.2's file has these within the halves.
	for _, in := range []string{"", "encoder.", "decoder."} {
		if s.names.Has(prefix + in + "quant_conv.") {
			c.Quant = in + "quant_conv"
		}
		if s.names.Has(prefix + in + "post_quant_conv.") {
			c.PostQuant = in + "post_quant_conv"
		}
	}
	c.Latent = nn.Agreed(s, prefix,
		nn.Axis{Name: c.PostQuant + ".bias", I: 0}, nn.Axis{Name: "decoder.conv_in.weight", I: 1},
		nn.Axis{Name: c.PostQuant + ".weight", I: 0}, nn.Axis{Name: c.PostQuant + ".weight", I: 1})
	c.Image = nn.Agreed(s, prefix,
		nn.Axis{Name: "decoder.conv_out.bias", I: 0}, nn.Axis{Name: "decoder.conv_out.weight", I: 0}, nn.Axis{Name: "encoder.conv_in.weight", I: 1})
	var err error
	if c.Up, c.UpBlocks, err = s.levels(prefix + "decoder.up."); err != nil {
		return c, err
	}
	if c.Encoder {
		if c.Down, c.DownBlocks, err = s.levels(prefix + "encoder.down."); err != nil {
			return c, err
		}
		if len(c.Down) != len(c.Up) {
			return c, fmt.Errorf("the encoder has %d resolutions (%sencoder.down...) and the decoder %d, expected as many of both", len(c.Down), prefix, len(c.Up))
		}
	}
	if c.Image != 0 && c.Image != 3 {
		return c, fmt.Errorf("the autoencoder makes pictures of %d channels (%sdecoder.conv_out), expected 3", c.Image, prefix)
	}
	return c, c.Check(src, prefix).Err()
}

// Check compares the weights of both halves with those of a source.
func (c VAEConfig) Check(src nn.Source, prefix string) *nn.Audit {
	networks := []func(nn.Scope){func(s nn.Scope) { Decode(s.Sub(prefix), c, 1, 1, 1) }}
	if c.Encoder {
		networks = append(networks, func(s nn.Scope) { Encode(s.Sub(prefix), c, 1, c.Factor(), c.Factor()) })
	}
	return nn.Check(src, networks...)
}

// levels reads the channels and the number of residual blocks at each
// resolution of a half. All resolutions have as many blocks.
func (s source) levels(prefix string) (channels []int, blocks int, err error) {
	levels, err := s.names.Count(prefix)
	switch {
	case err != nil:
		return nil, 0, err
	case levels == 0:
		return nil, 0, fmt.Errorf("no autoencoder of Stable Diffusion: no name of a tensor begins with %s0.block.0", prefix)
	case levels > maxLevels:
		return nil, 0, fmt.Errorf("the autoencoder has %d resolutions (%s...), expected at most %d", levels, prefix, maxLevels)
	}
	for level := range levels {
		at := fmt.Sprintf("%s%d.block.", prefix, level)
		n, err := s.names.Count(at)
		if err != nil {
			return nil, 0, err
		}
		blocks = max(blocks, n)
		var axes []nn.Axis
		for i := range n {
			for _, name := range []string{"conv1.weight", "conv1.bias", "norm2.weight", "norm2.bias", "conv2.weight", "conv2.bias"} {
				axes = append(axes, nn.Axis{Name: fmt.Sprintf("%d.%s", i, name), I: 0})
			}
		}
		c := nn.Agreed(s, at, axes...)
		if c == 0 || c%groups != 0 {
			return nil, 0, fmt.Errorf("the residual blocks at %s have %d channels, expected a multiple of %d", at, c, groups)
		}
		channels = append(channels, c)
	}
	return channels, blocks, nil
}
