package node

import (
	"context"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/process"
	"github.com/weir-run/weir/workflow"
)

// registerModelSampling registers the node that says by hand what a denoiser
// predicts, where its file does not or is wrong.
func registerModelSampling(reg *workflow.Registry, _ *Env) {
	reg.Register(workflow.Schema{
		Class: "ModelSamplingDiscrete", Name: "ModelSamplingDiscrete", Category: "advanced/model",
		Description: "Says what a denoiser predicts and whether its noise ends in pure noise.",
		Inputs: []workflow.Input{
			workflow.Link("model", workflow.TypeModel),
			workflow.Combo("sampling", "eps", "v_prediction", "lcm", "x0"),
			workflow.Bool("zsnr", false),
		},
		Outputs: workflow.Outputs(workflow.TypeModel),
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			model, err := Input[*pipeline.Model](c, "model")
			if err != nil {
				return nil, err
			}
			return []any{model.WithProcess(discrete(c.String("sampling"), c.Bool("zsnr")))}, nil
		},
	})
}

// discrete returns the process of a choice of ModelSamplingDiscrete.
func discrete(sampling string, zeroSNR bool) process.Process {
	switch sampling {
	case "v_prediction":
		return process.Discrete(process.Velocity, zeroSNR)
	case "x0":
		return process.Discrete(process.Original, zeroSNR)
	case "lcm":
		return process.Process{Prediction: process.Consistency, Levels: process.Distilled, ZeroSNR: zeroSNR}
	}
	return process.Discrete(process.Epsilon, zeroSNR)
}
