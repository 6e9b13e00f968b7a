package sd

import (
	"fmt"
	"slices"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/process"
)

// The names of the families.
const (
	SD1  = "Stable Diffusion 1.x"
	SDXL = "Stable Diffusion XL"
	// Refiner samples the last steps of SDXL's pictures.
	Refiner = "Stable Diffusion XL Refiner"
)

// Family is Stable Diffusion 1.x and SDXL, whose denoisers are of one kind.
var Family = model.Family{
	Name: "Stable Diffusion 1.x and SDXL",
	Names: model.Names{
		What: "UNet", Marks: []string{"input_blocks.", "down_blocks."}, Not: []string{"encoder.", "control_model."},
		Modules: []string{
			"input_blocks", "middle_block", "output_blocks", "time_embed", "label_emb", "out",
			"conv_in", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out", "time_embedding", "add_embedding", "class_embedding",
			"controlnet_cond_embedding", "input_hint_block", "zero_convs",
		},
		Elsewhere: "down_blocks.", Original: FromDiffusersUNet,
	},
	Match: func(src nn.Tensors, metadata map[string]string) (model.Config, error) {
		c, err := Detect(src, metadata)
		if err != nil {
			return nil, err
		}
		return c, nil
	},
}

// A Config is a denoiser with its conventions.
type Config struct {
	UNet UNetConfig
	// Factor is the number of pixels that a value of the latents stands for in each direction.
	Factor int
	// VPrediction says that the UNet predicts the velocity, not the noise.
	VPrediction bool
	// ZeroSNR says that the noise schedule ends in pure noise.
	ZeroSNR bool
	// Scale and Shift turn the autoencoder's latents into the UNet's:
	// (z - Shift)·Scale.
	Scale, Shift float32

	doubts []string
}

// What latents are multiplied by for the UNet of each family.
const scaleSD1, scaleSDXL = 0.18215, 0.13025

// xl tells the families apart: SDXL's UNet is conditioned on a vector.
func (c *Config) xl() bool { return c.UNet.Vector > 0 }

// Family returns the name of the family.
func (c *Config) Family() string {
	switch {
	case c.UNet.Refiner():
		return Refiner
	case c.xl():
		return SDXL
	}
	return SD1
}

// Describe returns the sizes of the UNet.
func (c *Config) Describe() string {
	prediction := "epsilon"
	if c.VPrediction {
		prediction = "v"
	}
	return fmt.Sprintf("%s prediction, UNet of %d channels at %d resolutions, text of %d features, latents of %d channels at 1/%d",
		prediction, c.UNet.Channels, c.UNet.Scale()+1, c.UNet.Context, c.UNet.In, c.Factor)
}

// Doubts returns what the metadata say and was not understood.
func (c *Config) Doubts() []string { return c.doubts }

// Latent returns the format of the latents.
func (c *Config) Latent() latent.Format {
	return latent.Square(c.Family(), c.UNet.In, c.Factor, c.Scale, c.Shift)
}

// Process returns the noise that the UNet was trained with.
func (c *Config) Process() process.Process {
	if c.VPrediction {
		return process.Discrete(process.Velocity, c.ZeroSNR)
	}
	return process.Discrete(process.Epsilon, c.ZeroSNR)
}

// Text returns the family's text encoders.
func (c *Config) Text() []*model.Text {
	switch {
	case c.UNet.Refiner():
		return []*model.Text{&TextRefiner}
	case c.xl():
		return []*model.Text{&TextSDXL}
	}
	return []*model.Text{&TextSD1}
}

// Shape checks the features of the text.
func (c *Config) Shape(x latent.Shape, cond *model.Cond) (model.Shape, error) {
	const remedy = "use the text encoder of the same checkpoint"
	if cond.Width != c.UNet.Context {
		return model.Shape{}, fmt.Errorf("the UNet reads text of %d features, and the prompt was encoded with %d: %s", c.UNet.Context, cond.Width, remedy)
	}
	if c.xl() && len(cond.Pooled) != c.UNet.Pooled() {
		return model.Shape{}, fmt.Errorf("the UNet reads a pooled text of %d features, and the prompt has %d: %s", c.UNet.Pooled(), len(cond.Pooled), remedy)
	}
	return model.Shape{Shape: x, Tokens: cond.Tokens}, nil
}

// Denoiser builds the UNet.
func (c *Config) Denoiser(s nn.Scope, in model.Shape) {
	UNet(s, c.UNet, in.Batch, in.Height, in.Width, in.Tokens)
}

// Inputs returns the text and, of SDXL, its summary and the sizes, which are
// those of the picture where a conditioning has none.
func (c *Config) Inputs(in model.Shape) []model.Input {
	all := []model.Input{{Name: "context", Of: func(c *model.Cond) []float32 { return c.Embed }}}
	if !c.xl() {
		return all
	}
	height, width := float32(in.Height*c.Factor), float32(in.Width*c.Factor)
	refiner := c.UNet.Refiner()
	return append(all,
		model.Input{Name: "pooled", Of: func(c *model.Cond) []float32 { return c.Pooled }},
		model.Input{Name: "sizes", Of: func(c *model.Cond) []float32 {
			sizes := c.Numbers[model.Sizes]
			if len(sizes) != 6 {
				sizes = []float32{height, width, 0, 0, height, width}
			}
			if refiner {
				return append(slices.Clone(sizes[:4]), score(c))
			}
			return sizes
		}})
}

// score returns how pleasing a picture is to be, which the refiner is told: much,
// and little of what it is not to show (Podell et al. 2023).
func score(c *model.Cond) float32 {
	if c.Number(model.Negative, 0) != 0 {
		return c.Number(model.Score, 2.5)
	}
	return c.Number(model.Score, 6)
}

// Check compares the weights of the UNet with those of a source.
func (c *Config) Check(src nn.Source) *nn.Audit { return c.UNet.Check(src) }

// Layers yields the layers of the UNet with their names in diffusers.
func (c *Config) Layers(yield func(model.Layer) bool) {
	for l := range c.UNet.layers {
		if !yield(l) {
			return
		}
	}
}

// AutoencoderFamily is the autoencoder of Stable Diffusion.
var AutoencoderFamily = model.AutoencoderFamily{
	Name: "Stable Diffusion",
	Names: model.Names{
		What: "VAE", Marks: []string{"decoder.mid.", "decoder.mid_block."},
		Modules:   []string{"encoder", "decoder", "quant_conv", "post_quant_conv", "bn", "loss"},
		Elsewhere: "decoder.mid_block.", Original: FromDiffusersVAE,
	},
	Match: func(src nn.Tensors, _ map[string]string) (model.Autoencoder, error) {
		c, err := DetectVAE(src, VAEPrefix)
		if err != nil {
			return nil, err
		}
		return Autoencoder{c}, nil
	},
}

// An Autoencoder is an autoencoder as a part of a model.
type Autoencoder struct{ VAEConfig }

// Describe returns the sizes of the latents.
func (a Autoencoder) Describe() string {
	return fmt.Sprintf("autoencoder of Stable Diffusion, latents of %d channels at 1/%d", a.Channels(), a.Factor())
}

// Latent returns the format of the latents.
func (a Autoencoder) Latent() latent.Format {
	return latent.Format{Name: "Stable Diffusion", Channels: a.Channels(), Stride: latent.Stride{Time: 1, Height: a.Factor(), Width: a.Factor()}}
}

// Pictures returns the channels of pictures.
func (a Autoencoder) Pictures() int { return a.Image }

// Decodes reports whether there is a decoder.
func (a Autoencoder) Decodes() bool { return a.Decoder }

// Encodes reports whether there is an encoder.
func (a Autoencoder) Encodes() bool { return a.Encoder }

// Decode builds the decoder.
func (a Autoencoder) Decode(s nn.Scope, batch, height, width int) {
	Decode(s, a.VAEConfig, batch, height, width)
}

// Encode builds the encoder.
func (a Autoencoder) Encode(s nn.Scope, batch, height, width int) {
	Encode(s, a.VAEConfig, batch, height, width)
}

// Check compares the weights of both halves with those of a source.
func (a Autoencoder) Check(src nn.Source) *nn.Audit { return a.VAEConfig.Check(src, VAEPrefix) }
