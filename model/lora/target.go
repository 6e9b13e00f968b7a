package lora

import (
	"iter"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// A target is a weight of the base, or some of its rows.
type target struct {
	weight     string
	dtype      dtype.DType
	shape      ir.Shape
	from, rows int
	// side says that a LoRA can be a side path of the weight's layer, as of linear
	// layers and convolutions.
	side bool
	// transposed says that the weight is stored with the layer's inputs as rows.
	transposed bool
	// text says that the layer's inputs are the features of the text.
	text    bool
	weights nn.Source
}

// dims returns the outputs and inputs of a weight, or of the rows of it that
// are the target, and the dimensions of its kernel, none for 1×1.
func (t target) dims() (n, k int, kernel ir.Shape) {
	base := trim(t.shape)
	n, k, kernel = base[0], base[1], base[2:]
	if t.rows > 0 {
		n = t.rows
	}
	if t.transposed {
		n, k = k, n
	}
	return n, k, kernel
}

// bias returns the bias that belongs to a weight, if there is one.
func (t target) bias() (target, bool) {
	stem, ok := strings.CutSuffix(t.weight, "weight")
	if !ok {
		return target{}, false
	}
	dt, shape, ok := t.weights.Lookup(stem + "bias")
	if !ok || len(shape) != 1 {
		return target{}, false
	}
	return target{weight: stem + "bias", dtype: dt, shape: shape, from: t.from, rows: t.rows, weights: t.weights}, true
}

// A table finds targets by the paths of layers within a network. Dots and
// underscores in a path are the same: kohya's trainer writes all as
// underscores.
type table map[string]target

// A network is a part of the base: its layers by the paths that it has for
// them in checkpoints, and by those of diffusers and transformers.
type network struct {
	prefixes         []string
	original, common table
}

type networks []network

// denoiserPrefixes are put before the paths of a denoiser's layers, in the order
// in which ComfyUI replaces one by the next when a file has several for one
// weight. "" is for files that hold a denoiser alone.
var denoiserPrefixes = []string{"lora_unet_", "diffusion_model.", "model.diffusion_model.", "lycoris_unet_", "lycoris_", "transformer.", "lora_transformer_", "", "unet."}

// wrappers are put before the names of modules by programs that wrap them: PEFT,
// torch.compile and data parallel training.
var wrappers = []string{"base_model.model.", "_orig_mod.", "module."}

// unwrap returns a name without wrappers.
func unwrap(name string) string {
	for {
		before := name
		for _, w := range wrappers {
			name = strings.TrimPrefix(name, w)
		}
		if name == before {
			return name
		}
	}
}

// A found target has the rank of the way it is called. A layer that is called
// in several ways is what the highest one says.
type found struct {
	target
	rank int
}

// find returns the targets that a LoRA may mean by the name of a layer.
func (all networks) find(name string) (targets []found) {
	name = unwrap(name)
	for _, n := range all {
		for i, prefix := range n.prefixes {
			path, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			path = canonical(unwrap(path))
			if t, ok := n.common.find(path); ok {
				targets = append(targets, found{t, len(n.prefixes) + i})
			} else if t, ok := n.original.find(path); ok {
				targets = append(targets, found{t, i})
			}
		}
	}
	return targets
}

// find returns the target of a path, which may be that of a bias.
func (t table) find(path string) (target, bool) {
	if to, ok := t[path]; ok {
		return to, true
	}
	if layer, ok := strings.CutSuffix(path, "_bias"); ok {
		if to, ok := t[layer]; ok {
			return to.bias()
		}
	}
	return target{}, false
}

// add adds a weight under a path, if the source has it.
func (t table) add(path string, to target) {
	dt, shape, ok := to.weights.Lookup(to.weight)
	if !ok || len(shape) == 0 || shape.Elems() == 0 {
		return
	}
	to.dtype, to.shape = dt, shape
	to.side = to.side && len(shape) >= 2
	t[canonical(path)] = to
}

// canonical returns a path with underscores alone. diffusers has called
// attention's layers after the processor that runs them.
func canonical(path string) string {
	path = strings.Replace(path, ".processor.", ".", 1)
	return strings.ReplaceAll(path, ".", "_")
}

// textMarks begin the names of layers of text encoders, in files of all families.
var textMarks = []string{"text_encoder", "clip_", "t5xxl", "cond_stage_model.", "conditioner.embedders.", "lora_te", "lycoris_te", "te.", "te1.", "te2."}

// ofText reports whether the name of a layer is that of a text encoder's.
func ofText(name string) bool {
	name = unwrap(name)
	return slices.ContainsFunc(textMarks, func(mark string) bool { return strings.HasPrefix(name, mark) }) ||
		strings.HasPrefix(canonical(name), "text_model_")
}

// networks returns all that LoRAs can be put on.
func (b Base) networks() networks {
	var all networks
	if b.Denoiser != nil {
		all = append(all, layersOf(b.Denoiser.Layers, denoiserPrefixes, model.DenoiserPrefix, b.Weights))
	}
	for _, e := range b.Encoders {
		src := e.Weights
		if src == nil {
			src = b.Weights
		}
		all = append(all, layersOf(e.Layers, e.Names, e.Prefix, src))
	}
	return all
}

// layersOf returns a network whose weights are under a prefix of a source, and
// whose layers have other prefixes in LoRA files.
func layersOf(layers iter.Seq[model.Layer], prefixes []string, at string, src nn.Source) network {
	n := network{prefixes, table{}, table{}}
	for l := range layers {
		to := target{weight: at + l.Weight, from: l.From, rows: l.Rows, transposed: l.Transposed, side: l.Side, text: l.Text, weights: src}
		if l.Own != "" {
			n.original.add(l.Own, to)
		}
		for _, name := range l.Elsewhere {
			n.common.add(name, to)
		}
	}
	return n
}
