package flux

import (
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
)

// A modulation may be another one from token `from` on, unless rest is nil.
type modulation struct {
	dit.Modulation
	rest *modulation
	from int
}

// apply normalizes the tokens and scales and shifts them.
func (m modulation) apply(g *ir.Graph, x ir.Value) ir.Value {
	x = g.LayerNorm(x, ir.None, ir.None, dit.NormEps)
	return m.each(g, x, func(m modulation, x ir.Value) ir.Value { return m.Modulate(g, x) })
}

// gated multiplies what a layer gives by the gate.
func (m modulation) gated(g *ir.Graph, h ir.Value) ir.Value {
	return m.each(g, h, func(m modulation, h ir.Value) ir.Value { return m.Gated(g, h) })
}

// each calls f for the tokens of each modulation.
func (m modulation) each(g *ir.Graph, x ir.Value, f func(m modulation, x ir.Value) ir.Value) ir.Value {
	if m.rest == nil {
		return f(m, x)
	}
	end := g.Shape(x)[1]
	return g.Concat(1, f(m, g.Slice(x, 1, 0, m.from)), f(*m.rest, g.Slice(x, 1, m.from, end)))
}

// pair returns the modulations of two layers, of six parts.
func pair(parts []ir.Value) [2]modulation {
	return [2]modulation{modulationOf(parts[:3]), modulationOf(parts[3:])}
}

// modulationOf takes shift, scale and, if it is there, gate from parts.
func modulationOf(parts []ir.Value) modulation {
	return modulation{Modulation: dit.ModulationOf(parts)}
}

// conditions are what all modulations are made of, by kind.
type conditions struct {
	// vector is SiLU of the embedded conditions[batch,Width], of which FLUX.1's
	// blocks make modulations of their own.
	vector ir.Value
	// table has all modulations of Chroma[batch,modulations,Width].
	table ir.Value
	// shared are those that FLUX.2's blocks have in common.
	shared struct {
		picture, text [2]modulation
		single        modulation
	}
}

// condition embeds the timestep and what else the picture is conditioned on.
func (d *denoiser) condition(in model.Shape) {
	t := d.g.Input("t", dtype.F32, in.Batch)
	if d.c.Kind == Chroma {
		d.table = d.approximate(t, in)
		return
	}
	d.vector = d.embedded(t, in)
	if d.c.Kind != Flux2 {
		return
	}
	d.share(d.vector)
	if m, _ := variant(in.More); m == timestepZero {
		now := d.shared
		d.share(d.embedded(d.g.Affine(t, 0, 0), in))
		still := d.shared
		d.shared = now
		for i := range still.picture {
			d.shared.picture[i].rest, d.shared.picture[i].from = &still.picture[i], d.still
		}
		d.shared.single.rest, d.shared.single.from = &still.single, in.Tokens+d.still
	}
}

// embedded is SiLU of the sum of all conditions[batch,Width] at the timestep t.
func (d *denoiser) embedded(t ir.Value, in model.Shape) ir.Value {
	v := d.embed("time_in", d.g.Sinusoid(d.g.Affine(t, 1000, 0), sinusoid, 10000))
	if _, unguided := variant(in.More); d.c.Guidance && !unguided {
		guidance := d.g.Affine(d.g.Input("guidance", dtype.F32, in.Batch), 1000, 0)
		v = d.g.Add(v, d.embed("guidance_in", d.g.Sinusoid(guidance, sinusoid, 10000)))
	}
	if d.c.Vector > 0 {
		v = d.g.Add(v, d.embed("vector_in", d.g.Input("pooled", dtype.F32, in.Batch, d.c.Vector)))
	}
	return d.g.SiLU(v)
}

// share computes the modulations that all blocks of FLUX.2 have in common.
func (d *denoiser) share(v ir.Value) {
	d.shared.picture = pair(d.parts("double_stream_modulation_img.lin", v, 6))
	d.shared.text = pair(d.parts("double_stream_modulation_txt.lin", v, 6))
	d.shared.single = modulationOf(d.parts("single_stream_modulation.lin", v, 3))
}

// embed is two layers with an activation between them.
func (d *denoiser) embed(name string, x ir.Value) ir.Value {
	return d.linear(name+".out_layer", d.g.SiLU(d.linear(name+".in_layer", x, d.c.Width)), d.c.Width)
}

// parts applies a layer to v[batch,Width] and cuts what it gives into n parts
// [batch,1,Width].
func (d denoiser) parts(name string, v ir.Value, n int) []ir.Value {
	return dit.Parts(d.g, d.linear(name, v, n*d.c.Width), n)
}

// rows returns n rows of Chroma's table from a place on, each [batch,1,Width].
func (d denoiser) rows(from, n int) []ir.Value {
	parts := make([]ir.Value, n)
	for i := range parts {
		parts[i] = d.g.Slice(d.table, 1, from+i, from+i+1)
	}
	return parts
}

// doubleModulation returns the modulations of the attention and of the
// feed-forward of block i, for the picture and for the text.
func (d denoiser) doubleModulation(i int) (picture, text [2]modulation) {
	switch d.c.Kind {
	case Chroma:
		first := 3*d.c.Single + 6*i
		return pair(d.rows(first, 6)), pair(d.rows(first+6*d.c.Double, 6))
	case Flux2:
		return d.shared.picture, d.shared.text
	}
	return pair(d.parts("img_mod.lin", d.vector, 6)), pair(d.parts("txt_mod.lin", d.vector, 6))
}

// singleModulation returns the modulation of block i of one sequence.
func (d denoiser) singleModulation(i int) modulation {
	switch d.c.Kind {
	case Chroma:
		return modulationOf(d.rows(3*i, 3))
	case Flux2:
		return d.shared.single
	}
	return modulationOf(d.parts("modulation.lin", d.vector, 3))
}

// finalModulation returns that before the last layer.
func (d denoiser) finalModulation() modulation {
	if d.c.Kind == Chroma {
		return modulationOf(d.rows(modulations-2, 2))
	}
	return modulationOf(d.parts("final_layer.adaLN_modulation.1", d.vector, 2))
}

const (
	// modulations is the length of Chroma's table, whatever its blocks: first the
	// single blocks' shift, scale and gate, then those of the picture and of the
	// text in the double blocks, last the two of the last layer.
	modulations = 344
	// The features that Chroma embeds a number and the place in the table in.
	numberDim, indexDim = 16, 32
)

// approximate makes Chroma's table: a network learned to give what FLUX.1's many
// modulation layers give for a timestep and a guidance.
func (d denoiser) approximate(t ir.Value, in model.Shape) ir.Value {
	g := d.g
	number := func(v ir.Value) ir.Value {
		v = dit.PerToken(g, g.Sinusoid(g.Affine(v, 1000, 0), numberDim, 10000))
		return g.Expand(v, in.Batch, modulations, numberDim)
	}
	index := g.Sinusoid(g.Affine(g.Input("index", dtype.F32, modulations), 1000, 0), indexDim, 10000)
	index = g.Expand(g.Reshape(index, 1, modulations, indexDim), in.Batch, modulations, indexDim)
	d = d.at("distilled_guidance_layer.")
	x := g.Concat(2, number(t), number(g.Input("guidance", dtype.F32, in.Batch)), index)
	x = d.linear("in_proj", x, d.c.Approximator.Width)
	for i := range d.c.Approximator.Layers {
		h := d.s.RMSNormOf(fmt.Sprintf("norms.%d.%s", i, d.c.norm()), x, dit.TorchEps)
		layer := fmt.Sprintf("layers.%d.", i)
		h = g.SiLU(d.linear(layer+"in_layer", h, d.c.Approximator.Width))
		x = g.Add(x, d.linear(layer+"out_layer", h, d.c.Approximator.Width))
	}
	return d.linear("out_proj", x, d.c.Width)
}
