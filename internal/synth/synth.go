// Package synth makes checkpoints of full size with random weights: the names
// and shapes that the published configurations of Stable Diffusion 1.5 and
// SDXL lead to, in the order of the original networks.
package synth

import "fmt"

// A Tensor is a tensor of a checkpoint, without its bytes.
type Tensor struct {
	Name  string
	Shape []int
}

// Elements returns the number of elements.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

// SD15 returns the tensors of a checkpoint of Stable Diffusion 1.5: UNet,
// autoencoder and CLIP ViT-L.
func SD15() []Tensor {
	var l list
	l.unet("model.diffusion_model.", unet{
		channels: 320, mult: []int{1, 2, 4, 4}, depth: []int{1, 1, 1, 0}, middle: 1, context: 768,
	})
	l.vae("first_stage_model.")
	l.clip("cond_stage_model.transformer.text_model.")
	return l
}

// SDXL returns the tensors of a checkpoint of SDXL's base model: UNet,
// autoencoder, CLIP ViT-L and OpenCLIP ViT-bigG.
func SDXL() []Tensor {
	var l list
	l.unet("model.diffusion_model.", unet{
		channels: 320, mult: []int{1, 2, 4}, depth: []int{0, 2, 10}, middle: 10, context: 2048, vector: 1280 + 6*256,
	})
	l.vae("first_stage_model.")
	l.clip("conditioner.embedders.0.transformer.text_model.")
	l.openCLIP("conditioner.embedders.1.model.")
	return l
}

// SDXLRefiner returns the tensors of a checkpoint of SDXL's refiner: UNet,
// autoencoder and OpenCLIP ViT-bigG.
func SDXLRefiner() []Tensor {
	var l list
	l.unet("model.diffusion_model.", unet{
		channels: 384, mult: []int{1, 2, 4, 4}, depth: []int{0, 4, 4, 0}, middle: 4, context: 1280, vector: 1280 + 5*256,
	})
	l.vae("first_stage_model.")
	l.openCLIP("conditioner.embedders.0.model.")
	return l
}

// OpenCLIP returns the tensors of OpenCLIP's ViT-bigG text encoder alone.
func OpenCLIP() []Tensor {
	var l list
	l.openCLIP("")
	return l
}

// A list grows by layers.
type list []Tensor

func (l *list) add(name string, shape ...int) { *l = append(*l, Tensor{name, shape}) }

// linear adds a layer from k to n features.
func (l *list) linear(name string, n, k int) {
	l.add(name+".weight", n, k)
	l.add(name+".bias", n)
}

// conv adds a convolution from k to n channels of size×size pixels.
func (l *list) conv(name string, n, k, size int) {
	l.add(name+".weight", n, k, size, size)
	l.add(name+".bias", n)
}

func (l *list) norm(name string, n int) {
	l.add(name+".weight", n)
	l.add(name+".bias", n)
}

// vae adds the autoencoder that both models share: 4 channels at 1/8.
func (l *list) vae(prefix string) {
	widths := []int{128, 256, 512, 512}
	top := len(widths) - 1
	e := prefix + "encoder."
	l.conv(e+"conv_in", widths[0], 3, 3)
	from := widths[0]
	for level, n := range widths {
		for i := range 2 {
			l.vaeResnet(fmt.Sprintf("%sdown.%d.block.%d.", e, level, i), n, from)
			from = n
		}
		if level < top {
			l.conv(fmt.Sprintf("%sdown.%d.downsample.conv", e, level), n, n, 3)
		}
	}
	l.vaeMiddle(e, widths[top])
	l.norm(e+"norm_out", widths[top])
	l.conv(e+"conv_out", 8, widths[top], 3) // mean and logarithm of the variance

	d := prefix + "decoder."
	l.conv(d+"conv_in", widths[top], 4, 3)
	l.vaeMiddle(d, widths[top])
	for level, n := range widths { // run from the top, numbered from the bottom
		from := widths[min(level+1, top)]
		for i := range 3 {
			l.vaeResnet(fmt.Sprintf("%sup.%d.block.%d.", d, level, i), n, from)
			from = n
		}
		if level > 0 {
			l.conv(fmt.Sprintf("%sup.%d.upsample.conv", d, level), n, n, 3)
		}
	}
	l.norm(d+"norm_out", widths[0])
	l.conv(d+"conv_out", 3, widths[0], 3)
	l.conv(prefix+"quant_conv", 8, 8, 1)
	l.conv(prefix+"post_quant_conv", 4, 4, 1)
}

func (l *list) vaeMiddle(prefix string, n int) {
	l.vaeResnet(prefix+"mid.block_1.", n, n)
	l.norm(prefix+"mid.attn_1.norm", n)
	for _, name := range []string{"q", "k", "v", "proj_out"} {
		l.conv(prefix+"mid.attn_1."+name, n, n, 1)
	}
	l.vaeResnet(prefix+"mid.block_2.", n, n)
}

func (l *list) vaeResnet(prefix string, n, from int) {
	l.norm(prefix+"norm1", from)
	l.conv(prefix+"conv1", n, from, 3)
	l.norm(prefix+"norm2", n)
	l.conv(prefix+"conv2", n, n, 3)
	if n != from {
		l.conv(prefix+"nin_shortcut", n, from, 1)
	}
}

// clip adds the text encoder of CLIP ViT-L under transformers' names.
func (l *list) clip(prefix string) {
	const width, layers = 768, 12
	l.add(prefix+"embeddings.token_embedding.weight", 49408, width)
	l.add(prefix+"embeddings.position_embedding.weight", 77, width)
	for i := range layers {
		p := fmt.Sprintf("%sencoder.layers.%d.", prefix, i)
		for _, name := range []string{"k_proj", "v_proj", "q_proj", "out_proj"} {
			l.linear(p+"self_attn."+name, width, width)
		}
		l.norm(p+"layer_norm1", width)
		l.linear(p+"mlp.fc1", 4*width, width)
		l.linear(p+"mlp.fc2", width, 4*width)
		l.norm(p+"layer_norm2", width)
	}
	l.norm(prefix+"final_layer_norm", width)
}

// openCLIP adds the text encoder of OpenCLIP ViT-bigG.
func (l *list) openCLIP(prefix string) {
	const width, layers = 1280, 32
	l.add(prefix+"positional_embedding", 77, width)
	l.add(prefix+"text_projection", width, width)
	l.add(prefix + "logit_scale")
	for i := range layers {
		p := fmt.Sprintf("%stransformer.resblocks.%d.", prefix, i)
		l.norm(p+"ln_1", width)
		l.add(p+"attn.in_proj_weight", 3*width, width)
		l.add(p+"attn.in_proj_bias", 3*width)
		l.linear(p+"attn.out_proj", width, width)
		l.norm(p+"ln_2", width)
		l.linear(p+"mlp.c_fc", 4*width, width)
		l.linear(p+"mlp.c_proj", width, 4*width)
	}
	l.add(prefix+"token_embedding.weight", 49408, width)
	l.norm(prefix+"ln_final", width)
}
