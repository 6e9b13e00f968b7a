package pipeline

import (
	"fmt"
	"path/filepath"

	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// UNet opens a denoiser that is a file of its own, with or without the prefix
// that it has in checkpoints. It reads the header of the file alone.
func (e *Engine) UNet(path string) (*Model, error) {
	set, err := e.open(path)
	if err != nil {
		return nil, err
	}
	if !set.HasPrefix(sd.UNetPrefix) {
		set = set.Under(sd.UNetPrefix)
	}
	m := &Model{part: part{engine: e, name: "UNet " + filepath.Base(path), set: set}}
	if m.config, err = sd.DetectUNet(source{m.part}, set.Metadata()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.base = lora.Base{Weights: source{m.part}, UNet: m.config.UNet}
	return m, nil
}

// CLIP opens the text encoders of a family from files of their own: CLIP-L, and
// of SDXL CLIP-L and OpenCLIP-G in either order. It reads the headers of the
// files alone.
func (e *Engine) CLIP(family sd.Family, paths ...string) (*CLIP, error) {
	prefixes := []string{sd.ClipLSD1}
	if family == sd.SDXL {
		prefixes = []string{sd.ClipLSDXL, sd.ClipG}
	}
	if len(paths) != len(prefixes) {
		return nil, fmt.Errorf("%s has %d text encoders, found %d files", family, len(prefixes), len(paths))
	}
	var files []textFile
	for _, path := range paths {
		f, err := e.textFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if err := inOrder(files); err != nil {
		return nil, err
	}
	// One namespace for all, each under the prefix that it has in checkpoints.
	all := &weights.Set{}
	for i, f := range files {
		if err := all.Add(prefixes[i], f.set); err != nil {
			return nil, err
		}
	}
	c := &CLIP{base: lora.Base{Weights: source{part{engine: e, set: all}}}}
	for i, f := range files {
		p := part{engine: e, name: textNames[i] + " " + filepath.Base(f.path), set: all}
		text, err := newEncoder(p, f.set.Metadata(), prefixes[i], family, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		c.encoders = append(c.encoders, text)
		c.base.Encoders = append(c.base.Encoders, lora.Encoder{Prefix: text.prefix, Config: text.config})
	}
	return c, nil
}

// A textFile is a file with a text encoder.
type textFile struct {
	path   string
	set    *weights.Set // without the prefix that its names may have in the file
	config clip.Config
}

// textFile opens a text encoder, which may have the prefix of a checkpoint.
func (e *Engine) textFile(path string) (textFile, error) {
	file, err := e.open(path)
	if err != nil {
		return textFile{}, err
	}
	for _, prefix := range []string{sd.ClipLSD1, sd.ClipLSDXL, sd.ClipG, sd.ClipGConverted, ""} {
		if !file.HasPrefix(prefix) {
			continue
		}
		set := file.Sub(prefix)
		var config clip.Config
		if config, err = clip.Detect(source{part{set: set}}, "", set.Metadata()); err == nil {
			return textFile{path, set, config}, nil
		}
	}
	return textFile{}, fmt.Errorf("%s: not a text encoder of Stable Diffusion (CLIP): %w", path, err)
}

// inOrder puts CLIP-L before OpenCLIP-G, which has names of its own or is the
// larger one, and refuses what cannot be a family's.
func inOrder(files []textFile) error {
	openCLIP := func(i int) bool { return files[i].config.Activation == ir.GELU }
	if len(files) == 1 {
		if openCLIP(0) {
			return fmt.Errorf("%s: this is a text encoder of OpenCLIP, expected CLIP-L; SDXL's two are loaded with DualCLIPLoader", files[0].path)
		}
		return nil
	}
	a, b := files[0].config.Width, files[1].config.Width
	switch {
	case openCLIP(0) == openCLIP(1) && a == b:
		return fmt.Errorf("%s and %s are text encoders of the same size, %d features: expected CLIP-L and OpenCLIP-G", files[0].path, files[1].path, a)
	case openCLIP(0) && !openCLIP(1), openCLIP(0) == openCLIP(1) && a > b:
		files[0], files[1] = files[1], files[0]
	}
	return nil
}
