// Package sd builds the networks of Stable Diffusion 1.x and SDXL, the UNet
// and the autoencoder, and tells from a checkpoint's tensors which they are.
package sd

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// The prefixes of the parts of a checkpoint.
const (
	UNetPrefix = model.DenoiserPrefix
	VAEPrefix  = model.AutoencoderPrefix
)

// Metadata keys of a checkpoint that say what shapes cannot tell.
const (
	MetadataHeads      = "weir.unet.num_heads"      // attention heads of every transformer of the UNet
	MetadataScale      = "weir.latent.scale_factor" // latents are multiplied by it for the UNet
	MetadataShift      = "weir.latent.shift"        // and this is subtracted before
	MetadataFactor     = "weir.latent.factor"       // pixels a value of the latents stands for, of a UNet without autoencoder
	MetadataPrediction = "weir.prediction"          // "epsilon" or "v"
)

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

// Detect tells what a UNet is that has its weights under UNetPrefix. Its error
// says which tensor is missing or does not fit, or what else the UNet is.
func Detect(src nn.Tensors, metadata map[string]string) (*Config, error) {
	s := newSource(src, metadata)
	unet, err := detectUNet(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", family(s), err)
	}
	c := &Config{UNet: unet, Factor: 8, Scale: scaleSD1}
	if c.xl() {
		c.Scale = scaleSDXL
	}
	if vae, err := DetectVAE(src, VAEPrefix); err == nil {
		c.Factor = vae.Factor()
	} else if err := c.factor(s); err != nil {
		return nil, err
	}
	return c, errors.Join(c.prediction(s), c.latentFormat(s))
}

// factor reads what an autoencoder would tell.
func (c *Config) factor(s source) (err error) {
	if text, ok := s.metadata[MetadataFactor]; ok {
		if c.Factor, err = strconv.Atoi(text); err != nil || c.Factor < 1 || c.Factor > 64 {
			return fmt.Errorf("metadata %s is %.200q, expected a number of pixels", MetadataFactor, text)
		}
	}
	return nil
}

// family is that of a UNet that may be broken.
func family(s source) string {
	if s.names.Has(UNetPrefix + "label_emb.") {
		return SDXL
	}
	return SD1
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
func (c *Config) prediction(s source) error {
	parse := func(key string) (v, ok bool) {
		text, there := s.metadata[key]
		if !there {
			return false, false
		}
		v, ok = predictions[strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(text))]
		if !ok {
			c.doubts = append(c.doubts, fmt.Sprintf("metadata %s is %.200q, expected \"epsilon\" or \"v\"; the node ModelSamplingDiscrete says it by hand", key, text))
		}
		return v, ok
	}
	marked := c.xl() && s.has("v_pred")
	c.VPrediction, c.ZeroSNR = marked, marked && s.has("ztsnr")
	if v, ok := parse(MetadataPrediction); ok {
		c.VPrediction = v
		return nil
	}
	for _, key := range []string{"modelspec.prediction_type", "modelspec.predict_key"} {
		switch v, ok := parse(key); {
		case !ok:
		case marked && !v:
			c.doubts = append(c.doubts, fmt.Sprintf("metadata %s is %.200q, and the tensor v_pred says that the model predicts velocities: the tensor decides", key, s.metadata[key]))
			return nil
		default:
			c.VPrediction = v
			return nil
		}
	}
	return nil
}

func (c *Config) latentFormat(s source) error {
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
