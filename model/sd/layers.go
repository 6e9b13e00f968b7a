package sd

import (
	"fmt"
	"strings"

	"github.com/weir-run/weir/model"
)

// layers yields the layers of the UNet.
func (c UNetConfig) layers(yield func(model.Layer) bool) {
	more := true
	c.eachLayer(func(diffusers, original string) {
		if !more {
			return
		}
		l := model.Layer{Weight: original + ".weight", Own: original, Elsewhere: []string{diffusers}, Side: true,
			Text: strings.HasSuffix(original, "attn2.to_k") || strings.HasSuffix(original, "attn2.to_v")}
		// Processors have "to_out", without the place of the layer in a list.
		if short, ok := strings.CutSuffix(diffusers, ".to_out.0"); ok {
			l.Elsewhere = append(l.Elsewhere, short+".to_out")
		}
		more = yield(l)
	})
}

// eachLayer calls f with the two names of every layer of a UNet that may have
// weights: that of diffusers, which counts blocks by resolution, and that of the
// original, which counts them through.
func (c UNetConfig) eachLayer(f func(diffusers, original string)) {
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
