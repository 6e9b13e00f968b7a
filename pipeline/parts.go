package pipeline

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// UNet opens a denoiser that is a file of its own, whatever prefix its names
// have, or that of a checkpoint. It reads the header of the file alone.
func (e *Engine) UNet(ctx context.Context, path string) (*Model, error) {
	set, src, err := e.tensorsOf(ctx, path)
	if err != nil {
		return nil, err
	}
	m := &Model{}
	if m.config, err = sd.DetectUNet(src, set.Metadata()); err != nil {
		return nil, inFile(path, err)
	}
	doubt(path, m.config)
	set = accounted(path, set, []*nn.Audit{m.config.UNet.Check(src)}, otherParts(sd.UNetPrefix)...)
	m.part = part{engine: e, name: "UNet " + filepath.Base(path), set: set}
	m.base = lora.Base{Weights: source{m.part}, UNet: m.config.UNet}
	return m, nil
}

// CLIP opens the text encoders of a family from files of their own: CLIP-L, and
// of SDXL CLIP-L and OpenCLIP-G in either order. It reads the headers of the
// files alone.
func (e *Engine) CLIP(ctx context.Context, family sd.Family, paths ...string) (*CLIP, error) {
	prefixes := []string{sd.ClipLSD1}
	if family == sd.SDXL {
		prefixes = []string{sd.ClipLSDXL, sd.ClipG}
	}
	if len(paths) != len(prefixes) {
		return nil, fault.New(fault.Workflow, "%s has %d text encoders, found %d files", family, len(prefixes), len(paths))
	}
	var files []textFile
	for _, path := range paths {
		f, err := e.textFile(ctx, path)
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
			return nil, inFile(f.path, err)
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

// textFile opens a text encoder, which may be that of a checkpoint.
func (e *Engine) textFile(ctx context.Context, path string) (textFile, error) {
	file, src, err := e.tensorsOf(ctx, path)
	if err != nil {
		return textFile{}, err
	}
	prefix := ""
	if i := slices.IndexFunc(textPrefixes, file.HasPrefix); i >= 0 {
		prefix = textPrefixes[i]
	}
	config, err := clip.Detect(src, prefix, file.Metadata())
	if err != nil {
		return textFile{}, inFile(path, err)
	}
	file = accounted(path, file, []*nn.Audit{config.Check(src, prefix)}, otherParts(prefix)...)
	return textFile{path, file.Sub(prefix), config}, nil
}

// otherParts returns the prefixes of all parts of checkpoints but one.
func otherParts(prefix string) []string {
	all := append([]string{sd.UNetPrefix, sd.VAEPrefix}, textPrefixes...)
	return slices.DeleteFunc(all, func(p string) bool { return p == prefix })
}

// inOrder puts CLIP-L before OpenCLIP-G, which has names of its own or is the
// larger one, and refuses what cannot be a family's.
func inOrder(files []textFile) error {
	openCLIP := func(i int) bool { return files[i].config.Activation == ir.GELU }
	if len(files) == 1 {
		if openCLIP(0) {
			return fault.New(fault.Model, "%s: this is a text encoder of OpenCLIP, expected CLIP-L; SDXL's two are loaded with DualCLIPLoader", files[0].path)
		}
		return nil
	}
	a, b := files[0].config.Width, files[1].config.Width
	switch {
	case openCLIP(0) == openCLIP(1) && a == b:
		return fault.New(fault.Model, "%s and %s are text encoders of the same size, %d features: expected CLIP-L and OpenCLIP-G", files[0].path, files[1].path, a)
	case openCLIP(0) && !openCLIP(1), openCLIP(0) == openCLIP(1) && a > b:
		files[0], files[1] = files[1], files[0]
	}
	return nil
}
