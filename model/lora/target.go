package lora

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
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
	weights    nn.Source
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

// unetPrefixes are put before the paths of a UNet's layers, in the order in
// which ComfyUI replaces one by the next when a file has several for one
// weight. "" is for files that hold a UNet alone.
var unetPrefixes = []string{"lora_unet_", "diffusion_model.", "model.diffusion_model.", "lycoris_unet_", "lycoris_", "transformer.", "", "unet."}

// textPrefixes are put before the paths of a text encoder's layers, in that
// order, for the first encoder of a model and the second.
var textPrefixes = [][]string{
	{"text_encoders.clip_l.transformer.", "text_encoders.clip_h.transformer.", "text_encoders.clip_l.", "clip_l.transformer.", "clip_l.",
		"cond_stage_model.transformer.", "conditioner.embedders.0.transformer.",
		"lora_te_", "lora_te1_", "lycoris_te_", "lycoris_te1_", "lycoris_", "te.", "te1.", "", "text_encoder_1.", "text_encoder."},
	{"text_encoders.clip_g.transformer.", "text_encoders.clip_g.", "clip_g.transformer.", "clip_g.",
		"lora_te2_", "lycoris_te2_", "te2.", "", "text_encoder_2."},
}

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

// ofText reports whether the name of a layer is that of a text encoder's.
func ofText(name string) bool {
	name = unwrap(name)
	for _, prefix := range slices.Concat(textPrefixes...) {
		if prefix != "" && prefix != "lycoris_" && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasPrefix(canonical(name), "text_model_")
}

// networks returns all that LoRAs can be put on.
func (b Base) networks() networks {
	var all networks
	if b.hasUNet() {
		all = append(all, b.unet())
	}
	for i, e := range b.Encoders[:min(len(b.Encoders), len(textPrefixes))] {
		all = append(all, b.text(i, e))
	}
	return all
}

func (b Base) unet() network {
	unet := network{unetPrefixes, table{}, table{}}
	eachUNetLayer(b.UNet, func(diffusers, original string) {
		to := target{weight: sd.UNetPrefix + original + ".weight", weights: b.Weights, side: true}
		unet.original.add(original, to)
		unet.common.add(diffusers, to)
		// Processors have "to_out", without the place of the layer in a list.
		if short, ok := strings.CutSuffix(diffusers, ".to_out.0"); ok {
			unet.common.add(short+".to_out", to)
		}
	})
	return unet
}

// text returns text encoder number i.
func (b Base) text(i int, e Encoder) network {
	src := e.Weights
	if src == nil {
		src = b.Weights
	}
	text := network{textPrefixes[i], table{}, table{}}
	add := func(m clip.Matrix, side bool) {
		to := target{weight: e.Prefix + m.Weight, from: m.From, rows: m.Rows, transposed: m.Transposed, weights: src, side: side}
		text.common.add(m.Name, to)
		// Early checkpoints, and some files of encoders alone, leave this out.
		if short, ok := strings.CutPrefix(m.Name, "text_model."); ok {
			text.common.add(short, to)
		}
	}
	for _, m := range e.Config.Matrices() {
		add(m, true)
	}
	for _, m := range e.Config.Others() {
		add(m, false)
	}
	return text
}

// eachUNetLayer calls f with the two names of every layer of a UNet that may
// have weights: that of diffusers, which counts blocks by resolution, and that
// of the original, which counts them through.
func eachUNetLayer(c sd.UNetConfig, f func(diffusers, original string)) {
	f("conv_in", "input_blocks.0.0")
	f("conv_norm_out", "out.0")
	f("conv_out", "out.2")
	for i, original := range []string{"0", "2"} {
		f(fmt.Sprintf("time_embedding.linear_%d", i+1), "time_embed."+original)
		f(fmt.Sprintf("add_embedding.linear_%d", i+1), "label_emb.0."+original)
		f(fmt.Sprintf("class_embedding.linear_%d", i+1), "label_emb.0."+original)
	}
	level, n := 0, 0
	for i, b := range c.Input {
		at := fmt.Sprintf("input_blocks.%d.", i)
		if b.Res {
			eachBlockLayer(fmt.Sprintf("down_blocks.%d.", level), at, n, b.Depth, f)
			n++
		} else if b.Resize {
			f(fmt.Sprintf("down_blocks.%d.downsamplers.0.conv", level), at+"0.op")
			level, n = level+1, 0
		}
	}
	eachResLayer("mid_block.resnets.0.", "middle_block.0.", f)
	last := "middle_block.1."
	if c.Middle > 0 {
		eachTransformerLayer("mid_block.attentions.0.", "middle_block.1.", c.Middle, f)
		last = "middle_block.2."
	}
	eachResLayer("mid_block.resnets.1.", last, f)
	level, n = 0, 0
	for i, b := range c.Output {
		at := fmt.Sprintf("output_blocks.%d.", i)
		eachBlockLayer(fmt.Sprintf("up_blocks.%d.", level), at, n, b.Depth, f)
		n++
		if b.Resize {
			resize := at + "1.conv"
			if b.Depth > 0 {
				resize = at + "2.conv"
			}
			f(fmt.Sprintf("up_blocks.%d.upsamplers.0.conv", level), resize)
			level, n = level+1, 0
		}
	}
}

// eachBlockLayer is a residual block, number n of its resolution, and its
// transformer.
func eachBlockLayer(diffusers, original string, n, depth int, f func(diffusers, original string)) {
	eachResLayer(fmt.Sprintf("%sresnets.%d.", diffusers, n), original+"0.", f)
	if depth > 0 {
		eachTransformerLayer(fmt.Sprintf("%sattentions.%d.", diffusers, n), original+"1.", depth, f)
	}
}

func eachResLayer(diffusers, original string, f func(diffusers, original string)) {
	f(diffusers+"norm1", original+"in_layers.0")
	f(diffusers+"conv1", original+"in_layers.2")
	f(diffusers+"time_emb_proj", original+"emb_layers.1")
	f(diffusers+"norm2", original+"out_layers.0")
	f(diffusers+"conv2", original+"out_layers.3")
	f(diffusers+"conv_shortcut", original+"skip_connection")
}

// eachTransformerLayer has the same names on both sides.
func eachTransformerLayer(diffusers, original string, depth int, f func(diffusers, original string)) {
	same := func(name string) { f(diffusers+name, original+name) }
	same("norm")
	same("proj_in")
	same("proj_out")
	for i := range depth {
		for _, name := range []string{"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0",
			"attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3"} {
			same(fmt.Sprintf("transformer_blocks.%d.%s", i, name))
		}
	}
}
