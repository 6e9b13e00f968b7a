package pipeline

import (
	"fmt"
	"path/filepath"

	"github.com/weir-run/weir/ir"
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
	src := source{named("checkpoint")}
	config, err := sd.Detect(src, set.Metadata())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := &Checkpoint{
		Model: &Model{part: named("UNet"), config: config},
		CLIP:  &CLIP{},
		VAE:   &VAE{part: named("VAE"), config: config.VAE, prefix: sd.VAEPrefix},
	}
	base := lora.Base{Weights: src, UNet: config.UNet}
	for i, name := range textNames[:len(config.Text)] {
		text, err := newEncoder(named(name), set.Metadata(), config.Text[i], config.Family, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		c.CLIP.encoders = append(c.CLIP.encoders, text)
		base.Encoders = append(base.Encoders, lora.Encoder{Prefix: text.prefix, Config: text.config})
	}
	c.Model.base, c.CLIP.base = base, base
	return c, c.consistent(path)
}

// textNames are what the text encoders of a model are called, in their order.
var textNames = [2]string{"CLIP-L", "CLIP-G"}

// newEncoder returns text encoder number i of a family, with its weights under
// a prefix and its conventions.
func newEncoder(p part, metadata map[string]string, prefix string, family sd.Family, i int) (*encoder, error) {
	config, err := clip.Detect(source{p}, prefix, metadata)
	if err != nil {
		return nil, err
	}
	e := &encoder{part: p, config: config, prefix: prefix, output: clip.Output{Layer: -1, Norm: true}, pad: tokenizer.CLIPEnd}
	if family == sd.SDXL {
		// SDXL reads the states before the last layer, unnormalized (Podell et
		// al. 2023), and OpenCLIP's prompts are filled up with zeros.
		e.output = clip.Output{Layer: -2}
		if i == 1 {
			e.config.Activation, e.pad = ir.GELU, 0
		}
	}
	return e, nil
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
