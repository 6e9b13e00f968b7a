package flux

import (
	"fmt"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
)

// Layers yields the layers of the denoiser with their names in diffusers, which
// has queries, keys, values and the feed-forward of single blocks apart. Its
// norm_out has scale and shift the other way round and is left out. FLUX.1's names
// and FLUX.2's stand side by side where they do not contradict each other.
func (c *Config) Layers(yield func(model.Layer) bool) {
	dit.Layers(yield, func(add dit.Add) {
		c.ends(add)
		for i := range c.Double {
			c.doubleLayers(add, fmt.Sprintf("double_blocks.%d.", i), fmt.Sprintf("transformer_blocks.%d.", i))
		}
		for i := range c.Single {
			c.singleLayers(add, fmt.Sprintf("single_blocks.%d.", i), fmt.Sprintf("single_transformer_blocks.%d.", i))
		}
	})
}

// ends adds the layers before and after the blocks.
func (c *Config) ends(add dit.Add) {
	add.Layer("img_in", "x_embedder")
	add.Layer("txt_in", "context_embedder")
	add.Layer("final_layer.linear", "proj_out")
	if c.Kind == Chroma {
		const at = "distilled_guidance_layer."
		add.Layer(at + "in_proj")
		add.Layer(at + "out_proj")
		for i := range c.Approximator.Layers {
			layer := fmt.Sprintf("%slayers.%d.", at, i)
			add.Layer(layer+"in_layer", layer+"linear_1")
			add.Layer(layer+"out_layer", layer+"linear_2")
			c.normLayer(add, fmt.Sprintf("%snorms.%d", at, i))
		}
		return
	}
	add.Layer("final_layer.adaLN_modulation.1")
	if c.Kind == Flux2 {
		add.Layer("double_stream_modulation_img.lin", "double_stream_modulation_img.linear")
		add.Layer("double_stream_modulation_txt.lin", "double_stream_modulation_txt.linear")
		add.Layer("single_stream_modulation.lin", "single_stream_modulation.linear")
	}
	for _, e := range []struct {
		own, elsewhere string
		there          bool
	}{{"time_in.", "timestep_embedder.", true}, {"guidance_in.", "guidance_embedder.", c.Guidance}, {"vector_in.", "text_embedder.", c.Vector > 0}} {
		if e.there {
			for i, layer := range []string{"in_layer", "out_layer"} {
				name := fmt.Sprintf("%slinear_%d", e.elsewhere, i+1)
				add.Layer(e.own+layer, "time_text_embed."+name, "time_guidance_embed."+name)
			}
		}
	}
}

// doubleLayers adds those of a block with two streams.
func (c *Config) doubleLayers(add dit.Add, own, elsewhere string) {
	for _, stream := range []struct{ own, q, k, v, proj, norm, mlp, mod string }{
		{"img_", "to_q", "to_k", "to_v", "to_out.0", "norm_", "ff", "norm1.linear"},
		{"txt_", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "norm_added_", "ff_context", "norm1_context.linear"},
	} {
		at, attn := own+stream.own, elsewhere+"attn."
		add.Rows(at+"attn.qkv", c.Width, attn+stream.q, attn+stream.k, attn+stream.v)
		add.Layer(at+"attn.proj", attn+stream.proj)
		c.normLayer(add, at+"attn.norm.query_norm", attn+stream.norm+"q")
		c.normLayer(add, at+"attn.norm.key_norm", attn+stream.norm+"k")
		mlp := elsewhere + stream.mlp
		add.Layer(at+"mlp.0", mlp+".net.0.proj", mlp+".linear_in")
		add.Layer(at+"mlp.2", mlp+".net.2", mlp+".linear_out")
		if c.Kind == Flux1 {
			add.Layer(at+"mod.lin", elsewhere+stream.mod)
		}
	}
}

// singleLayers adds those of a block of one sequence.
func (c *Config) singleLayers(add dit.Add, own, elsewhere string) {
	attn := elsewhere + "attn."
	add.Layer(own+"linear1", attn+"to_qkv_mlp_proj")
	add.Layer(own+"linear2", elsewhere+"proj_out", attn+"to_out")
	for i, name := range []string{attn + "to_q", attn + "to_k", attn + "to_v"} {
		add.Part(own+"linear1", i*c.Width, c.Width, name)
	}
	add.Part(own+"linear1", 0, 3*c.Width, own+"linear1_qkv")
	if c.Kind != Flux2 {
		add.Part(own+"linear1", 3*c.Width, c.mlpIn(), elsewhere+"proj_mlp")
	}
	c.normLayer(add, own+"norm.query_norm", attn+"norm_q")
	c.normLayer(add, own+"norm.key_norm", attn+"norm_k")
	if c.Kind == Flux1 {
		add.Layer(own+"modulation.lin", elsewhere+"norm.linear")
	}
}

// normLayer adds a norm whose weight may be called scale.
func (c *Config) normLayer(add dit.Add, own string, elsewhere ...string) {
	add.NormOf(own, own+"."+c.norm(), elsewhere...)
}
