package node

import (
	"context"
	"fmt"
	"maps"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// A Guider is a GUIDER: a model and what it is told.
type Guider struct {
	Model *pipeline.Model
	// Prompts are what the model is told, by names for errors.
	Prompts []Prompt
	// By returns what guides the model by the prompts, in their order.
	By func(m diffusion.Model, prompts [][]diffusion.Cond) diffusion.Guider
}

// A Prompt is a conditioning by the name of its input.
type Prompt struct {
	Name string
	Conditioning
}

// Size returns the bytes of memory that the prompts hold.
func (g *Guider) Size() (n int64) {
	for _, p := range g.Prompts {
		n += p.Size()
	}
	return n
}

// registerGuiders registers the nodes that say how a model is guided.
func registerGuiders(reg *workflow.Registry, _ *Env) {
	register := func(class, name, about string, inputs []workflow.Input, run func(c *workflow.Call, m *pipeline.Model) (*Guider, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "model/sampling/guiders", Description: about,
			Inputs:  append([]workflow.Input{workflow.Link("model", workflow.TypeModel)}, inputs...),
			Outputs: workflow.Outputs(workflow.TypeGuider),
			Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
				m, err := Input[*pipeline.Model](c, "model")
				if err != nil {
					return nil, err
				}
				g, err := run(c, m)
				return []any{g}, err
			},
		})
	}
	prompt := func(name string) workflow.Input { return workflow.Link(name, workflow.TypeConditioning) }
	cfg := func(name string) workflow.Input { return workflow.Float(name, 8, 0, 100, 0.1) }
	register("BasicGuider", "Basic Guider", "Guides a model by one conditioning.", []workflow.Input{prompt("conditioning")},
		func(c *workflow.Call, m *pipeline.Model) (*Guider, error) {
			prompts, err := promptsOf(c, "conditioning")
			return &Guider{m, prompts, func(m diffusion.Model, p [][]diffusion.Cond) diffusion.Guider {
				return &diffusion.CFG{Model: m, Positive: p[0], Scale: 1}
			}}, err
		})
	register("CFGGuider", "CFG Guider", "Guides a model away from one conditioning through another.",
		[]workflow.Input{prompt("positive"), prompt("negative"), cfg("cfg")},
		func(c *workflow.Call, m *pipeline.Model) (*Guider, error) { return guidedBy(c, m, c.Float("cfg")) })
	register("DualCFGGuider", "Dual CFG Guider", "Guides a model by two conditionings, each with a scale of its own.",
		[]workflow.Input{
			prompt("cond1"), prompt("cond2"), prompt("negative"), cfg("cfg_conds"), cfg("cfg_cond2_negative"),
			workflow.Combo("style", "regular", "nested"),
		},
		func(c *workflow.Call, m *pipeline.Model) (*Guider, error) {
			prompts, err := promptsOf(c, "cond1", "cond2", "negative")
			first, second, nested := c.Float("cfg_conds"), c.Float("cfg_cond2_negative"), c.String("style") == "nested"
			return &Guider{m, prompts, func(m diffusion.Model, p [][]diffusion.Cond) diffusion.Guider {
				return &diffusion.DualCFG{Model: m, First: p[0], Second: p[1], Negative: p[2], Scale: first, SecondScale: second, Nested: nested}
			}}, err
		})
}

// guidedBy returns a model that is guided by the linked conditionings positive
// and negative.
func guidedBy(c *workflow.Call, model *pipeline.Model, scale float64) (*Guider, error) {
	prompts, err := promptsOf(c, "positive", "negative")
	if err != nil {
		return nil, err
	}
	return &Guider{Model: model, Prompts: prompts, By: func(m diffusion.Model, p [][]diffusion.Cond) diffusion.Guider {
		return &diffusion.CFG{Model: m, Positive: p[0], Negative: p[1], Scale: scale}
	}}, nil
}

// promptsOf returns linked conditionings.
func promptsOf(c *workflow.Call, names ...string) ([]Prompt, error) {
	var out []Prompt
	for _, name := range names {
		texts, err := Input[Conditioning](c, name)
		if err != nil {
			return nil, err
		}
		out = append(out, Prompt{name, texts})
	}
	return out, nil
}

// need returns the bytes that the prompts take for latents: each latent is given
// its texts.
func (g *Guider) need(l *Latent) int64 { return int64(l.Batch) * g.Size() }

// at returns the guider for latents.
func (g *Guider) at(ctx context.Context, l *Latent) (diffusion.Guider, error) {
	var prompts [][]diffusion.Cond
	for _, p := range g.Prompts {
		var conds []diffusion.Cond
		for _, part := range p.Conditioning {
			mask, err := l.maskAt(ctx, part.Mask)
			if err != nil {
				return nil, fmt.Errorf("input %s: %w", p.Name, err)
			}
			told, err := part.told(ctx, g.Model.Format(), l)
			if err != nil {
				return nil, fmt.Errorf("input %s: %w", p.Name, err)
			}
			if p.Name == "negative" {
				told.Numbers = maps.Clone(told.Numbers)
				if told.Numbers == nil {
					told.Numbers = map[string][]float32{}
				}
				told.Numbers[model.Negative] = []float32{1}
			}
			conds = append(conds, diffusion.Cond{Payload: told, Strength: float32(part.Strength), Mask: mask, Start: part.Start, End: part.End})
		}
		prompts = append(prompts, conds)
	}
	return g.By(g.Model.Sampling(), prompts), nil
}

// told returns what a model is told for latents, with those among the extras in
// its format.
func (c *Cond) told(ctx context.Context, format latent.Format, of *Latent) (*model.Cond, error) {
	out := c.Cond
	if len(c.Latents) == 0 {
		return &out, nil
	}
	out.Latents = map[string][]latent.Tensor{}
	for name, all := range c.Latents {
		for _, l := range all {
			if l.Batch != 1 {
				return nil, fmt.Errorf("a batch of %d pictures beside the text (%s): expected one at a time", l.Batch, name)
			}
			if l.Channels == format.Channels { // others are refused by the model, or not read
				l = format.In(l)
			}
			out.Latents[name] = append(out.Latents[name], l)
		}
		if name == model.Concat {
			var err error
			if out.Latents[name], err = c.besides(ctx, format, of); err != nil {
				return nil, err
			}
		}
	}
	return &out, nil
}
