package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/redux"
	"github.com/weir-run/weir/weights"
)

// Recognise tells the kind of a model file, which is checkpoint, unet, vae, text
// encoder, clip vision, style model, upscaler or lora, and describes it. Of others
// the kind is unknown and what says why: what is missing, or the format that is not
// supported. It reads headers alone, and as the engine does when it opens the file.
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
	if kind, what = sees(set); kind != "" {
		return kind, what
	}
	kind, what, err = recognise(set)
	if err != nil {
		return "unknown", err.Error()
	}
	return kind, what + quantized(set)
}

// quantized tells how many layers are quantized in which formats.
func quantized(set *weights.Set) string {
	layers := map[string]int{}
	for _, name := range set.Names() {
		if ref, _ := set.Lookup(name); ref.Quant != nil {
			layers[ref.Quant.Format]++
		}
	}
	var formats []string
	for _, format := range slices.Sorted(maps.Keys(layers)) {
		formats = append(formats, fmt.Sprintf("%d %s", layers[format], format))
	}
	if formats == nil {
		return ""
	}
	return "; quantized layers: " + strings.Join(formats, ", ")
}

// sees recognises what conditions on pictures: an encoder of pictures without one
// of texts, or a style model.
func sees(set *weights.Set) (kind, what string) {
	src := source{part{set: set}}
	if c, err := redux.Detect(src); err == nil {
		return "style model", c.Describe()
	}
	c, err := clip.DetectVision(src, "")
	if err != nil || slices.ContainsFunc(otherHalf, set.HasPrefix) {
		return "", ""
	}
	return "clip vision", c.Describe()
}

func recognise(set *weights.Set) (kind, what string, err error) {
	set, l, err := arrange(set)
	if err != nil {
		return "", "", err
	}
	src := source{part{set: set, layout: l}}
	denoiser, vae := set.HasPrefix(model.DenoiserPrefix), set.HasPrefix(model.AutoencoderPrefix)
	text, _, textErr := families.TextEncoder(src, set.Metadata())
	switch {
	case vae && !denoiser && text == nil && textErr == nil:
		a, err := families.Autoencoder(src, set.Metadata())
		if err != nil {
			return "", "", err
		}
		return "vae", a.Describe(), nil
	case (text != nil || textErr != nil) && !denoiser && !vae:
		if textErr != nil {
			return "", "", textErr
		}
		return "text encoder", text.Describe(), nil
	}
	c, err := families.Detect(src, set.Metadata())
	if err != nil {
		return "", "", err
	}
	_, audits, err := audit(c, src, set.Metadata())
	if err != nil {
		return "", "", err
	}
	all := []string{c.Describe()}
	if c.Denoiser != nil {
		all = append(all, c.Denoiser.Doubts()...)
	}
	if unused := unread(set, audits); len(unused) > 0 {
		all = append(all, fmt.Sprintf("nothing uses %d of the tensors: %s", len(unused), fault.List(unused, 5)))
	}
	what = strings.Join(all, "; ")
	if !vae && text == nil && textErr == nil {
		return "unet", "a UNet alone: " + what, nil
	}
	return "checkpoint", what, nil
}

// parts tells which networks a file may have, by names alone.
func parts(set *weights.Set) []string {
	var all []string
	for _, n := range families.AllNames() {
		if len(n.Prefixes(set.Names())) > 0 && !slices.Contains(all, n.What) {
			all = append(all, n.What)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return []string{strings.Join(all, ", ")}
}
