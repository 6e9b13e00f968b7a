package synth

import "fmt"

// A unet is the configuration of a denoiser, with two residual blocks at each
// resolution on the way down and three on the way up.
type unet struct {
	channels int
	mult     []int // of channels, at each resolution
	depth    []int // of the transformers at each resolution
	middle   int   // depth of the one between the ways
	context  int   // features of the text
	vector   int   // features of the vector besides, 0 without
}

// unet adds a denoiser of latents of 4 channels.
func (l *list) unet(prefix string, c unet) {
	emb := 4 * c.channels
	l.linear(prefix+"time_embed.0", emb, c.channels)
	l.linear(prefix+"time_embed.2", emb, emb)
	if c.vector > 0 {
		l.linear(prefix+"label_emb.0.0", emb, c.vector)
		l.linear(prefix+"label_emb.0.2", emb, emb)
	}
	l.conv(prefix+"input_blocks.0.0", c.channels, 4, 3)
	skips := []int{c.channels}
	from := c.channels
	for level, mult := range c.mult {
		n := mult * c.channels
		for range 2 {
			l.stage(fmt.Sprintf("%sinput_blocks.%d.", prefix, len(skips)), c, n, from, c.depth[level])
			from = n
			skips = append(skips, n)
		}
		if level < len(c.mult)-1 {
			l.conv(fmt.Sprintf("%sinput_blocks.%d.0.op", prefix, len(skips)), n, n, 3)
			skips = append(skips, n)
		}
	}
	m := prefix + "middle_block."
	l.resBlock(m+"0.", from, from, emb)
	l.transformer(m+"1.", c, from, c.middle)
	l.resBlock(m+"2.", from, from, emb)
	for i, block := len(c.mult)-1, 0; i >= 0; i-- {
		n := c.mult[i] * c.channels
		for j := range 3 {
			p := fmt.Sprintf("%soutput_blocks.%d.", prefix, block)
			last := len(skips) - 1
			l.stage(p, c, n, from+skips[last], c.depth[i])
			if j == 2 && i > 0 {
				at := 1
				if c.depth[i] > 0 {
					at = 2
				}
				l.conv(fmt.Sprintf("%s%d.conv", p, at), n, n, 3)
			}
			from, skips = n, skips[:last]
			block++
		}
	}
	l.norm(prefix+"out.0", c.channels)
	l.conv(prefix+"out.2", 4, c.channels, 3)
}

// stage adds a residual block and its transformer.
func (l *list) stage(prefix string, c unet, n, from, depth int) {
	l.resBlock(prefix+"0.", n, from, 4*c.channels)
	if depth > 0 {
		l.transformer(prefix+"1.", c, n, depth)
	}
}

func (l *list) resBlock(prefix string, n, from, emb int) {
	l.norm(prefix+"in_layers.0", from)
	l.conv(prefix+"in_layers.2", n, from, 3)
	l.linear(prefix+"emb_layers.1", n, emb)
	l.norm(prefix+"out_layers.0", n)
	l.conv(prefix+"out_layers.3", n, n, 3)
	if n != from {
		l.conv(prefix+"skip_connection", n, from, 1)
	}
}

// transformer adds a transformer, whose ends are 1×1 convolutions in Stable
// Diffusion 1 and linear layers in SDXL.
func (l *list) transformer(prefix string, c unet, n, depth int) {
	end := func(name string) {
		if c.vector > 0 {
			l.linear(prefix+name, n, n)
		} else {
			l.conv(prefix+name, n, n, 1)
		}
	}
	l.norm(prefix+"norm", n)
	end("proj_in")
	for i := range depth {
		p := fmt.Sprintf("%stransformer_blocks.%d.", prefix, i)
		l.attention(p+"attn1.", n, n)
		l.linear(p+"ff.net.0.proj", 8*n, n) // the layer and its gate
		l.linear(p+"ff.net.2", n, 4*n)
		l.attention(p+"attn2.", n, c.context)
		for _, name := range []string{"norm1", "norm2", "norm3"} {
			l.norm(p+name, n)
		}
	}
	end("proj_out")
}

func (l *list) attention(prefix string, n, context int) {
	l.add(prefix+"to_q.weight", n, n)
	l.add(prefix+"to_k.weight", n, context)
	l.add(prefix+"to_v.weight", n, context)
	l.linear(prefix+"to_out.0", n, n)
}
