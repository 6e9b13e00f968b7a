// Package sd builds the networks of Stable Diffusion 1.x and SDXL, the UNet
// and the autoencoder, and tells from a checkpoint's tensors which they are.
package sd

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-run/weir/fault"
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

// A Checkpoint is what a file of Stable Diffusion holds. What is left out is the
// zero value.
type Checkpoint struct {
	Family Family
	UNet   UNetConfig
	VAE    VAEConfig
	// Text are the prefixes of the text encoders: CLIP-L and, in SDXL, OpenCLIP-G.
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
	// Doubts are what the metadata say and what was not understood.
	Doubts []string
}

// source is a checkpoint with its metadata, which a nn.Source lacks, and with
// all names.
type source struct {
	nn.Source
	names    nn.Names
	metadata map[string]string
}

func newSource(src nn.Tensors, metadata map[string]string) source {
	return source{src, src.Names(), metadata}
}

func (s source) has(name string) bool { _, _, ok := s.Lookup(name); return ok }

// scales are what latents are multiplied by for the UNet of each family.
var scales = map[Family]float32{SD1: 0.18215, SDXL: 0.13025}

// Detect tells what a checkpoint is. Parts may be left out: those that are there
// are complete, and belong together. The error of anything else says what was
// recognised, and which tensor is missing or does not fit.
func Detect(src nn.Tensors, metadata map[string]string) (*Checkpoint, error) {
	s := newSource(src, metadata)
	if err := s.other(); err != nil {
		return nil, err
	}
	c := &Checkpoint{Factor: 8}
	if err := c.text(s); err != nil {
		return nil, err
	}
	var err error
	if s.names.Has(UNetPrefix) {
		if c.UNet, err = detectUNet(s); err != nil {
			return nil, fmt.Errorf("%s: %w", cmp.Or(c.Family, family(s)), err)
		}
		if c.Family != "" && c.UNet.family() != c.Family {
			return nil, fmt.Errorf("%s: the UNet and the text encoders do not belong together: SDXL's has label_emb, that of 1.x has not", c.Family)
		}
		c.Family = c.UNet.family()
	}
	if s.names.Has(VAEPrefix) {
		if c.VAE, err = DetectVAE(src, VAEPrefix); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Family, err)
		}
		if c.HasUNet() && c.VAE.Latent != c.UNet.In {
			return nil, fmt.Errorf("%s: the autoencoder has latents of %d channels (%sdecoder.conv_in.weight) and the UNet reads %d (%sinput_blocks.0.0.weight)", c.Family, c.VAE.Latent, VAEPrefix, c.UNet.In, UNetPrefix)
		}
		c.Factor = c.VAE.Factor()
	}
	if !c.HasUNet() && len(c.Text) == 0 {
		return nil, s.unknown()
	}
	c.Scale = scales[c.Family]
	if !c.HasVAE() {
		if err := c.factor(s); err != nil {
			return nil, err
		}
	}
	return c, errors.Join(c.prediction(s), c.latentFormat(s))
}

// HasUNet reports whether the checkpoint has a UNet.
func (c *Checkpoint) HasUNet() bool { return c.UNet.Channels > 0 }

// HasVAE reports whether the checkpoint has an autoencoder.
func (c *Checkpoint) HasVAE() bool { return c.VAE.Latent > 0 }

// text finds the text encoders, whose places tell the family.
func (c *Checkpoint) text(s source) error {
	has := func(prefix string) bool {
		return slices.ContainsFunc(s.names.Under(prefix), func(name string) bool { return !strings.HasSuffix(name, "position_ids") })
	}
	pair := func(l, g string) error {
		for _, pair := range [2][2]string{{l, g}, {g, l}} {
			if !has(pair[0]) {
				return fmt.Errorf("%s: the checkpoint has one of the two text encoders, %s..., and not the other, %s...; load both with DualCLIPLoader", SDXL, pair[1], pair[0])
			}
		}
		c.Family, c.Text = SDXL, []string{l, g}
		return nil
	}
	switch {
	case has(ClipG) || has(ClipLSDXL):
		return pair(ClipLSDXL, ClipG)
	case has(ClipGConverted):
		return pair(ClipLSD1, ClipGConverted)
	case has(ClipLSD1):
		c.Family, c.Text = SD1, []string{ClipLSD1}
	}
	return nil
}

// DetectUNet tells what a UNet is that has its weights under UNetPrefix and
// neither text encoders nor autoencoder that count.
func DetectUNet(src nn.Tensors, metadata map[string]string) (*Checkpoint, error) {
	s := newSource(src, metadata)
	if err := s.other(); err != nil {
		return nil, err
	}
	if !s.names.Has(UNetPrefix + "input_blocks.") {
		return nil, s.unknown()
	}
	unet, err := detectUNet(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", family(s), err)
	}
	c := &Checkpoint{Family: unet.family(), UNet: unet, Scale: scales[unet.family()], Factor: 8}
	if err := c.factor(s); err != nil {
		return nil, err
	}
	return c, errors.Join(c.prediction(s), c.latentFormat(s))
}

// factor reads what an autoencoder would tell.
func (c *Checkpoint) factor(s source) (err error) {
	if text, ok := s.metadata[MetadataFactor]; ok {
		if c.Factor, err = strconv.Atoi(text); err != nil || c.Factor < 1 || c.Factor > 64 {
			return fmt.Errorf("metadata %s is %.200q, expected a number of pixels", MetadataFactor, text)
		}
	}
	return nil
}

// family tells the families' UNets apart: SDXL's is conditioned on a vector.
func (c UNetConfig) family() Family {
	if c.Vector > 0 {
		return SDXL
	}
	return SD1
}

// family is that of a UNet that may be broken.
func family(s source) Family {
	if s.names.Has(UNetPrefix + "label_emb.") {
		return SDXL
	}
	return SD1
}

// others are models that are not supported, by the beginning of the name of a
// tensor that each has, which may have the prefix of a checkpoint's UNet.
var others = []struct{ prefix, what string }{
	{"cond_stage_model.model.", "a checkpoint of Stable Diffusion 2.x, which is not supported yet: only 1.x and SDXL are"},
	{"conditioner.embedders.0.model.", "the refiner of SDXL, which is not supported yet: use the base checkpoint"},
	{"edm_mean", "a checkpoint of Playground 2.5 (EDM), which is not supported yet"},
	{"edm_vpred.", "a checkpoint of SDXL for EDM's velocities (edm_vpred), which is not supported yet"},
	{"double_blocks.", "a model of Flux, which is not supported yet"},
	{"joint_blocks.", "a model of Stable Diffusion 3, which is not supported yet"},
	{"blocks.0.self_attn.", "a model of Wan, which is not supported yet"},
	{"control_model.", "a ControlNet, which is not supported yet"},
	{"input_hint_block.", "a ControlNet, which is not supported yet"},
	{"controlnet_cond_embedding.", "a ControlNet, which is not supported yet"},
}

// other recognises checkpoints that are not supported.
func (s source) other() error {
	for _, o := range others {
		for _, prefix := range []string{o.prefix, UNetPrefix + o.prefix} {
			if under := s.names.Under(prefix); len(under) > 0 {
				return fmt.Errorf("this is %s (it has the tensor %s)", o.what, fault.Name(under[0]))
			}
		}
	}
	return nil
}

// unknown is the error of a file without UNet and text encoders.
func (s source) unknown() error {
	switch {
	case len(s.names) == 0:
		return errors.New("not a checkpoint that is known: there are no tensors")
	case s.names.Has(VAEPrefix + "decoder."), s.names.Has("decoder.conv_in."):
		return errors.New("this is an autoencoder alone: put it in the folder vae and load it with VAELoader")
	}
	return fmt.Errorf("not a checkpoint that is known: there is no tensor %sinput_blocks.0.0.weight, which Stable Diffusion 1.x and SDXL have; its tensors begin with %s", UNetPrefix, s.names.Beginnings(8))
}

// predictions are the spellings of what a network predicts, without spaces and
// signs, in metadata of published files.
var predictions = map[string]bool{ // whether it is the velocity
	"eps": false, "epsilon": false, "epsprediction": false, "epsilonprediction": false, "epspred": false, "noise": false,
	"v": true, "vpred": true, "vprediction": true, "velocity": true, "velocityprediction": true, "vparameterization": true, "vparam": true,
}

// prediction finds what the UNet predicts: Weir's own metadata say it, then
// tensors that mark checkpoints of SDXL, then the metadata of other programs. What
// of those is unknown or says otherwise is a doubt.
func (c *Checkpoint) prediction(s source) error {
	parse := func(key string) (v, ok bool) {
		text, there := s.metadata[key]
		if !there {
			return false, false
		}
		v, ok = predictions[strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(text))]
		if !ok {
			c.Doubts = append(c.Doubts, fmt.Sprintf("metadata %s is %.200q, expected \"epsilon\" or \"v\"; the node ModelSamplingDiscrete says it by hand", key, text))
		}
		return v, ok
	}
	marked := c.Family == SDXL && s.has("v_pred")
	c.VPrediction, c.ZeroSNR = marked, marked && s.has("ztsnr")
	if v, ok := parse(MetadataPrediction); ok {
		c.VPrediction = v
		return nil
	}
	for _, key := range []string{"modelspec.prediction_type", "modelspec.predict_key"} {
		switch v, ok := parse(key); {
		case !ok:
		case marked && !v:
			c.Doubts = append(c.Doubts, fmt.Sprintf("metadata %s is %.200q, and the tensor v_pred says that the model predicts velocities: the tensor decides", key, s.metadata[key]))
			return nil
		default:
			c.VPrediction = v
			return nil
		}
	}
	return nil
}

func (c *Checkpoint) latentFormat(s source) error {
	for key, to := range map[string]*float32{MetadataScale: &c.Scale, MetadataShift: &c.Shift} {
		if text, ok := s.metadata[key]; ok {
			v, err := strconv.ParseFloat(text, 32)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("metadata %s is %.200q, expected a number", key, text)
			}
			*to = float32(v)
		}
	}
	if c.Scale <= 0 {
		return fmt.Errorf("metadata %s is %v, expected a number above 0", MetadataScale, c.Scale)
	}
	return nil
}

// Describe says what the checkpoint is, for people.
func (c *Checkpoint) Describe() string {
	prediction := "epsilon"
	if c.VPrediction {
		prediction = "v"
	}
	what := []string{string(c.Family)}
	if c.HasUNet() {
		what = append(what, prediction+" prediction", fmt.Sprintf("UNet of %d channels at %d resolutions, text of %d features, latents of %d channels at 1/%d",
			c.UNet.Channels, c.UNet.Scale()+1, c.UNet.Context, c.UNet.In, c.Factor))
	} else {
		what = append(what, "no UNet")
	}
	if len(c.Text) == 0 && c.HasVAE() {
		what = append(what, "no text encoders")
	}
	if len(c.Text) > 0 && !c.HasVAE() {
		what = append(what, "no autoencoder")
	}
	return strings.Join(what, ", ")
}
