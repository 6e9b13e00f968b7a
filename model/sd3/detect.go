package sd3

import (
	"fmt"
	"math"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

const prefix = model.DenoiserPrefix

// others are relatives of the denoisers that are not supported, by the beginning
// of the name of a tensor that each has.
var others = []model.Relative{
	{Name: "context_processor.", What: "a Stable Diffusion 3 that processes its text in layers of its own, which is not supported yet"},
	{Name: "register", What: "a Stable Diffusion 3 with registers, which is not supported yet"},
	{Name: "controlnet_blocks.", What: "a ControlNet for Stable Diffusion 3, which is not supported yet"},
}

// Detect reads the configuration of the denoiser under model.DenoiserPrefix, and
// checks every weight against it. Of another network it returns nil and no
// error.
func Detect(src nn.Tensors) (*Config, error) {
	names := nn.Names(src.Names())
	if !names.Has(prefix + "joint_blocks.") {
		return nil, nil
	}
	if err := model.Refuse(names, others, prefix); err != nil {
		return nil, err
	}
	c := &Config{}
	err := c.read(src, names)
	if err == nil {
		err = c.Check(src).Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// read reads the dimensions off names and shapes.
func (c *Config) read(src nn.Tensors, names nn.Names) (err error) {
	if c.Blocks, err = names.Count(prefix + "joint_blocks."); err != nil {
		return err
	}
	var width, head, hidden []nn.Axis
	axis := func(to *[]nn.Axis, i int, name string) { *to = append(*to, nn.Axis{Name: name, I: i}) }
	axis(&width, 0, "x_embedder.proj.bias")
	axis(&width, 0, "context_embedder.bias")
	for i := range c.Blocks {
		at := fmt.Sprintf("joint_blocks.%d.", i)
		for _, block := range []string{"x_block.", "context_block."} {
			axis(&width, 0, at+block+"attn.proj.weight")
			axis(&hidden, 0, at+block+"mlp.fc1.weight")
			axis(&hidden, 1, at+block+"mlp.fc2.weight")
			axis(&head, 0, at+block+"attn.ln_q.weight")
			axis(&head, 0, at+block+"attn.ln_k.weight")
		}
		if names.Has(prefix + at + "x_block.attn2.") {
			c.Dual = i + 1
		}
	}
	c.Width, c.Hidden, c.HeadDim = nn.Agreed(src, prefix, width...), nn.Agreed(src, prefix, hidden...), nn.Agreed(src, prefix, head...)
	if c.Norm = c.HeadDim > 0; !c.Norm {
		c.HeadDim = 64
	}
	length := func(i int, name string) int { return nn.Length(src, prefix, nn.Axis{Name: name, I: i}) }
	c.Context, c.Vector = length(1, "context_embedder.weight"), length(1, "y_embedder.mlp.0.weight")
	out := nn.Most(length(0, "final_layer.linear.bias"), length(0, "final_layer.linear.weight"), patch.Size*patch.Size*length(1, "x_embedder.proj.weight"))
	c.Channels = out / (patch.Size * patch.Size)
	places := length(1, "pos_embed")
	c.Side = int(math.Round(math.Sqrt(float64(places))))
	switch {
	case c.Width == 0 || c.Hidden == 0 || c.Context == 0 || c.Vector == 0 || c.Channels == 0:
		return fault.New(fault.Model, "the file is incomplete: the sizes of the network cannot be told from tensors %sjoint_blocks..., %scontext_embedder.weight, %sy_embedder.mlp.0.weight and %sfinal_layer.linear.weight", prefix, prefix, prefix, prefix)
	case c.Side == 0 || c.Side*c.Side != places:
		return fault.New(fault.Model, "there are positions of %d tokens (%spos_embed), expected those of a square", places, prefix)
	case c.Width%c.HeadDim != 0:
		return fault.New(fault.Model, "tokens have %d features and heads %d (%sjoint_blocks.0.x_block.attn.ln_q.weight), expected a multiple of it", c.Width, c.HeadDim, prefix)
	}
	return nil
}
