// Package sd builds the networks of Stable Diffusion 1.x and SDXL, the UNet
// and the autoencoder, and tells from a checkpoint's tensors which they are.
package sd

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A Family is a kind of checkpoint.
type Family string

// The families.
const (
	SD1  Family = "Stable Diffusion 1.x"
	SDXL Family = "Stable Diffusion XL"
)

// The prefixes of the parts of a checkpoint.
const (
	UNetPrefix = "model.diffusion_model."
	VAEPrefix  = "first_stage_model."
	// ClipLSD1, ClipLSDXL and ClipG are the text encoders.
	ClipLSD1  = "cond_stage_model.transformer."
	ClipLSDXL = "conditioner.embedders.0.transformer."
	ClipG     = "conditioner.embedders.1.model."
	// ClipGConverted is SDXL's second text encoder in files of stable-diffusion.cpp, which names it as transformers does
	// and calls the first one as in Stable Diffusion 1.x.
	ClipGConverted = "cond_stage_model.1.transformer."
)

// Metadata keys of a checkpoint that say what shapes cannot tell.
const (
	MetadataHeads      = "weir.unet.num_heads"      // attention heads of every transformer of the UNet
	MetadataScale      = "weir.latent.scale_factor" // latents are multiplied by it for the UNet
	MetadataShift      = "weir.latent.shift"        // and this is subtracted before
	MetadataFactor     = "weir.latent.factor"       // pixels a value of the latents stands for, of a UNet without autoencoder
	MetadataPrediction = "weir.prediction"          // "epsilon" or "v"
)

// A Checkpoint is what a file of Stable Diffusion holds.
type Checkpoint struct {
	Family Family
	UNet   UNetConfig
	VAE    VAEConfig // the zero value of a UNet alone
	// Text are the prefixes of the text encoders: CLIP-L and, in SDXL, OpenCLIP-G. A UNet alone has none.
	Text []string
	// Factor is the number of pixels that a value of the latents stands for in each direction.
	Factor int
	// VPrediction says that the UNet predicts the velocity, not the noise.
	VPrediction bool
	// ZeroSNR says that the noise schedule ends in pure noise.
	ZeroSNR bool
	// Scale and Shift turn the autoencoder's latents into the UNet's:
	// (z - Shift)·Scale.
	Scale, Shift float32
}

// source is a checkpoint with its metadata, which a nn.Source lacks.
type source struct {
	nn.Source
	metadata map[string]string
}

func (s source) has(name string) bool { _, _, ok := s.Lookup(name); return ok }

// shape returns the shape of a tensor with that many dimensions, or nil.
func (s source) shape(name string, dims int) ir.Shape {
	if _, shape, ok := s.Lookup(name); ok && len(shape) == dims {
		return shape
	}
	return nil
}

// scales are what latents are multiplied by for the UNet of each family.
var scales = map[Family]float32{SD1: 0.18215, SDXL: 0.13025}

// Detect tells what a checkpoint is. Its error says what was recognised and
// what is missing.
func Detect(src nn.Source, metadata map[string]string) (*Checkpoint, error) {
	s := source{src, metadata}
	if err := s.other(); err != nil {
		return nil, err
	}
	c := &Checkpoint{}
	encoder := func(prefix string) bool {
		return s.has(prefix+"text_model.final_layer_norm.weight") || s.has(prefix+"final_layer_norm.weight")
	}
	switch {
	case s.has(ClipG+"positional_embedding") && encoder(ClipLSDXL):
		c.Family, c.Text = SDXL, []string{ClipLSDXL, ClipG}
	case encoder(ClipLSD1) && encoder(ClipGConverted):
		c.Family, c.Text = SDXL, []string{ClipLSD1, ClipGConverted}
	case encoder(ClipLSD1):
		c.Family, c.Text = SD1, []string{ClipLSD1}
	default:
		return nil, fmt.Errorf("a UNet of Stable Diffusion without its text encoder: there is neither %s... (Stable Diffusion 1.x) nor %s... (SDXL); use a checkpoint that has all parts in one file, or load the parts with UNETLoader, CLIPLoader or DualCLIPLoader, and VAELoader", ClipLSD1, ClipG)
	}
	c.Scale = scales[c.Family]
	var err error
	if c.UNet, err = detectUNet(s); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Family, err)
	}
	if c.UNet.family() != c.Family {
		return nil, fmt.Errorf("%s: the UNet and the text encoders do not belong together: SDXL's has label_emb, that of 1.x has not", c.Family)
	}
	if c.VAE, err = DetectVAE(src, VAEPrefix); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Family, err)
	}
	if c.VAE.Latent != c.UNet.In {
		return nil, fmt.Errorf("%s: the autoencoder has latents of %d channels and the UNet reads %d", c.Family, c.VAE.Latent, c.UNet.In)
	}
	c.Factor = c.VAE.Factor()
	return c, errors.Join(c.prediction(s), c.latentFormat(s))
}

// DetectUNet tells what a UNet is that has its weights under UNetPrefix and
// neither text encoders nor autoencoder that count.
func DetectUNet(src nn.Source, metadata map[string]string) (*Checkpoint, error) {
	s := source{src, metadata}
	if err := s.other(); err != nil {
		return nil, err
	}
	unet, err := detectUNet(s)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Family: unet.family(), UNet: unet, Scale: scales[unet.family()], Factor: 8}
	if text, ok := metadata[MetadataFactor]; ok {
		if c.Factor, err = strconv.Atoi(text); err != nil || c.Factor < 1 || c.Factor > 64 {
			return nil, fmt.Errorf("metadata %s is %q, expected a number of pixels", MetadataFactor, text)
		}
	}
	return c, errors.Join(c.prediction(s), c.latentFormat(s))
}

// family tells the families' UNets apart: SDXL's is conditioned on a vector.
func (c UNetConfig) family() Family {
	if c.Vector > 0 {
		return SDXL
	}
	return SD1
}

// other recognises checkpoints that are not supported, by a tensor of each.
func (s source) other() error {
	type mark struct{ tensor, what string }
	marks := []mark{
		{"cond_stage_model.model.positional_embedding", "a checkpoint of Stable Diffusion 2.x, which is not supported yet: only 1.x and SDXL are"},
		{"conditioner.embedders.0.model.positional_embedding", "the refiner of SDXL, which is not supported yet: use the base checkpoint"},
		{"down_blocks.0.resnets.0.norm1.weight", "a UNet in the format of diffusers: use the original checkpoint with all parts in one file"},
		{UNetPrefix + "down_blocks.0.resnets.0.norm1.weight", "a UNet in the format of diffusers: use the original checkpoint with all parts in one file"},
		{UNetPrefix + "double_blocks.0.img_attn.qkv.weight", "a checkpoint of Flux, which is not supported yet"},
		{"double_blocks.0.img_attn.qkv.weight", "a diffusion model of Flux, which is not supported yet"},
		{UNetPrefix + "joint_blocks.0.x_block.attn.qkv.weight", "a checkpoint of Stable Diffusion 3, which is not supported yet"},
		{"blocks.0.self_attn.q.weight", "a diffusion model of Wan, which is not supported yet"},
		{UNetPrefix + "blocks.0.self_attn.q.weight", "a diffusion model of Wan, which is not supported yet"},
	}
	for _, m := range marks {
		if s.has(m.tensor) {
			return fmt.Errorf("this is %s (it has the tensor %s)", m.what, m.tensor)
		}
	}
	if s.has(UNetPrefix + "input_blocks.0.0.weight") {
		return nil
	}
	switch {
	case s.has("input_blocks.0.0.weight"):
		return errors.New("this is a UNet without text encoder and autoencoder: put it in the folder diffusion_models and load it with UNETLoader, and the other parts with CLIPLoader or DualCLIPLoader and VAELoader")
	case s.has("decoder.conv_in.weight"), s.has(VAEPrefix + "decoder.conv_in.weight"):
		return errors.New("this is an autoencoder alone: put it in the folder vae and load it with VAELoader")
	}
	return fmt.Errorf("not a checkpoint that is known: there is no tensor %sinput_blocks.0.0.weight, which Stable Diffusion 1.x and SDXL have", UNetPrefix)
}

func (c *Checkpoint) prediction(s source) error {
	c.VPrediction = s.has("v_pred")
	c.ZeroSNR = s.has("ztsnr")
	for _, key := range []string{MetadataPrediction, "modelspec.prediction_type"} {
		switch text, ok := s.metadata[key]; {
		case !ok:
		case text == "v":
			c.VPrediction = true
			return nil
		case text == "epsilon":
			c.VPrediction = false
			return nil
		default:
			return fmt.Errorf("metadata %s is %q, expected \"epsilon\" or \"v\"", key, text)
		}
	}
	return nil
}

func (c *Checkpoint) latentFormat(s source) error {
	for key, to := range map[string]*float32{MetadataScale: &c.Scale, MetadataShift: &c.Shift} {
		if text, ok := s.metadata[key]; ok {
			v, err := strconv.ParseFloat(text, 32)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("metadata %s is %q, expected a number", key, text)
			}
			*to = float32(v)
		}
	}
	if c.Scale <= 0 {
		return fmt.Errorf("metadata %s is %v, expected a number above 0", MetadataScale, c.Scale)
	}
	return nil
}

// detectUNet reads the blocks off the names of the weights.
func detectUNet(s source) (UNetConfig, error) {
	var c UNetConfig
	first := s.shape(UNetPrefix+"input_blocks.0.0.weight", 4)
	if first == nil {
		return c, fmt.Errorf("tensor %sinput_blocks.0.0.weight is not a convolution", UNetPrefix)
	}
	c.Channels, c.In = first[0], first[1]
	if c.In == 9 || c.In == 8 {
		return c, fmt.Errorf("the UNet reads %d channels: it is one for inpainting or editing pictures, which is not supported yet; SetLatentNoiseMask inpaints with every other checkpoint", c.In)
	}
	out := s.shape(UNetPrefix+"out.2.weight", 4)
	if out == nil {
		return c, fmt.Errorf("there is no tensor %sout.2.weight", UNetPrefix)
	}
	c.Out = out[0]
	c.Input = append(c.Input, Block{})
	for i := 1; ; i++ {
		b, ok := s.block(fmt.Sprintf("%sinput_blocks.%d.", UNetPrefix, i), "0.op.weight")
		if !ok {
			break
		}
		c.Input = append(c.Input, b)
	}
	c.Middle = s.depth(UNetPrefix + "middle_block.1.")
	for i := range c.Input {
		prefix := fmt.Sprintf("%soutput_blocks.%d.", UNetPrefix, i)
		b, ok := s.block(prefix, "1.conv.weight")
		if !ok || !b.Res {
			return c, fmt.Errorf("there is no residual block at %s, and the UNet has %d input blocks", prefix, len(c.Input))
		}
		b.Resize = b.Resize || s.has(prefix+"2.conv.weight")
		c.Output = append(c.Output, b)
	}
	if w := s.shape(UNetPrefix+"label_emb.0.0.weight", 2); w != nil {
		c.Vector = w[1]
		if c.Pooled() <= 0 {
			return c, fmt.Errorf("the UNet is conditioned on a vector of %d features, expected more than the %d of six sizes", c.Vector, 6*sizeDim)
		}
	}
	return c, c.heads(s)
}

// heads finds the text's features and the attention heads. UNets of 1.x,
// whose transformers begin with a convolution, have eight heads; later ones
// have heads of 64 features.
func (c *UNetConfig) heads(s source) error {
	var block string
	for i, b := range c.Input {
		if b.Depth > 0 {
			block = fmt.Sprintf("%sinput_blocks.%d.1.", UNetPrefix, i)
			break
		}
	}
	if block == "" && c.Middle > 0 {
		block = UNetPrefix + "middle_block.1."
	}
	k := s.shape(block+"transformer_blocks.0.attn2.to_k.weight", 2)
	if k == nil {
		return errors.New("the UNet has no transformer that attends to text (attn2.to_k.weight)")
	}
	c.Context = k[1]
	if s.shape(block+"proj_in.weight", 4) != nil {
		c.Heads = 8
	} else {
		c.HeadDim = 64
	}
	if text, ok := s.metadata[MetadataHeads]; ok {
		heads, err := strconv.Atoi(text)
		if err != nil || heads < 1 {
			return fmt.Errorf("metadata %s is %q, expected a number of heads", MetadataHeads, text)
		}
		c.Heads, c.HeadDim = heads, 0
	}
	if c.Heads > 0 && k[0]%c.Heads != 0 || c.Heads == 0 && k[0]%c.HeadDim != 0 {
		return fmt.Errorf("attention with %d features cannot have the heads of its family; the metadata %s can give their number", k[0], MetadataHeads)
	}
	return nil
}

// block reads what a block consists of; resize is the tensor of the layer
// that changes the resolution in it.
func (s source) block(prefix, resize string) (Block, bool) {
	b := Block{
		Res:    s.has(prefix + "0.in_layers.0.weight"),
		Depth:  s.depth(prefix + "1."),
		Resize: s.has(prefix + resize),
	}
	return b, b.Res || b.Resize
}

// depth counts the blocks of a transformer.
func (s source) depth(prefix string) int {
	n := 0
	for s.has(fmt.Sprintf("%stransformer_blocks.%d.norm1.weight", prefix, n)) {
		n++
	}
	return n
}

// DetectVAE reads the configuration of the autoencoder whose weights begin
// with prefix.
func DetectVAE(src nn.Source, prefix string) (VAEConfig, error) {
	s := source{Source: src}
	var c VAEConfig
	if s.has(prefix + "decoder.up_blocks.0.resnets.0.norm1.weight") {
		return c, errors.New("an autoencoder in the format of diffusers: use one with the original names (decoder.up.0.block.0...)")
	}
	blocks := func(half string) (levels []int) {
		for {
			n := 0
			for s.has(fmt.Sprintf("%s%s.%d.block.%d.norm1.weight", prefix, half, len(levels), n)) {
				n++
			}
			if n == 0 {
				return levels
			}
			levels = append(levels, n)
		}
	}
	c.Up, c.Down = blocks("decoder.up"), blocks("encoder.down")
	c.Decoder, c.Encoder = len(c.Up) > 0, len(c.Down) > 0
	c.Quant, c.PostQuant = s.has(prefix+"quant_conv.weight"), s.has(prefix+"post_quant_conv.weight")
	in := s.shape(prefix+"decoder.conv_in.weight", 4)
	out := s.shape(prefix+"decoder.conv_out.weight", 4)
	if in == nil || out == nil || !c.Decoder {
		return c, fmt.Errorf("no autoencoder of Stable Diffusion: there are no tensors %sdecoder.conv_in.weight, ...up.0.block.0.norm1.weight and ...conv_out.weight; load one with VAELoader", prefix)
	}
	c.Latent, c.Image = in[1], out[0]
	return c, nil
}

// Describe says what the checkpoint is, for people.
func (c *Checkpoint) Describe() string {
	prediction := "epsilon"
	if c.VPrediction {
		prediction = "v"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s prediction, UNet of %d channels at %d resolutions, text of %d features, latents of %d channels at 1/%d",
		c.Family, prediction, c.UNet.Channels, c.UNet.Scale()+1, c.UNet.Context, c.UNet.In, c.Factor)
	return b.String()
}
