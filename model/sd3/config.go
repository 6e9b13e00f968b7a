package sd3

import (
	"fmt"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/process"
)

// A Config is a denoiser. Everything comes from the names and shapes of its
// weights.
type Config struct {
	Channels int // of the latents
	Width    int // features of a token
	HeadDim  int
	Context  int // features of the text
	Vector   int // features of the pooled text
	Hidden   int // features within a feed-forward
	// Side is the number of rows and of columns that positions are learned for.
	Side   int
	Blocks int
	// Dual is the number of blocks, the first ones, with a second attention.
	Dual int
	// Norm says that queries and keys are normalized.
	Norm bool
}

// heads is the number of attention heads.
func (c *Config) heads() int { return c.Width / c.HeadDim }

// Family returns the name of the family and of the variant, as far as shapes
// tell it.
func (c *Config) Family() string {
	switch {
	case !c.Norm:
		return name
	case c.Dual > 0:
		return "Stable Diffusion 3.5 Medium"
	}
	return "Stable Diffusion 3.5 Large"
}

// Describe returns the sizes of the denoiser.
func (c *Config) Describe() string {
	return fmt.Sprintf("flow, transformer of %d blocks of %d features, text of %d features, latents of %d channels at 1/8", c.Blocks, c.Width, c.Context, c.Channels)
}

// Doubts returns nothing: no metadata are read.
func (c *Config) Doubts() []string { return nil }

// Latent returns the format of the latents.
func (c *Config) Latent() latent.Format { return latent.SD3.WithChannels(c.Channels) }

// Process returns the noise that the denoiser was trained with.
func (c *Config) Process() process.Process { return process.Rectified(3, 1000) }

// Shape checks the features of the text and the size of the picture.
func (c *Config) Shape(x latent.Shape, cond *model.Cond) (model.Shape, error) {
	in := model.Shape{Shape: x, Tokens: cond.Tokens}
	if cond.Width != c.Context {
		return in, fault.New(fault.Workflow, "%s reads text of %d features, and the prompt was encoded with %d: load clip_l, clip_g and t5xxl with TripleCLIPLoader", c.Family(), c.Context, cond.Width)
	}
	if n := len(cond.Pooled); n != 0 && n != c.Vector {
		return in, fault.New(fault.Workflow, "%s reads a pooled text of %d features, and the prompt has %d: load clip_l, clip_g and t5xxl with TripleCLIPLoader", c.Family(), c.Vector, n)
	}
	if rows, columns := patch.Grid(x.Height, x.Width); max(rows, columns) > c.Side {
		n := c.Side * patch.Size * 8
		return in, fault.New(fault.Workflow, "%s has positions for %d×%d pixels, and the picture has %d×%d: make it smaller", c.Family(), n, n, 8*x.Width, 8*x.Height)
	}
	return in, nil
}

// Inputs returns the text, its pooled text, zeros without one, and the places of
// the tokens.
func (c *Config) Inputs(in model.Shape) []model.Input {
	return []model.Input{
		{Name: "context", Of: func(c *model.Cond) []float32 { return c.Embed }},
		{Name: "pooled", Of: func(cond *model.Cond) []float32 {
			pooled := make([]float32, c.Vector)
			copy(pooled, cond.Pooled)
			return pooled
		}},
		{Name: "places", Index: func() []int32 {
			rows, columns := patch.Grid(in.Height, in.Width)
			places := make([]int32, 0, rows*columns)
			for row := range rows {
				for column := range columns {
					places = append(places, int32(row*c.Side+(c.Side-columns)/2+column))
				}
			}
			return places
		}},
	}
}

// Check compares the weights of the denoiser with those of a source.
func (c *Config) Check(src nn.Source) *nn.Audit {
	return model.CheckDenoiser(src, latent.Picture(1, c.Channels, patch.Size, patch.Size), c.Denoiser)
}

// Layers yields the layers of the denoiser with their names in diffusers, which
// has queries, keys and values apart. Those of norm_out and of the last text
// block have scale and shift the other way round there and are left out.
func (c *Config) Layers(yield func(model.Layer) bool) {
	dit.Layers(yield, func(add dit.Add) {
		add.Layer("x_embedder.proj", "pos_embed.proj")
		add.Layer("context_embedder")
		add.Layer("t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1")
		add.Layer("t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2")
		add.Layer("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1")
		add.Layer("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2")
		add.Layer("final_layer.linear", "proj_out")
		add.Layer("final_layer.adaLN_modulation.1")
		for i := range c.Blocks {
			c.blockLayers(add, i)
		}
	})
}

// blockLayers adds those of a block.
func (c *Config) blockLayers(add dit.Add, i int) {
	own, elsewhere := fmt.Sprintf("joint_blocks.%d.", i), fmt.Sprintf("transformer_blocks.%d.", i)
	attention := func(own, elsewhere, q, k, v, out, norm string) {
		add.Rows(own+"qkv", c.Width, elsewhere+q, elsewhere+k, elsewhere+v)
		if out != "" {
			add.Layer(own+"proj", elsewhere+out)
		}
		if c.Norm {
			add.Norm(own+"ln_q", elsewhere+norm+"q")
			add.Norm(own+"ln_k", elsewhere+norm+"k")
		}
	}
	rest := func(own, norm, mlp string) {
		add.Layer(own+"adaLN_modulation.1", elsewhere+norm+".linear")
		add.Layer(own+"mlp.fc1", elsewhere+mlp+".net.0.proj")
		add.Layer(own+"mlp.fc2", elsewhere+mlp+".net.2")
	}
	x, text := own+"x_block.", own+"context_block."
	attention(x+"attn.", elsewhere+"attn.", "to_q", "to_k", "to_v", "to_out.0", "norm_")
	if i < c.Dual {
		attention(x+"attn2.", elsewhere+"attn2.", "to_q", "to_k", "to_v", "to_out.0", "norm_")
	}
	rest(x, "norm1", "ff")
	if i == c.Blocks-1 {
		attention(text+"attn.", elsewhere+"attn.", "add_q_proj", "add_k_proj", "add_v_proj", "", "norm_added_")
		add.Layer(text + "adaLN_modulation.1")
		return
	}
	attention(text+"attn.", elsewhere+"attn.", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "norm_added_")
	rest(text, "norm1_context", "ff_context")
}
