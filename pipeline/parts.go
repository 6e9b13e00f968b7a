package pipeline

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
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
	if m.config, err = families.Denoiser(src, set.Metadata()); err != nil {
		return nil, inFile(path, err)
	}
	doubt(path, m.config)
	set = accounted(path, set, []*nn.Audit{m.config.Check(src)}, otherParts(model.DenoiserPrefix)...)
	m.part = part{engine: e, name: "UNet " + filepath.Base(path), set: set}
	m.base = lora.Base{Weights: source{m.part}, Denoiser: m.config}
	return m, nil
}

// CLIP opens text encoders that are files of their own, in any order. The kind is
// what the nodes that load them call it, such as "sdxl". It reads the headers of
// the files alone.
func (e *Engine) CLIP(ctx context.Context, kind string, paths ...string) (*CLIP, error) {
	texts := families.TextsOf(kind)
	if len(texts) == 0 {
		return nil, fault.New(fault.Workflow, "there are no text encoders of type %s, only %s", fault.Name(kind), fault.List(families.Types(0), 20))
	}
	var files []textFile
	for _, path := range paths {
		set, src, err := e.tensorsOf(ctx, path)
		if err != nil {
			return nil, err
		}
		files = append(files, textFile{path, set, src})
	}
	var first error
	for _, t := range texts {
		if len(files) != len(t.Slots) {
			first = cmp.Or(first, fault.New(fault.Workflow, "%s has %d text encoders, found %d files", t.Name, len(t.Slots), len(files)))
			continue
		}
		c, err := e.text(t, files)
		if err == nil {
			return c, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, first
}

// A textFile is a file with a text encoder.
type textFile struct {
	path string
	set  *weights.Set
	src  source
}

// A fit is a text encoder of a file as one of a slot, or why it is none.
type fit struct {
	file   textFile
	prefix string // that its names have in the file
	model.Encoder
	err error
}

// in recognises the file's text encoder as that of a slot.
func (f textFile) in(slot *model.Slot) fit {
	out := fit{file: f}
	found := slot.Names.Prefixes(f.set.Names())
	known := slices.IndexFunc(found, func(prefix string) bool { return slices.Contains(slot.Prefixes, prefix) })
	switch {
	case known >= 0:
		out.prefix = found[known]
	case len(found) > 0:
		out.prefix = found[0]
	}
	out.Encoder, out.err = slot.Match(f.src, out.prefix, f.set.Metadata())
	return out
}

// text opens the text encoders of a way of encoding prompts, one file for each.
func (e *Engine) text(t *model.Text, files []textFile) (*CLIP, error) {
	fits, err := assign(t, files)
	if err != nil {
		return nil, err
	}
	// One namespace for all, each under the prefix that it has in checkpoints.
	all := &weights.Set{}
	c := &CLIP{text: t}
	for i, f := range fits {
		set := accounted(f.file.path, f.file.set, []*nn.Audit{f.Check(f.file.src, f.prefix)}, otherParts(f.prefix)...)
		slot := &t.Slots[i]
		if err := all.Add(slot.Prefixes[0], set.Sub(f.prefix)); err != nil {
			return nil, err
		}
		c.encoders = append(c.encoders, newEncoder(slot, f.Encoder, slot.Prefixes[0]))
	}
	c.base.Weights = source{part{engine: e, set: all}}
	for i, text := range c.encoders {
		text.part = part{engine: e, name: text.slot.Name + " " + filepath.Base(fits[i].file.path), set: all}
		c.base.Encoders = append(c.base.Encoders, text.layers())
	}
	return c, nil
}

// assign finds which file is which text encoder. Of two that may be either, the
// smaller one comes first.
func assign(t *model.Text, files []textFile) ([]fit, error) {
	all := make([][]fit, len(t.Slots)) // by slot and file
	for i := range t.Slots {
		for _, f := range files {
			all[i] = append(all[i], f.in(&t.Slots[i]))
		}
	}
	var best []fit
	for _, order := range orders(len(files)) {
		fits := make([]fit, len(files))
		fit := true
		for slot, file := range order {
			fits[slot] = all[slot][file]
			fit = fit && fits[slot].err == nil
		}
		switch {
		case !fit:
		case best == nil:
			best = fits
		default:
			a, b, same := different(best, fits)
			if same {
				return nil, twice(t, a, b)
			}
			if a.Features() > b.Features() {
				best = fits
			}
		}
	}
	if best != nil {
		return best, nil
	}
	for file := range files {
		if !slices.ContainsFunc(all, func(slot []fit) bool { return slot[file].err == nil }) {
			return nil, inFile(files[file].path, all[0][file].err)
		}
	}
	var paths []string
	for _, slot := range all {
		for i, f := range slot {
			if f.err == nil && slices.ContainsFunc(slot[i+1:], func(g fit) bool { return g.err == nil && g.Features() == f.Features() }) {
				return nil, twice(t, f, slot[i+1])
			}
		}
	}
	for _, f := range files {
		paths = append(paths, f.path)
	}
	return nil, fault.New(fault.Model, "%s are not the text encoders of %s: expected %s", strings.Join(paths, " and "), t.Name, names(t))
}

// twice is the error of two files for one text encoder.
func twice(t *model.Text, a, b fit) error {
	return fault.New(fault.Model, "%s and %s are text encoders of the same size, %d features: expected %s", a.file.path, b.file.path, a.Features(), names(t))
}

// different returns what two orders of files have at the first place where they
// differ, and whether those are of the same size.
func different(x, y []fit) (a, b fit, same bool) {
	for i := range x {
		if a, b = x[i], y[i]; a.file.path != b.file.path {
			break
		}
	}
	return a, b, a.Features() == b.Features()
}

// names tells which text encoders there are.
func names(t *model.Text) string {
	var all []string
	for _, slot := range t.Slots {
		all = append(all, slot.Name)
	}
	return strings.Join(all, " and ")
}

// orders returns all orders of n things.
func orders(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, order := range orders(n - 1) {
		for at := n - 1; at >= 0; at-- {
			all = append(all, slices.Insert(slices.Clone(order), at, n-1))
		}
	}
	return all
}

// otherParts returns the prefixes of all parts of checkpoints but one.
func otherParts(prefix string) []string {
	all := append([]string{model.DenoiserPrefix, model.AutoencoderPrefix}, families.TextPrefixes()...)
	return slices.DeleteFunc(all, func(p string) bool { return p == prefix })
}
