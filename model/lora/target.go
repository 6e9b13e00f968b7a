package lora

import (
	"fmt"
	"strings"

	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/sd"
)

// A target is a weight of the base, or some of its rows.
type target struct {
	weight     string
	shape      ir.Shape
	from, rows int
}

// dims returns the outputs and inputs of a weight, or of the rows of it that
// are the target, and the dimensions of its kernel, none for 1×1.
func (t target) dims() (n, k int, kernel ir.Shape) {
	base := trim(t.shape)
	n, k, kernel = base[0], base[1], base[2:]
	if t.rows > 0 {
		n = t.rows
	}
	return n, k, kernel
}

// A table finds targets by the paths of layers within a network. Dots and
// underscores in a path are the same: kohya's trainer writes all as
// underscores.
type table map[string]target

// A network is a part of the base, with what LoRAs put before the paths of its
// layers.
type network struct {
	prefixes []string
	layers   table
}

type networks []network

// The prefixes of networks; "" is for files that hold a UNet alone.
var (
	unetPrefixes = []string{"lora_unet_", "lycoris_", "unet.", "diffusion_model.", "model.diffusion_model.", "base_model.model.unet.", "base_model.model.", ""}
	textPrefixes = [][]string{
		{"lora_te_", "lora_te1_", "text_encoder.", "text_encoders.clip_l.transformer."},
		{"lora_te2_", "text_encoder_2.", "text_encoders.clip_g.transformer."},
	}
)

// find returns the target of a layer as a LoRA calls it.
func (all networks) find(name string) (target, bool) {
	for _, n := range all {
		for _, prefix := range n.prefixes {
			path, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			if t, ok := n.layers[canonical(path)]; ok {
				return t, true
			}
		}
	}
	return target{}, false
}

// bias returns the bias that belongs to a weight, if there is one.
func (b Base) bias(t target) (target, bool) {
	stem, ok := strings.CutSuffix(t.weight, "weight")
	if !ok {
		return target{}, false
	}
	_, shape, ok := b.Weights.Lookup(stem + "bias")
	if !ok || len(shape) != 1 {
		return target{}, false
	}
	return target{stem + "bias", shape, t.from, t.rows}, true
}

// canonical returns a path with underscores alone. diffusers has called
// attention's layers after the processor that runs them.
func canonical(path string) string {
	path = strings.Replace(path, ".processor.", ".", 1)
	return strings.ReplaceAll(path, ".", "_")
}

// targets returns all that LoRAs can be put on.
func (b Base) targets() networks {
	add := func(t table, path string, to target) {
		if _, shape, ok := b.Weights.Lookup(to.weight); ok && len(shape) >= 2 {
			to.shape = shape
			t[canonical(path)] = to
		}
	}
	unet := table{}
	eachUNetLayer(b.UNet, func(diffusers, original string) {
		to := target{weight: sd.UNetPrefix + original + ".weight"}
		add(unet, diffusers, to)
		add(unet, original, to)
		// Processors have "to_out", without the place of the layer in a list.
		if short, ok := strings.CutSuffix(diffusers, ".to_out.0"); ok {
			add(unet, short+".to_out", to)
		}
	})
	all := networks{{unetPrefixes, unet}}
	for i, e := range b.Encoders[:min(len(b.Encoders), len(textPrefixes))] {
		text := table{}
		for _, m := range e.Config.Matrices() {
			add(text, m.Name, target{weight: e.Prefix + m.Weight, from: m.From, rows: m.Rows})
		}
		all = append(all, network{textPrefixes[i], text})
	}
	return all
}

// eachUNetLayer calls f with the two names of every layer of a UNet that may
// have a matrix: that of diffusers, which counts blocks by resolution, and that
// of the original, which counts them through.
func eachUNetLayer(c sd.UNetConfig, f func(diffusers, original string)) {
	f("conv_in", "input_blocks.0.0")
	f("conv_out", "out.2")
	for i, original := range []string{"0", "2"} {
		f(fmt.Sprintf("time_embedding.linear_%d", i+1), "time_embed."+original)
		f(fmt.Sprintf("add_embedding.linear_%d", i+1), "label_emb.0."+original)
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
	f(diffusers+"conv1", original+"in_layers.2")
	f(diffusers+"time_emb_proj", original+"emb_layers.1")
	f(diffusers+"conv2", original+"out_layers.3")
	f(diffusers+"conv_shortcut", original+"skip_connection")
}

// eachTransformerLayer has the same names on both sides.
func eachTransformerLayer(diffusers, original string, depth int, f func(diffusers, original string)) {
	same := func(name string) { f(diffusers+name, original+name) }
	same("proj_in")
	same("proj_out")
	for i := range depth {
		for _, name := range []string{"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0",
			"attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2"} {
			same(fmt.Sprintf("transformer_blocks.%d.%s", i, name))
		}
	}
}
