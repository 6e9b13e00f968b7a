package sd

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// A renaming is a model.Renaming that is being made.
type renaming model.Renaming

func (r renaming) res(diffusers, original string) {
	for from, to := range map[string]string{
		"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
		"norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
	} {
		r[diffusers+from] = original + to
	}
}

// block is a residual block and its transformer.
func (r renaming) block(names nn.Names, diffusers string, i int, original string) (transformer bool) {
	r.res(fmt.Sprintf("%sresnets.%d.", diffusers, i), original+"0.")
	attention := fmt.Sprintf("%sattentions.%d", diffusers, i)
	r[attention] = original + "1"
	return names.Has(attention + ".")
}

// FromDiffusersUNet returns the original names of the layers of a UNet whose
// names, without prefixes, are diffusers'. Diffusers numbers blocks by
// resolution, the original numbers them through.
func FromDiffusersUNet(names nn.Names) (model.Renaming, error) {
	r := renaming{
		"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
		"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
		"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
		"mid_block.attentions.0": "middle_block.1",
	}
	r.res("mid_block.resnets.0.", "middle_block.0.")
	last := "middle_block.1."
	if names.Has("mid_block.attentions.0.") {
		last = "middle_block.2."
	}
	r.res("mid_block.resnets.1.", last)
	for _, way := range []struct{ diffusers, original, resize string }{
		{"down_blocks.", "input_blocks.", "downsamplers.0.conv"}, {"up_blocks.", "output_blocks.", "upsamplers.0.conv"},
	} {
		down := way.original == "input_blocks."
		next := 0
		if down {
			next = 1 // after conv_in
		}
		levels, err := names.Count(way.diffusers)
		if err != nil {
			return nil, err
		}
		for level := range levels {
			at := fmt.Sprintf("%s%d.", way.diffusers, level)
			blocks, err := names.Count(at + "resnets.")
			if err != nil {
				return nil, err
			}
			transformer := false
			for i := range blocks {
				transformer = r.block(names, at, i, fmt.Sprintf("%s%d.", way.original, next))
				next++
			}
			switch {
			case down: // a block of its own
				if level < levels-1 {
					r[at+way.resize] = fmt.Sprintf("%s%d.0.op", way.original, next)
					next++
				}
			case transformer: // behind that of the last block
				r[at+way.resize] = fmt.Sprintf("%s%d.2.conv", way.original, next-1)
			default:
				r[at+way.resize] = fmt.Sprintf("%s%d.1.conv", way.original, next-1)
			}
		}
	}
	return model.Renaming(r), nil
}

// FromDiffusersVAE returns the original names of the layers of an autoencoder
// whose names, without prefixes, are diffusers'. Diffusers numbers the
// resolutions of the decoder in the order that they run, the original from the
// picture's on.
func FromDiffusersVAE(names nn.Names) (model.Renaming, error) {
	r := renaming{"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
	for _, half := range []struct{ name, diffusers, original, resize, resized string }{
		{"encoder.", "down_blocks.", "down.", "downsamplers.0.conv", "downsample.conv"},
		{"decoder.", "up_blocks.", "up.", "upsamplers.0.conv", "upsample.conv"},
	} {
		for from, to := range map[string]string{"conv_in": "conv_in", "conv_norm_out": "norm_out", "conv_out": "conv_out"} {
			r[half.name+from] = half.name + to
		}
		for i := range 2 {
			r.vaeBlock(fmt.Sprintf("%smid_block.resnets.%d", half.name, i), fmt.Sprintf("%smid.block_%d", half.name, i+1))
		}
		attention := map[string]string{"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
		if names.Has(half.name + "mid_block.attentions.0.query.") { // of early versions
			attention = map[string]string{"group_norm": "norm", "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out"}
		}
		for from, to := range attention {
			r[half.name+"mid_block.attentions.0."+from] = half.name + "mid.attn_1." + to
		}
		levels, err := names.Count(half.name + half.diffusers)
		if err != nil {
			return nil, err
		}
		for level := range levels {
			at := fmt.Sprintf("%s%s%d.", half.name, half.diffusers, level)
			to := level
			if half.name == "decoder." {
				to = levels - 1 - level
			}
			original := fmt.Sprintf("%s%s%d.", half.name, half.original, to)
			blocks, err := names.Count(at + "resnets.")
			if err != nil {
				return nil, err
			}
			for i := range blocks {
				r.vaeBlock(fmt.Sprintf("%sresnets.%d", at, i), fmt.Sprintf("%sblock.%d", original, i))
			}
			r[at+half.resize] = original + half.resized
		}
	}
	return model.Renaming(r), nil
}

func (r renaming) vaeBlock(diffusers, original string) {
	r[diffusers] = original // the same names within
	r[diffusers+".conv_shortcut"] = original + ".nin_shortcut"
}
