package zimage

import (
	"fmt"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

const prefix = model.DenoiserPrefix

// others are relatives of the denoiser that are not supported, by a tensor that
// each has.
var others = []model.Relative{
	{Name: "siglip_embedder.", What: "Z-Image Omni, which reads pictures besides the text; it is not supported yet: use Z-Image or Z-Image Turbo"},
	{Name: "dec_net.", What: "a Z-Image that makes pixels instead of latents, which is not supported yet"},
	{Name: "clip_text_pooled_proj.", What: "NewBie, a model of Lumina 2's kind, which is not supported yet"},
	{Name: "layers.0.adaLN_modulation.1.", What: "Lumina Image 2, which is not supported yet"},
}

// Detect reads the configuration of the denoiser under model.DenoiserPrefix, and
// checks every weight against it. Of another network it returns nil and no
// error.
func Detect(src nn.Tensors) (*Config, error) {
	names := nn.Names(src.Names())
	if !names.Has(prefix+"cap_embedder.") || !names.Has(prefix+"noise_refiner.") {
		return nil, nil
	}
	if err := model.Refuse(names, others, prefix); err != nil {
		return nil, err
	}
	c, err := read(src, names)
	if err == nil {
		err = c.Check(src).Err()
	}
	if err != nil {
		return nil, fmt.Errorf("Z-Image: %w", err)
	}
	return c, nil
}

// read reads the dimensions off names and shapes.
func read(src nn.Tensors, names nn.Names) (c *Config, err error) {
	c = &Config{}
	var width, head, hidden []nn.Axis
	for stack, n := range map[string]*int{"noise_refiner.": &c.NoiseBlocks, "context_refiner.": &c.TextBlocks, "layers.": &c.Blocks} {
		if *n, err = names.Count(prefix + stack); err != nil {
			return c, err
		}
		for i := range *n {
			at := fmt.Sprintf("%s%d.", stack, i)
			width = append(width, nn.Axis{Name: at + "attention.out.weight", I: 0}, nn.Axis{Name: at + "attention_norm1.weight", I: 0})
			head = append(head, nn.Axis{Name: at + "attention.q_norm.weight", I: 0}, nn.Axis{Name: at + "attention.k_norm.weight", I: 0})
			hidden = append(hidden, nn.Axis{Name: at + "feed_forward.w1.weight", I: 0}, nn.Axis{Name: at + "feed_forward.w3.weight", I: 0})
		}
	}
	c.Width = nn.Agreed(src, prefix, width...)
	c.HeadDim = nn.Agreed(src, prefix, head...)
	c.Hidden = nn.Agreed(src, prefix, hidden...)
	context := []nn.Axis{{Name: "cap_embedder.0.weight", I: 0}, {Name: "cap_embedder.1.weight", I: 1}}
	c.Context = nn.Agreed(src, prefix, context...)
	c.Embedding[0] = nn.Agreed(src, prefix,
		nn.Axis{Name: "t_embedder.mlp.0.bias", I: 0}, nn.Axis{Name: "t_embedder.mlp.0.weight", I: 0}, nn.Axis{Name: "t_embedder.mlp.2.weight", I: 1})
	c.Embedding[1] = nn.Agreed(src, prefix,
		nn.Axis{Name: "t_embedder.mlp.2.bias", I: 0}, nn.Axis{Name: "t_embedder.mlp.2.weight", I: 0}, nn.Axis{Name: "final_layer.adaLN_modulation.1.weight", I: 1})
	features := nn.Agreed(src, prefix,
		nn.Axis{Name: "final_layer.linear.bias", I: 0}, nn.Axis{Name: "final_layer.linear.weight", I: 0}, nn.Axis{Name: "x_embedder.weight", I: 1})
	c.Channels = features / (patch.Size * patch.Size)
	switch {
	case c.Width == 0 || c.HeadDim == 0 || c.Hidden == 0 || c.Context == 0 || c.Embedding[0] == 0 || c.Embedding[1] == 0:
		return c, fault.New(fault.Model, "the file is incomplete: the sizes of the network cannot be told from tensors %snoise_refiner..., %scap_embedder... and %st_embedder...", prefix, prefix, prefix)
	case !nn.Agree(src, prefix, context...):
		return c, fault.New(fault.Model, "%scap_embedder.0.weight and %scap_embedder.1.weight are for texts of different numbers of features", prefix, prefix)
	case c.Channels == 0 || features%(patch.Size*patch.Size) != 0:
		return c, fault.New(fault.Model, "tokens have %d features (%sx_embedder.weight), expected a multiple of %d: a latent is cut into squares of %d", features, prefix, patch.Size*patch.Size, patch.Size)
	case c.HeadDim%16 != 0 || c.Width%c.HeadDim != 0:
		return c, fault.New(fault.Model, "tokens have %d features and heads %d (%slayers.0.attention.q_norm.weight), expected a multiple of it, and of 16", c.Width, c.HeadDim, prefix)
	}
	return c, nil
}
