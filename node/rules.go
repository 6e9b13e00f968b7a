package node

import (
	"context"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerRules registers the nodes that change how a model is guided.
func registerRules(reg *workflow.Registry, _ *Env) {
	register := func(class, name, category, about string, change func(c *workflow.Call, r diffusion.Rules) diffusion.Rules, inputs ...workflow.Input) {
		output := workflow.Output{Type: workflow.TypeModel, Name: "patched_model"}
		if category != "advanced/guidance" {
			output.Name = string(workflow.TypeModel)
		}
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: category, Description: about,
			Inputs:  append([]workflow.Input{workflow.Link("model", workflow.TypeModel)}, inputs...),
			Outputs: []workflow.Output{output},
			Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
				m, err := Input[*pipeline.Model](c, "model")
				if err != nil {
					return nil, err
				}
				return []any{m.WithRules(change(c, m.Rules()))}, nil
			},
		})
	}
	register("RescaleCFG", "", "model/patch", "Gives guided pictures the contrast that they have without guidance.",
		func(c *workflow.Call, r diffusion.Rules) diffusion.Rules {
			r.Combine = diffusion.Rescaled(c.Float("multiplier"))
			return r
		}, workflow.Float("multiplier", 0.7, 0, 1, 0.01))
	register("CFGNorm", "", "advanced/guidance", "Keeps guidance from making what is denoised larger.",
		func(c *workflow.Call, r diffusion.Rules) diffusion.Rules {
			if !c.Bool("pre_cfg") {
				return r.With(diffusion.Shortened(c.Float("strength")))
			}
			r.Combine = diffusion.EqualNoise(c.Float("strength"))
			return r
		}, workflow.Float("strength", 1, 0, 100, 0.01), workflow.Bool("pre_cfg", false).Opt().Tip("Gives the guided noise the length of the positive one, and makes it larger too."))
	register("CFGZeroStar", "", "advanced/guidance", "Scales what is denoised without the prompt before guidance leads away from it.",
		func(_ *workflow.Call, r diffusion.Rules) diffusion.Rules { return r.With(diffusion.ZeroStar) })
	register("DifferentialDiffusion", "Differential Diffusion", "experimental", "Has a noise mask say when a place begins to change.",
		func(c *workflow.Call, r diffusion.Rules) diffusion.Rules {
			r.Mask = diffusion.Gradual(c.Float("strength"))
			return r
		}, workflow.Float("strength", 1, 0, 1, 0.01).Opt())
}
