package node

import (
	"context"
	"maps"
	"slices"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/workflow"
)

// referenceMethods are the ways of placing reference pictures, by the numbers
// that model.ReferenceMethod has for them.
var referenceMethods = []string{"offset", "index", "uxo/uno", "index_timestep_zero"}

// registerExtras registers the nodes that tell a model something besides the text.
func registerExtras(reg *workflow.Registry, env *Env) {
	register := func(class, name, category, about string, inputs []workflow.Input, change func(ctx context.Context, c *workflow.Call, to *Cond) error) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: category, Description: about,
			Inputs:  append([]workflow.Input{workflow.Link("conditioning", workflow.TypeConditioning)}, inputs...),
			Outputs: workflow.Outputs(workflow.TypeConditioning),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				in, err := Input[Conditioning](c, "conditioning")
				if err != nil {
					return nil, err
				}
				out := slices.Clone(in)
				for i := range out {
					if err := change(ctx, c, &out[i]); err != nil {
						return nil, err
					}
				}
				return []any{out}, nil
			},
		})
	}
	const flux = "model/conditioning/flux"
	register("FluxGuidance", "", flux, "Sets the strength of guidance that a distilled model is told.",
		[]workflow.Input{workflow.Float("guidance", 3.5, 0, 100, 0.1)},
		func(_ context.Context, c *workflow.Call, to *Cond) error {
			to.number(model.Guidance, float32(c.Float("guidance")))
			return nil
		})
	register("FluxDisableGuidance", "", flux, "Takes the guidance out that a distilled model is told.", nil,
		func(_ context.Context, _ *workflow.Call, to *Cond) error {
			to.number(model.Guidance)
			return nil
		})
	register("FluxKontextMultiReferenceLatentMethod", "Edit Model Reference Method", flux, "Says where reference pictures are placed.",
		[]workflow.Input{workflow.Combo("reference_latents_method", referenceMethods...)},
		func(_ context.Context, c *workflow.Call, to *Cond) error {
			to.number(model.ReferenceMethod, float32(slices.Index(referenceMethods, c.String("reference_latents_method"))))
			return nil
		})
	register("ReferenceLatent", "", "model/conditioning", "Gives a model a picture that the new one follows.",
		[]workflow.Input{workflow.Link("latent", workflow.TypeLatent).Opt()},
		func(ctx context.Context, c *workflow.Call, to *Cond) error {
			if c.Value("latent") == nil {
				return nil
			}
			l, err := Input[*Latent](c, "latent")
			if err != nil {
				return err
			}
			if l.Empty {
				if err := c.Need(ctx, l.Bytes()); err != nil {
					return err
				}
			}
			to.latents(model.References, slices.Concat(to.Latents[model.References], []latent.Tensor{l.filled(env.Engine.Planning()).Tensor}))
			return nil
		})
	register("ConditioningZeroOut", "", "model/conditioning/transform", "Makes the text of a conditioning zeros.", nil,
		func(ctx context.Context, c *workflow.Call, to *Cond) error {
			if err := c.Need(ctx, 4*int64(len(to.Embed)+len(to.Pooled))); err != nil {
				return err
			}
			to.Embed = make([]float32, len(to.Embed))
			if to.Pooled != nil {
				to.Pooled = make([]float32, len(to.Pooled))
			}
			return nil
		})
}

// number sets an extra. The maps of conditionings that share it stay as they are.
func (c *Cond) number(name string, values ...float32) {
	numbers := maps.Clone(c.Numbers)
	if numbers == nil {
		numbers = map[string][]float32{}
	}
	numbers[name] = values
	c.Numbers = numbers
}

// latents sets an extra that is latents of an autoencoder.
func (c *Cond) latents(name string, l []latent.Tensor) {
	all := maps.Clone(c.Latents)
	if all == nil {
		all = map[string][]latent.Tensor{}
	}
	all[name] = l
	c.Latents = all
}
