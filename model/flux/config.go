package flux

import (
	"fmt"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/process"
)

// Family is FLUX.1, FLUX.2 and Chroma.
var Family = model.Family{
	Name: "FLUX and Chroma",
	Names: model.Names{
		What:  "denoiser of FLUX",
		Marks: []string{"double_blocks."},
		Modules: []string{"img_in", "txt_in", "time_in", "vector_in", "guidance_in", "double_blocks", "single_blocks", "final_layer",
			"double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation", "distilled_guidance_layer",
			"nerf_blocks", "txt_norm", "controlnet_blocks", "controlnet_x_embedder", "pos_embed_input"},
	},
	Match: model.Matches(Detect),
}

// A Kind is one of the architectures.
type Kind string

// The kinds.
const (
	Flux1  Kind = "FLUX.1"
	Flux2  Kind = "FLUX.2"
	Chroma Kind = "Chroma"
)

// A Config is a denoiser. Everything comes from the names and shapes of its
// weights.
type Config struct {
	Kind     Kind
	Channels int // of the latents
	In       int // Channels and those that stand beside them
	Width    int // features of a token
	HeadDim  int
	Context  int // features of the text
	Hidden   int // features within a feed-forward
	Vector   int // features of the pooled text, 0 without one
	Guidance bool
	// Double and Single are the numbers of blocks.
	Double, Single int
	// Approximator is the network that makes Chroma's modulations.
	Approximator struct{ Width, Layers int }
	// Scale says that the names of norms' weights end in "scale", not in "weight".
	Scale bool
}

// patch is how latents become tokens. FLUX.2's have their squares in channels.
func (c *Config) patch() dit.Patch {
	if c.Kind == Flux2 {
		return dit.Patch{Size: 1}
	}
	return dit.Patch{Size: 2}
}

// axes returns the axes of positions. Their share of a head is that of the
// published models: 16, 56 and 56 features, in FLUX.2 four times 32.
func (c *Config) axes() dit.Axes {
	n := c.HeadDim
	if c.Kind == Flux2 {
		return dit.Axes{Dims: []int{n / 4, n / 4, n / 4, n / 4}, Theta: 2000}
	}
	return dit.Axes{Dims: []int{n / 8, n * 7 / 16, n * 7 / 16}, Theta: 10000}
}

// heads is the number of attention heads.
func (c *Config) heads() int { return c.Width / c.HeadDim }

// mlpIn is the number of features before the activation of a feed-forward.
func (c *Config) mlpIn() int {
	if c.Kind == Flux2 {
		return 2 * c.Hidden
	}
	return c.Hidden
}

// norm ends the names of norms' weights.
func (c *Config) norm() string {
	if c.Scale {
		return "scale"
	}
	return "weight"
}

// Family returns the name of the family and of the variant, as far as shapes
// tell it.
func (c *Config) Family() string {
	switch {
	case c.Kind == Flux1 && c.In > 2*c.Channels:
		return "FLUX.1 Fill"
	case c.Kind == Flux1 && c.In > c.Channels:
		return "FLUX.1 Canny or Depth"
	case c.Kind == Flux1 && !c.Guidance:
		return "FLUX.1 schnell"
	case c.Kind == Flux2 && !c.Guidance:
		return "FLUX.2 klein"
	}
	return string(c.Kind)
}

// Describe returns the sizes of the denoiser.
func (c *Config) Describe() string {
	return fmt.Sprintf("flow, transformer of %d double and %d single blocks of %d features, text of %d features, latents of %d channels at 1/%d",
		c.Double, c.Single, c.Width, c.Context, c.Channels, c.Latent().Stride.Height)
}

// Doubts returns nothing: no metadata are read.
func (c *Config) Doubts() []string { return nil }

// Latent returns the format of the latents.
func (c *Config) Latent() latent.Format {
	if c.Kind == Flux2 { // the autoencoder normalizes them
		return latent.Flux2.WithChannels(c.Channels)
	}
	return latent.Flux.WithChannels(c.Channels)
}

// Process returns the noise that the denoiser is sampled with, as ComfyUI does
// unless a node says otherwise: FLUX.1 at the shift of 1024×1024 pixels.
func (c *Config) Process() process.Process {
	switch {
	case c.Kind == Flux2:
		return process.RectifiedExp(2.02)
	case c.Kind == Flux1 && !c.Guidance:
		return process.Rectified(1, 1)
	}
	return process.RectifiedExp(1.15)
}

// leastTokens is the number of tokens that shorter texts of FLUX.2 are filled up
// to, with zeros before the first.
const leastTokens = 512

// Shape checks what a conditioning has.
func (c *Config) Shape(x latent.Shape, cond *model.Cond) (model.Shape, error) {
	in := model.Shape{Shape: x, Tokens: cond.Tokens}
	if c.Kind == Flux2 {
		in.Tokens = max(in.Tokens, leastTokens)
	}
	if cond.Width != c.Context {
		return in, fault.New(fault.Workflow, "%s reads text of %d features, and the prompt was encoded with %d: load the text encoders that belong to it", c.Family(), c.Context, cond.Width)
	}
	if c.Vector > 0 && len(cond.Pooled) > 0 && len(cond.Pooled) < c.Vector {
		return in, fault.New(fault.Workflow, "%s reads a pooled text of %d features, and the prompt has %d: load clip_l with DualCLIPLoader, type flux", c.Family(), c.Vector, len(cond.Pooled))
	}
	if err := c.beside(x, cond); err != nil {
		return in, err
	}
	m, err := c.refer(&in, cond)
	guidance, given := cond.Numbers[model.Guidance]
	in.More = more(m, c.Guidance && given && len(guidance) == 0)
	return in, err
}

// beside checks the latents that stand beside the noisy ones.
func (c *Config) beside(x latent.Shape, cond *model.Cond) error {
	n := 0
	for _, l := range cond.Latents[model.Concat] {
		if c.In > c.Channels && (l.Height != x.Height || l.Width != x.Width) {
			return fault.New(fault.Workflow, "%s reads latents of %d×%d beside those of %d×%d that are sampled: make both of one picture", c.Family(), l.Width, l.Height, x.Width, x.Height)
		}
		n += l.Channels
	}
	if c.In > c.Channels && n > 0 && n != c.In-c.Channels {
		return fault.New(fault.Workflow, "%s reads %d channels beside the latents, and the conditioning has %d: FLUX.1 Fill needs InpaintModelConditioning, Canny and Depth InstructPixToPixConditioning", c.Family(), c.In-c.Channels, n)
	}
	return nil
}

// Inputs returns what a conditioning has, and the tables of positions.
func (c *Config) Inputs(in model.Shape) []model.Input {
	cos, sin := c.axes().Tables(c.positions(in))
	all := []model.Input{
		{Name: "context", Of: func(c *model.Cond) []float32 {
			return append(make([]float32, (in.Tokens-c.Tokens)*c.Width), c.Embed...)
		}},
		{Name: "cos", Table: func() []float32 { return cos }},
		{Name: "sin", Table: func() []float32 { return sin }},
	}
	if _, unguided := variant(in.More); c.Guidance && !unguided || c.Kind == Chroma {
		all = append(all, model.Input{Name: "guidance", Of: func(cond *model.Cond) []float32 {
			return []float32{cond.Number(model.Guidance, c.guidance())}
		}})
	}
	if c.Kind == Chroma {
		all = append(all, model.Input{Name: "index", Table: func() []float32 {
			index := make([]float32, modulations)
			for i := range index {
				index[i] = float32(i)
			}
			return index
		}})
	}
	if c.Vector > 0 {
		all = append(all, model.Input{Name: "pooled", Of: func(cond *model.Cond) []float32 {
			pooled := make([]float32, c.Vector) // zeros where there is none
			copy(pooled, cond.Pooled)
			return pooled
		}})
	}
	if c.In > c.Channels {
		all = append(all, model.Input{Name: "concat", Of: func(cond *model.Cond) []float32 { return c.concat(in, cond) }})
	}
	for i := range in.References {
		all = append(all, model.Input{Name: referenceName(i), Of: func(c *model.Cond) []float32 { return c.Latents[model.References][i].Data }})
	}
	return all
}

// guidance returns that of a conditioning that has none.
func (c *Config) guidance() float32 {
	if c.Kind == Chroma {
		return 0
	}
	return 3.5
}

// concat returns the channels beside the latents. Without any the picture is
// that of a latent of zeros, and the mask says that all is to be painted.
func (c *Config) concat(in model.Shape, cond *model.Cond) []float32 {
	n := in.Height * in.Width
	all := make([]float32, 0, (c.In-c.Channels)*n)
	for _, l := range cond.Latents[model.Concat] {
		all = append(all, l.Data...)
	}
	if len(all) > 0 {
		return all
	}
	f := c.Latent()
	for channel := range c.In - c.Channels {
		v := float32(1)
		if channel < c.Channels {
			v = -f.Shift[0] * f.Scale[0]
		}
		for range n {
			all = append(all, v)
		}
	}
	return all
}

// Check compares the weights of the denoiser with those of a source.
func (c *Config) Check(src nn.Source) *nn.Audit {
	n := c.patch().Size
	return model.CheckDenoiser(src, latent.Picture(1, c.Channels, n, n), c.Denoiser)
}
