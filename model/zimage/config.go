package zimage

import (
	"fmt"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/process"
)

// Family is Z-Image and Z-Image Turbo.
var Family = model.Family{
	Name: "Z-Image",
	Names: model.Names{
		What:  "denoiser of Z-Image",
		Marks: []string{"cap_embedder."},
		Modules: []string{"x_embedder", "cap_embedder", "t_embedder", "noise_refiner", "context_refiner", "layers", "final_layer", "norm_final",
			"x_pad_token", "cap_pad_token", "siglip_embedder", "dec_net", "clip_text_pooled_proj"},
	},
	Match: model.Matches(Detect),
}

// A Config is a denoiser. Everything comes from the names and shapes of its
// weights.
type Config struct {
	Channels int // of the latent
	Width    int // features of a token
	HeadDim  int
	Context  int // features of the text
	Hidden   int // features within a feed-forward
	// Embedding has the features of the timestep after each of its two layers.
	Embedding [2]int
	// NoiseBlocks, TextBlocks and Blocks are those that see the picture, the text and
	// both.
	NoiseBlocks, TextBlocks, Blocks int
}

// Family returns the name of the family. Z-Image and Z-Image Turbo have the same
// tensors.
func (c *Config) Family() string { return "Z-Image" }

// Describe returns the sizes of the denoiser.
func (c *Config) Describe() string {
	return fmt.Sprintf("flow, transformer of %d layers of %d features, text of %d features, latents of %d channels at 1/8", c.Blocks, c.Width, c.Context, c.Channels)
}

// Doubts returns nothing: no metadata are read.
func (c *Config) Doubts() []string { return nil }

// Latent returns the format of the latents, which are those of FLUX.1.
func (c *Config) Latent() latent.Format { return latent.Flux.WithChannels(c.Channels) }

// Process returns the noise that the denoiser was trained with.
func (c *Config) Process() process.Process { return process.Rectified(3, 1) }

// Shape checks the features of the text.
func (c *Config) Shape(x latent.Shape, cond *model.Cond) (model.Shape, error) {
	if cond.Width != c.Context {
		return model.Shape{}, fault.New(fault.Workflow, "Z-Image reads text of %d features, and the prompt was encoded with %d: load qwen_3_4b with CLIPLoader, type lumina2", c.Context, cond.Width)
	}
	if len(cond.Latents[model.References]) > 0 {
		return model.Shape{}, fault.New(fault.Workflow, "Z-Image follows no reference pictures: take the node ReferenceLatent out")
	}
	return model.Shape{Shape: x, Tokens: cond.Tokens}, nil
}

// Inputs returns the text and the tables of positions.
func (c *Config) Inputs(in model.Shape) []model.Input {
	cos, sin := c.axes().Tables(c.positions(in))
	return []model.Input{
		{Name: "context", Of: func(c *model.Cond) []float32 { return c.Embed }},
		{Name: "cos", Table: func() []float32 { return cos }},
		{Name: "sin", Table: func() []float32 { return sin }},
	}
}

// Check compares the weights of the denoiser with those of a source.
func (c *Config) Check(src nn.Source) *nn.Audit {
	return model.CheckDenoiser(src, latent.Picture(1, c.Channels, patch.Size, patch.Size), c.Denoiser)
}

// Layers yields the layers of the denoiser with their names in diffusers, which
// has queries, keys and values apart.
func (c *Config) Layers(yield func(model.Layer) bool) {
	dit.Layers(yield, func(add dit.Add) {
		for _, name := range []string{"t_embedder.mlp.0", "t_embedder.mlp.2", "cap_embedder.1"} {
			add.Layer(name)
		}
		add.Norm("cap_embedder.0")
		add.Layer("x_embedder", "all_x_embedder.2-1")
		add.Layer("final_layer.linear", "all_final_layer.2-1.linear")
		add.Layer("final_layer.adaLN_modulation.1", "all_final_layer.2-1.adaLN_modulation.1")
		for _, stack := range []struct {
			name   string
			blocks int
		}{{"context_refiner", c.TextBlocks}, {"noise_refiner", c.NoiseBlocks}, {"layers", c.Blocks}} {
			for i := range stack.blocks {
				at := fmt.Sprintf("%s.%d.", stack.name, i)
				add.Rows(at+"attention.qkv", c.Width, at+"attention.to_q", at+"attention.to_k", at+"attention.to_v")
				add.Layer(at+"attention.out", at+"attention.to_out.0")
				add.Norm(at+"attention.q_norm", at+"attention.norm_q")
				add.Norm(at+"attention.k_norm", at+"attention.norm_k")
				for _, name := range []string{"attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"} {
					add.Norm(at + name)
				}
				for _, name := range []string{"w1", "w2", "w3"} {
					add.Layer(at + "feed_forward." + name)
				}
				if stack.name != "context_refiner" {
					add.Layer(at + "adaLN_modulation.0")
				}
			}
		}
	})
}
