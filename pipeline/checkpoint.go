package pipeline

import (
	"fmt"
	"path/filepath"

	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/tokenizer"
)

// A Checkpoint is the parts of a file of Stable Diffusion.
type Checkpoint struct {
	Model *Model
	CLIP  *CLIP
	VAE   *VAE
}

// Checkpoint opens a checkpoint. It reads the header of the file alone. The
// error of a file that is no checkpoint says what it is.
func (e *Engine) Checkpoint(path string) (*Checkpoint, error) {
	set, err := e.open(path)
	if err != nil {
		return nil, err
	}
	named := func(name string) part {
		return part{engine: e, name: name + " of " + filepath.Base(path), set: set}
	}
	src, metadata := source{named("checkpoint")}, set.Metadata()
	config, err := sd.Detect(src, metadata)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := &Checkpoint{
		Model: &Model{part: named("UNet"), config: config},
		CLIP:  &CLIP{},
		VAE:   &VAE{part: named("VAE"), config: config.VAE, prefix: sd.VAEPrefix},
	}
	add := func(name, prefix string, output clip.Output, pad int32) error {
		p := named(name)
		text, err := clip.Detect(src, prefix, metadata)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		c.CLIP.encoders = append(c.CLIP.encoders, &encoder{part: p, config: text, prefix: prefix, output: output, pad: pad})
		return nil
	}
	if config.Family == sd.SDXL {
		// SDXL reads the states before the last layer, unnormalized (Podell et
		// al. 2023), and OpenCLIP's prompts are filled up with zeros.
		if err := add("CLIP-L", sd.ClipLSDXL, clip.Output{Layer: -2}, tokenizer.CLIPEnd); err != nil {
			return nil, err
		}
		if err := add("CLIP-G", sd.ClipG, clip.Output{Layer: -2}, 0); err != nil {
			return nil, err
		}
	} else if err := add("CLIP-L", sd.ClipLSD1, clip.Output{Layer: -1, Norm: true}, tokenizer.CLIPEnd); err != nil {
		return nil, err
	}
	base := lora.Base{Weights: src, UNet: config.UNet}
	for _, e := range c.CLIP.encoders {
		base.Encoders = append(base.Encoders, lora.Encoder{Prefix: e.prefix, Config: e.config})
	}
	c.Model.base, c.CLIP.base = base, base
	return c, c.consistent(path)
}

// consistent checks that text encoders and UNet have the same features.
func (c *Checkpoint) consistent(path string) error {
	width := 0
	for _, e := range c.CLIP.encoders {
		width += e.config.Width
	}
	if want := c.Model.config.UNet.Context; width != want {
		return fmt.Errorf("%s: the text encoders give %d features and the UNet reads %d: they do not belong together", path, width, want)
	}
	return nil
}
