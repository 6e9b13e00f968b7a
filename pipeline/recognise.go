package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// Recognise tells the kind of a model file, which is checkpoint, unet, vae, text
// encoder, upscaler or lora, and describes it. Of others the kind is unknown and what
// says why: what is missing, or the format that is not supported. It reads
// headers alone, and as the engine does when it opens the file.
func Recognise(set *weights.Set) (kind, what string) {
	if what := lora.Describe(loraTensors{set}); what != "" {
		return "lora", what
	}
	plain, err := unpacked(context.Background(), set)
	if err != nil {
		return "unknown", strings.Join(append(parts(set), err.Error()), ": ")
	}
	set = plain
	if c, err := esrgan.Detect(source{part{set: set}}); err == nil {
		return "upscaler", c.Describe()
	}
	kind, what, err = recognise(set)
	if err != nil {
		return "unknown", err.Error()
	}
	return kind, what
}

func recognise(set *weights.Set) (kind, what string, err error) {
	set, l, err := arrange(set)
	if err != nil {
		return "", "", err
	}
	src := source{part{set: set, layout: l}}
	unet, vae := set.HasPrefix(sd.UNetPrefix), set.HasPrefix(sd.VAEPrefix)
	text := slices.IndexFunc(textPrefixes, set.HasPrefix)
	switch {
	case vae && !unet && text < 0:
		c, err := sd.DetectVAE(src, sd.VAEPrefix)
		return "vae", fmt.Sprintf("autoencoder of Stable Diffusion, latents of %d channels at 1/%d", c.Latent, c.Factor()), err
	case text >= 0 && !unet && !vae:
		c, err := clip.Detect(src, textPrefixes[text], set.Metadata())
		return "text encoder", describeCLIP(c), err
	}
	c, err := sd.Detect(src, set.Metadata())
	if err != nil {
		return "", "", err
	}
	audits, err := audit(c, src, set.Metadata())
	if err != nil {
		return "", "", err
	}
	if unused := unread(set, audits); len(unused) > 0 {
		c.Doubts = append(c.Doubts, fmt.Sprintf("nothing uses %d of the tensors: %s", len(unused), fault.List(unused, 5)))
	}
	what = strings.Join(append([]string{c.Describe()}, c.Doubts...), "; ")
	if !vae && text < 0 {
		return "unet", "a UNet alone: " + what, nil
	}
	return "checkpoint", what, nil
}

// parts tells which networks a file may have, by names alone.
func parts(set *weights.Set) []string {
	var all []string
	for _, k := range []kind{unetKind, textKind, vaeKind} {
		if len(k.prefixes(set.Names())) > 0 {
			all = append(all, k.what)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return []string{strings.Join(all, ", ")}
}

func describeCLIP(c clip.Config) string {
	name := "CLIP"
	if c.Activation == ir.GELU {
		name = "OpenCLIP"
	}
	return fmt.Sprintf("%s with %d layers of %d features, reads %d tokens at once", name, c.Layers, c.Width, c.Length)
}
