// Package families has all families of models, and recognises what a file
// holds.
package families

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/flux"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/model/sd3"
	"github.com/weir-run/weir/model/zimage"
)

// All are the families of denoisers.
var All = []*model.Family{&sd.Family, &zimage.Family, &flux.Family, &sd3.Family}

// Autoencoders are the families of autoencoders.
var Autoencoders = []*model.AutoencoderFamily{&sd.AutoencoderFamily}

// Texts are the ways of encoding prompts.
var Texts = []*model.Text{&sd.TextSDXL, &sd.TextSD1, &zimage.Text, &flux.TextFlux1, &flux.TextChroma, &flux.TextFlux2, &flux.TextKlein, &sd3.Text, &sd.TextRefiner}

// TextsOf returns the ways of encoding prompts that nodes call by a type.
func TextsOf(kind string) (all []*model.Text) {
	for _, t := range Texts {
		if slices.Contains(t.Types, kind) {
			all = append(all, t)
		}
	}
	return all
}

// Types returns the types of the ways that have so many encoders, 0 for any
// number, in the order of the registry.
func Types(encoders int) (all []string) {
	for _, t := range Texts {
		for _, kind := range t.Types {
			if (encoders == 0 || len(t.Slots) == encoders) && !slices.Contains(all, kind) {
				all = append(all, kind)
			}
		}
	}
	return all
}

// A Checkpoint is what a file holds. What it lacks is nil.
type Checkpoint struct {
	Denoiser    model.Config
	Autoencoder model.Autoencoder
	// Text is the way of encoding prompts whose encoders are under Prefixes.
	Text     *model.Text
	Prefixes []string
}

// Detect tells what a checkpoint is. Parts may be left out: those that are there
// are complete, and belong together. The error of anything else says what was
// recognised, and which tensor is missing or does not fit.
func Detect(src nn.Tensors, metadata map[string]string) (*Checkpoint, error) {
	names := nn.Names(src.Names())
	if err := other(names); err != nil {
		return nil, err
	}
	c := &Checkpoint{}
	if err := c.text(names); err != nil {
		return nil, err
	}
	var err error
	if c.Denoiser, err = denoiser(src, names, metadata); err != nil {
		return nil, err
	}
	if c.Autoencoder, err = autoencoder(src, names, metadata); err != nil {
		return nil, fmt.Errorf("%s: %w", c.family(), err)
	}
	if c.Denoiser == nil && c.Text == nil {
		return nil, unknown(names)
	}
	return c, c.consistent()
}

// consistent checks that the parts belong together.
func (c *Checkpoint) consistent() error {
	if c.Denoiser == nil {
		return nil
	}
	if c.Text != nil && !slices.Contains(c.Denoiser.Text(), c.Text) {
		return fmt.Errorf("%s: the denoiser and the text encoders, which are those of %s, do not belong together", c.Denoiser.Family(), c.Text.Name)
	}
	if c.Autoencoder == nil {
		return nil
	}
	if has, reads := c.Autoencoder.Latent().Channels, c.Denoiser.Latent().Channels; has != reads {
		return fmt.Errorf("%s: the autoencoder has latents of %d channels (%sdecoder.conv_in.weight) and the denoiser reads %d (%s...)",
			c.Denoiser.Family(), has, model.AutoencoderPrefix, reads, model.DenoiserPrefix)
	}
	return nil
}

// family is the name of what the checkpoint is.
func (c *Checkpoint) family() string {
	switch {
	case c.Denoiser != nil:
		return c.Denoiser.Family()
	case c.Text != nil:
		return c.Text.Name
	}
	return "checkpoint"
}

// Describe says what the checkpoint is, for people.
func (c *Checkpoint) Describe() string {
	what := []string{c.family()}
	if c.Denoiser != nil {
		what = append(what, c.Denoiser.Describe())
	} else {
		what = append(what, "no UNet")
	}
	if c.Text == nil && c.Autoencoder != nil {
		what = append(what, "no text encoders")
	}
	if c.Text != nil && c.Autoencoder == nil {
		what = append(what, "no autoencoder")
	}
	return strings.Join(what, ", ")
}

// Denoiser tells what a denoiser is that has its weights under
// model.DenoiserPrefix, with or without other parts, which do not count.
func Denoiser(src nn.Tensors, metadata map[string]string) (model.Config, error) {
	names := nn.Names(src.Names())
	if err := other(names); err != nil {
		return nil, err
	}
	c, err := denoiser(src, names, metadata)
	if c == nil && err == nil {
		err = unknown(names)
	}
	return c, err
}

func denoiser(src nn.Tensors, names nn.Names, metadata map[string]string) (model.Config, error) {
	for _, f := range All {
		if has(names, model.DenoiserPrefix, f.Names) {
			if c, err := f.Match(src, metadata); c != nil || err != nil {
				return c, err
			}
		}
	}
	if under := names.Under(model.DenoiserPrefix); len(under) > 0 {
		return nil, fmt.Errorf("not a denoiser that is known: its tensors begin with %s", nn.Names(under).Beginnings(8))
	}
	return nil, nil
}

// Autoencoder tells what an autoencoder is that has its weights under
// model.AutoencoderPrefix.
func Autoencoder(src nn.Tensors, metadata map[string]string) (model.Autoencoder, error) {
	names := nn.Names(src.Names())
	a, err := autoencoder(src, names, metadata)
	if a == nil && err == nil {
		err = fmt.Errorf("no autoencoder that is known: there are no tensors %sdecoder...; its tensors begin with %s", model.AutoencoderPrefix, names.Beginnings(8))
	}
	return a, err
}

func autoencoder(src nn.Tensors, names nn.Names, metadata map[string]string) (model.Autoencoder, error) {
	if !names.Has(model.AutoencoderPrefix) {
		return nil, nil
	}
	for _, f := range Autoencoders {
		if a, err := f.Match(src, metadata); a != nil || err != nil {
			return a, err
		}
	}
	return nil, nil
}

// TextEncoder tells what the text encoder of a file is, and the prefix that its
// weights have. Without any it returns nil and no error.
func TextEncoder(src nn.Tensors, metadata map[string]string) (e model.Encoder, prefix string, err error) {
	names := nn.Names(src.Names())
	for _, known := range []bool{true, false} {
		for _, t := range Texts {
			for _, slot := range t.Slots {
				prefixes := slot.Names.Prefixes(names)
				if known {
					prefixes = slices.DeleteFunc(slices.Clone(slot.Prefixes), func(p string) bool { return !names.Has(p) })
				}
				for _, p := range prefixes {
					found, why := slot.Match(src, p, metadata)
					if why == nil {
						return found, p, nil
					}
					if err == nil {
						prefix, err = p, why
					}
				}
			}
		}
		if err != nil {
			return nil, prefix, err
		}
	}
	return nil, "", nil
}

// AllNames returns how the networks of all families are found in files.
func AllNames() (all []model.Names) {
	for _, n := range Networks() {
		all = append(all, n.Names)
	}
	for _, t := range Texts {
		for _, slot := range t.Slots {
			all = append(all, *slot.Names)
		}
	}
	return all
}

// has reports whether a network's marks are under a prefix.
func has(names nn.Names, prefix string, network model.Names) bool {
	return slices.ContainsFunc(network.Marks, func(mark string) bool { return names.Has(prefix + mark) })
}

// text finds the text encoders: those of the way with the most encoders that is
// there whole.
func (c *Checkpoint) text(names nn.Names) error {
	there := func(prefix string) bool {
		return slices.ContainsFunc(names.Under(prefix), func(name string) bool { return !strings.HasSuffix(name, "position_ids") })
	}
	var partial error
	var found []string
	for _, t := range Texts {
		for i := range t.Slots[0].Prefixes {
			var has, lacks []string
			for _, slot := range t.Slots {
				if prefix := slot.Prefixes[i]; there(prefix) {
					has = append(has, prefix)
				} else {
					lacks = append(lacks, prefix)
				}
			}
			switch {
			case len(has) == 0:
			case len(lacks) == 0 && len(has) > len(c.Prefixes):
				c.Text, c.Prefixes = t, has
			case len(lacks) > 0:
				found = append(found, has...)
				if partial == nil {
					partial = fmt.Errorf("%s: the checkpoint has one of the text encoders, %s..., and not the other, %s...; load all with DualCLIPLoader", t.Name, has[0], lacks[0])
				}
			}
		}
	}
	if slices.ContainsFunc(found, func(prefix string) bool { return !slices.Contains(c.Prefixes, prefix) }) {
		return partial
	}
	return nil
}

// unknown is the error of a file without denoiser and text encoders.
func unknown(names nn.Names) error {
	switch {
	case len(names) == 0:
		return errors.New("not a checkpoint that is known: there are no tensors")
	case names.Has(model.AutoencoderPrefix + "decoder."), names.Has("decoder.conv_in."):
		return errors.New("this is an autoencoder alone: put it in the folder vae and load it with VAELoader")
	}
	var known []string
	for _, f := range All {
		known = append(known, fmt.Sprintf("%s%s.. (%s)", model.DenoiserPrefix, f.Names.Marks[0], f.Name))
	}
	return fmt.Errorf("not a checkpoint that is known: there is no tensor %s; its tensors begin with %s", fault.List(known, 10), names.Beginnings(8))
}

// others are models that are not supported, by the beginning of the name of a
// tensor that each has, which may have the prefix of a checkpoint's denoiser.
var others = []model.Relative{
	{Name: "cond_stage_model.model.", What: "a checkpoint of Stable Diffusion 2.x, which is not supported yet: only 1.x and SDXL are"},
	{Name: "edm_mean", What: "a checkpoint of Playground 2.5 (EDM), which is not supported yet"},
	{Name: "edm_vpred.", What: "a checkpoint of SDXL for EDM's velocities (edm_vpred), which is not supported yet"},
	{Name: "transformer_blocks.0.attn.", What: "a diffusion transformer as diffusers has it, which is not supported yet: use the file in the original names, as ComfyUI has it"},
	{Name: "all_x_embedder.", What: "Z-Image as diffusers has it, which is not supported yet: use the file in the original names, as ComfyUI has it"},
	{Name: "blocks.0.self_attn.", What: "a model of Wan, which is not supported yet"},
	{Name: "control_model.", What: "a ControlNet, which is not supported yet"},
	{Name: "input_hint_block.", What: "a ControlNet, which is not supported yet"},
	{Name: "controlnet_cond_embedding.", What: "a ControlNet, which is not supported yet"},
}

// other recognises models that are not supported.
func other(names nn.Names) error {
	return model.Refuse(names, others, "", model.DenoiserPrefix)
}
