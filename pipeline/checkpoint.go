package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/tokenizer"
)

// A Checkpoint is the parts of a file of Stable Diffusion. Those that the file
// lacks are nil.
type Checkpoint struct {
	Model *Model
	CLIP  *CLIP
	VAE   *VAE

	path string
}

// Whole returns the first of the errors of ErrModel, ErrCLIP and ErrVAE.
func (c *Checkpoint) Whole() error { return cmp.Or(c.ErrModel(), c.ErrCLIP(), c.ErrVAE()) }

// ErrModel returns the error of using the UNet, if the file has none.
func (c *Checkpoint) ErrModel() error {
	return c.lacks(c.Model == nil, "UNet", "diffusion_models with UNETLoader")
}

// ErrCLIP returns the error of using the text encoders, if the file has none.
func (c *Checkpoint) ErrCLIP() error {
	return c.lacks(c.CLIP == nil, "text encoder", "text_encoders with CLIPLoader or DualCLIPLoader")
}

// ErrVAE returns the error of using the autoencoder, if the file has none.
func (c *Checkpoint) ErrVAE() error { return c.lacks(c.VAE == nil, "VAE", "vae with VAELoader") }

func (c *Checkpoint) lacks(missing bool, part, remedy string) error {
	if !missing {
		return nil
	}
	return fault.New(fault.Model, "%s has no %s: load one from the folder %s, or use a checkpoint that has all parts", c.path, part, remedy)
}

// Checkpoint opens a checkpoint. It reads the header of the file alone. Parts
// that the file lacks are an error when they are used; the error of a file that
// is no checkpoint says what it is.
func (e *Engine) Checkpoint(ctx context.Context, path string) (*Checkpoint, error) {
	set, src, err := e.tensorsOf(ctx, path)
	if err != nil {
		return nil, err
	}
	config, err := sd.Detect(src, set.Metadata())
	if err != nil {
		return nil, inFile(path, err)
	}
	doubt(path, config)
	audits, err := audit(config, src, set.Metadata())
	if err != nil {
		return nil, inFile(path, err)
	}
	set = accounted(path, set, audits)
	named := func(name string) part {
		return part{engine: e, name: name + " of " + filepath.Base(path), set: set}
	}
	c := &Checkpoint{path: path}
	base := lora.Base{Weights: source{named("checkpoint")}, UNet: config.UNet}
	var encoders []*encoder
	for i, name := range textNames[:len(config.Text)] {
		text, err := newEncoder(named(name), set.Metadata(), config.Text[i], config.Family, i)
		if err != nil {
			return nil, inFile(path, err)
		}
		encoders = append(encoders, text)
		base.Encoders = append(base.Encoders, lora.Encoder{Prefix: text.prefix, Config: text.config})
	}
	if len(encoders) > 0 {
		c.CLIP = &CLIP{encoders: encoders, base: base}
	}
	if config.HasUNet() {
		c.Model = &Model{part: named("UNet"), config: config, base: base}
	}
	if config.HasVAE() {
		c.VAE = &VAE{part: named("VAE"), config: config.VAE, prefix: sd.VAEPrefix}
	}
	return c, c.consistent(path)
}

// audit returns what the parts of a checkpoint read.
func audit(config *sd.Checkpoint, src nn.Tensors, metadata map[string]string) ([]*nn.Audit, error) {
	var audits []*nn.Audit
	if config.HasUNet() {
		audits = append(audits, config.UNet.Check(src))
	}
	if config.HasVAE() {
		audits = append(audits, config.VAE.Check(src, sd.VAEPrefix))
	}
	for i, prefix := range config.Text {
		text, err := detectEncoder(src, metadata, prefix, config.Family, i)
		if err != nil {
			return nil, err
		}
		audits = append(audits, text.Check(src, prefix))
	}
	return audits, nil
}

// textNames are what the text encoders of a model are called, in their order.
var textNames = [2]string{"CLIP-L", "CLIP-G"}

// detectEncoder recognises text encoder number i of a family, with its weights
// under a prefix.
func detectEncoder(src nn.Tensors, metadata map[string]string, prefix string, family sd.Family, i int) (clip.Config, error) {
	config, err := clip.Detect(src, prefix, metadata)
	switch {
	case err != nil:
		return config, err
	case config.Length != tokenizer.ChunkLength:
		return config, fmt.Errorf("the text encoder reads %d tokens at once (the positions at %s...), expected %d", config.Length, prefix, tokenizer.ChunkLength)
	case family == sd.SDXL && i == 1 && config.Projected == 0:
		return config, fmt.Errorf("%s has no projection: there is no tensor %stext_projection.weight", textNames[i], prefix)
	}
	return config, nil
}

// newEncoder returns text encoder number i of a family, with its weights under
// a prefix and its conventions.
func newEncoder(p part, metadata map[string]string, prefix string, family sd.Family, i int) (*encoder, error) {
	config, err := detectEncoder(source{p}, metadata, prefix, family, i)
	if err != nil {
		return nil, err
	}
	e := &encoder{part: p, config: config, prefix: prefix, output: clip.Output{Layer: -1, Norm: true}, pad: tokenizer.CLIPEnd, key: [2]string{"clip_l", "clip_g"}[i]}
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
	if c.Model == nil || c.CLIP == nil {
		return nil
	}
	width := 0
	for _, e := range c.CLIP.encoders {
		width += e.config.Width
	}
	unet := c.Model.config.UNet
	if width != unet.Context {
		return fault.New(fault.Model, "%s: the text encoders give %d features and the UNet reads %d: they do not belong together", path, width, unet.Context)
	}
	if last := c.CLIP.encoders[len(c.CLIP.encoders)-1]; unet.Vector > 0 && last.pooledWidth() != unet.Pooled() {
		return fault.New(fault.Model, "%s: the pooled text has %d features and the UNet reads %d (%slabel_emb.0.0.weight, less those of the sizes): they do not belong together",
			path, last.pooledWidth(), unet.Pooled(), sd.UNetPrefix)
	}
	return nil
}
