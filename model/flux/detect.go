package flux

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

const prefix = model.DenoiserPrefix

// others are relatives of the denoisers that are not supported, by the beginning
// of the name of a tensor that each has.
var others = []model.Relative{
	{Name: "txt_in.individual_token_refiner.", What: "HunyuanVideo, which is not supported yet"},
	{Name: "nerf_blocks.", What: "Chroma Radiance, which makes pixels instead of latents; it is not supported yet: use Chroma1"},
	{Name: "double_blocks.0.img_mlp.gate_proj.", What: "Ovis-Image, which is not supported yet"},
	{Name: "txt_norm.", What: "a relative of FLUX.1 that normalizes its text, which is not supported yet"},
	{Name: "controlnet_blocks.", What: "a ControlNet for FLUX.1, which is not supported yet"},
	{Name: "controlnet_x_embedder.", What: "a ControlNet for FLUX.1, which is not supported yet"},
	{Name: "pos_embed_input.", What: "a ControlNet for FLUX.1, which is not supported yet"},
}

// longCat is the number of features of the text that LongCat-Image reads; its
// tensors are otherwise those of a FLUX.1 without pooled text.
const longCat = 3584

// Detect reads the configuration of the denoiser under model.DenoiserPrefix, and
// checks every weight against it. Of another network it returns nil and no
// error.
func Detect(src nn.Tensors) (*Config, error) {
	names := nn.Names(src.Names())
	if !names.Has(prefix+"double_blocks.") || !names.Has(prefix+"single_blocks.") {
		return nil, nil
	}
	if err := model.Refuse(names, others, prefix); err != nil {
		return nil, err
	}
	c := &Config{Kind: Flux1}
	switch {
	case names.Has(prefix + "double_stream_modulation_img."), names.Has(prefix + "double_stream_modulation_txt."), names.Has(prefix + "single_stream_modulation."):
		c.Kind = Flux2
	case names.Has(prefix + "distilled_guidance_layer."):
		c.Kind = Chroma
	}
	err := c.read(src, names)
	if err == nil {
		err = c.Check(src).Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Kind, err)
	}
	return c, nil
}

// axes collects dimensions of tensors that have one length.
type axes []nn.Axis

// add adds dimension i of tensors.
func (a *axes) add(i int, names ...string) {
	for _, name := range names {
		*a = append(*a, nn.Axis{Name: name, I: i})
	}
}

// read reads the dimensions off names and shapes.
func (c *Config) read(src nn.Tensors, names nn.Names) (err error) {
	if c.Double, err = names.Count(prefix + "double_blocks."); err != nil {
		return err
	}
	if c.Single, err = names.Count(prefix + "single_blocks."); err != nil {
		return err
	}
	if c.Kind == Chroma {
		if err = c.approximator(src, names); err != nil {
			return err
		}
	}
	c.Scale = slices.ContainsFunc(names.Under(prefix), func(name string) bool { return strings.HasSuffix(name, "_norm.scale") })
	c.Guidance = c.Kind != Chroma && names.Has(prefix+"guidance_in.")
	c.blocks(src)
	var context, vector, in, out axes
	context.add(1, "txt_in.weight")
	c.Context = nn.Agreed(src, prefix, context...)
	if names.Has(prefix + "vector_in.") {
		vector.add(1, "vector_in.in_layer.weight")
		if c.Vector = nn.Agreed(src, prefix, vector...); c.Vector == 0 {
			return fault.New(fault.Model, "the file is incomplete: there is no tensor %svector_in.in_layer.weight, or it is empty", prefix)
		}
	}
	in.add(1, "img_in.weight")
	out.add(0, "final_layer.linear.weight", "final_layer.linear.bias")
	if !nn.Agree(src, prefix, out...) {
		return fault.New(fault.Model, "%sfinal_layer.linear.weight and %sfinal_layer.linear.bias are for different numbers of features", prefix, prefix)
	}
	square := c.patch().Size * c.patch().Size
	read, write := nn.Agreed(src, prefix, in...), nn.Agreed(src, prefix, out...)
	c.In, c.Channels = read/square, write/square
	switch {
	case c.Width == 0 || c.HeadDim == 0 || c.Hidden == 0 || c.Context == 0 || read == 0 || write == 0:
		return fault.New(fault.Model, "the file is incomplete: the sizes of the network cannot be told from tensors %sdouble_blocks..., %simg_in.weight, %stxt_in.weight and %sfinal_layer.linear.weight", prefix, prefix, prefix, prefix)
	case read%square != 0 || write%square != 0 || c.In < c.Channels || c.Kind != Flux1 && c.In != c.Channels:
		return fault.New(fault.Model, "tokens have %d features (%simg_in.weight) and become %d (%sfinal_layer.linear.weight), expected multiples of %d, the first no smaller, and both the same but for FLUX.1", read, prefix, write, prefix, square)
	case c.HeadDim%16 != 0 || c.Width%c.HeadDim != 0:
		return fault.New(fault.Model, "tokens have %d features and heads %d (%sdouble_blocks.0.img_attn.norm.query_norm), expected a multiple of it, and of 16", c.Width, c.HeadDim, prefix)
	case c.Context == longCat && c.Kind == Flux1 && c.Vector == 0:
		return fault.New(fault.Model, "this is LongCat-Image, which is not supported yet (%stxt_in.weight reads %d features)", prefix, longCat)
	}
	return nil
}

// blocks reads the widths that all blocks have in common.
func (c *Config) blocks(src nn.Tensors) {
	var width, head axes
	width.add(0, "img_in.weight", "txt_in.weight")
	for i := range c.Double {
		for _, stream := range []string{"img_", "txt_"} {
			at := fmt.Sprintf("double_blocks.%d.%s", i, stream)
			width.add(0, at+"attn.proj.weight", at+"mlp.2.weight")
			head.add(0, at+"attn.norm.query_norm."+c.norm(), at+"attn.norm.key_norm."+c.norm())
		}
	}
	for i := range c.Single {
		at := fmt.Sprintf("single_blocks.%d.", i)
		width.add(0, at+"linear2.weight")
		head.add(0, at+"norm.query_norm."+c.norm(), at+"norm.key_norm."+c.norm())
	}
	c.Width = nn.Agreed(src, prefix, width...)
	c.HeadDim = nn.Agreed(src, prefix, head...)
	c.hidden(src)
}

// hidden reads the features within feed-forwards off the layers on both sides.
func (c *Config) hidden(src nn.Tensors) {
	var all []int
	for i := range c.Double {
		for _, stream := range []string{"img_", "txt_"} {
			at := fmt.Sprintf("double_blocks.%d.%smlp.", i, stream)
			rows := nn.Length(src, prefix, nn.Axis{Name: at + "0.weight", I: 0})
			if c.Kind == Flux2 {
				rows /= 2
			}
			all = append(all, nn.Length(src, prefix, nn.Axis{Name: at + "2.weight", I: 1}), rows)
		}
	}
	for i := range c.Single {
		all = append(all, nn.Length(src, prefix, nn.Axis{Name: fmt.Sprintf("single_blocks.%d.linear2.weight", i), I: 1})-c.Width)
	}
	c.Hidden = nn.Most(all...)
}

// approximator reads the network that makes Chroma's modulations.
func (c *Config) approximator(src nn.Tensors, names nn.Names) (err error) {
	const at = "distilled_guidance_layer."
	if c.Approximator.Layers, err = names.Count(prefix + at + "layers."); err != nil {
		return err
	}
	var width axes
	width.add(0, at+"in_proj.weight", at+"in_proj.bias")
	width.add(1, at+"out_proj.weight")
	c.Approximator.Width = nn.Agreed(src, prefix, width...)
	switch need := 3*c.Single + 12*c.Double + 2; {
	case c.Approximator.Width == 0:
		return fault.New(fault.Model, "the file is incomplete: there is no tensor %s%sin_proj.weight", prefix, at)
	case need > modulations:
		return fault.New(fault.Model, "%d double and %d single blocks need %d modulations, expected at most %d", c.Double, c.Single, need, modulations)
	}
	return nil
}
