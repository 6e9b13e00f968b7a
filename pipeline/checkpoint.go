package pipeline

import (
	"cmp"
	"context"
	"path/filepath"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
)

// A Checkpoint is the parts of a file. Those that the file lacks are nil.
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
	found, err := families.Detect(src, set.Metadata())
	if err != nil {
		return nil, inFile(path, err)
	}
	doubt(path, found.Denoiser)
	encoders, audits, err := audit(found, src, set.Metadata())
	if err != nil {
		return nil, inFile(path, err)
	}
	set = accounted(path, set, audits)
	named := func(name string) part {
		return part{engine: e, name: name + " of " + filepath.Base(path), set: set}
	}
	c := &Checkpoint{path: path}
	base := lora.Base{Weights: source{named("checkpoint")}, Denoiser: layered(found.Denoiser)}
	for _, text := range encoders {
		text.part = named(text.slot.Name)
		base.Encoders = append(base.Encoders, text.layers())
	}
	if len(encoders) > 0 {
		c.CLIP = &CLIP{text: found.Text, encoders: encoders, base: base}
	}
	if found.Denoiser != nil {
		c.Model = &Model{part: named("UNet"), config: found.Denoiser, base: base}
	}
	if found.Autoencoder != nil {
		c.VAE = &VAE{part: named("VAE"), Autoencoder: found.Autoencoder}
	}
	return c, c.consistent(path)
}

// layered is a denoiser as LoRAs find its layers, nil for none.
func layered(c model.Config) lora.Layered {
	if c == nil {
		return nil
	}
	return c
}

// audit returns the text encoders of a checkpoint, without their parts, and what
// all parts read.
func audit(found *families.Checkpoint, src nn.Tensors, metadata map[string]string) (encoders []*encoder, audits []*nn.Audit, err error) {
	if found.Denoiser != nil {
		audits = append(audits, found.Denoiser.Check(src))
	}
	if found.Autoencoder != nil {
		audits = append(audits, found.Autoencoder.Check(src))
	}
	for i, prefix := range found.Prefixes {
		slot := &found.Text.Slots[i]
		text, err := slot.Match(src, prefix, metadata)
		if err != nil {
			return nil, nil, err
		}
		encoders = append(encoders, newEncoder(slot, text, prefix))
		audits = append(audits, text.Check(src, prefix))
	}
	return encoders, audits, nil
}

// consistent checks that the denoiser reads what the text encoders give.
func (c *Checkpoint) consistent(path string) error {
	if c.Model == nil || c.CLIP == nil {
		return nil
	}
	text := c.CLIP.of(1)
	cond := &model.Cond{Tokens: 1, Width: text.Width, Pooled: text.Pooled}
	if _, err := c.Model.config.Shape(c.Model.Format().Of(1, 1, 1024, 1024), cond); err != nil {
		return fault.New(fault.Model, "%s: the text encoders and the denoiser do not belong together: %w", path, err)
	}
	return nil
}
