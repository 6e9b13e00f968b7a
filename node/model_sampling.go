package node

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/process"
	"github.com/weir-run/weir/workflow"
)

// registerModelSampling registers the nodes that say by hand which noise process a
// denoiser was trained with, where its file does not or is wrong.
func registerModelSampling(reg *workflow.Registry, _ *Env) {
	register := func(class, about string, run func(c *workflow.Call) (process.Process, error), inputs ...workflow.Input) {
		reg.Register(workflow.Schema{
			Class: class, Name: class, Category: "advanced/model", Description: about,
			Inputs:  append([]workflow.Input{workflow.Link("model", workflow.TypeModel)}, inputs...),
			Outputs: workflow.Outputs(workflow.TypeModel),
			Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
				model, err := Input[*pipeline.Model](c, "model")
				if err != nil {
					return nil, err
				}
				p, err := run(c)
				if err != nil {
					return nil, err
				}
				return []any{model.WithProcess(p)}, nil
			},
		})
	}
	register("ModelSamplingDiscrete", "Says what a denoiser predicts and whether its noise ends in pure noise.",
		func(c *workflow.Call) (process.Process, error) {
			return discrete(c.String("sampling"), c.Bool("zsnr")), nil
		}, workflow.Combo("sampling", "eps", "v_prediction", "lcm", "x0"), workflow.Bool("zsnr", false))
	flow := func(multiplier float64) func(c *workflow.Call) (process.Process, error) {
		return func(c *workflow.Call) (process.Process, error) {
			shift := c.Float("shift")
			if shift == 0 {
				return process.Process{}, fmt.Errorf("input shift: a shift of 0 leaves no noise: expected a number above 0")
			}
			return process.Rectified(shift, multiplier), nil
		}
	}
	shift := func(def float64) workflow.Input { return workflow.Float("shift", def, 0, 100, 0.01) }
	register("ModelSamplingSD3", "Shifts the noise levels of a flow that is told a thousand times the level, such as SD 3 and Wan.", flow(1000), shift(3))
	register("ModelSamplingAuraFlow", "Shifts the noise levels of a flow that is told the level, such as AuraFlow, Z-Image and Qwen-Image.", flow(1), shift(1.73))
	size := func(name string) workflow.Input { return workflow.Int(name, 1024, 16, maxResolution).By(8) }
	register("ModelSamplingFlux", "Shifts the noise levels of FLUX for a size of picture.",
		func(c *workflow.Call) (process.Process, error) {
			// The line through the shifts of 256 and 4096 tokens of 16×16 pixels.
			const few, many = 256, 4096
			base, top := c.Float("base_shift"), c.Float("max_shift")
			slope := (top - base) / (many - few)
			tokens := float64(c.Int("width")) * float64(c.Int("height")) / (8 * 8 * 2 * 2)
			return process.RectifiedExp(tokens*slope + (base - slope*few)), nil
		}, workflow.Float("max_shift", 1.15, 0, 100, 0.01), workflow.Float("base_shift", 0.5, 0, 100, 0.01), size("width"), size("height"))
	limits := func(high, low float64) []workflow.Input {
		return []workflow.Input{workflow.Float("sigma_max", high, 0, 1000, 0.001), workflow.Float("sigma_min", low, 0, 1000, 0.001)}
	}
	register("ModelSamplingContinuousEDM", "Says what a denoiser predicts that is told the logarithm of the level.",
		func(c *workflow.Call) (process.Process, error) {
			predictions := map[string]process.Prediction{"v_prediction": process.Velocity, "edm": process.Preconditioned, "eps": process.Epsilon}
			return continuous(c, process.ContinuousLog, predictions[c.String("sampling")])
		}, append([]workflow.Input{workflow.Combo("sampling", "v_prediction", "edm", "eps")}, limits(120, 0.002)...)...)
	register("ModelSamplingContinuousV", "Says that a denoiser predicts the velocity and is told the arc tangent of the level.",
		func(c *workflow.Call) (process.Process, error) {
			return continuous(c, process.ContinuousArc, process.Velocity)
		}, append([]workflow.Input{workflow.Combo("sampling", "v_prediction")}, limits(500, 0.03)...)...)
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

// continuous returns a process of all levels between two.
func continuous(c *workflow.Call, levels process.Levels, p process.Prediction) (process.Process, error) {
	low, high := c.Float("sigma_min"), c.Float("sigma_max")
	if low <= 0 || high <= low {
		return process.Process{}, fmt.Errorf("noise levels from sigma_min %g to sigma_max %g: expected numbers above 0, the second one larger", low, high)
	}
	return process.Process{Prediction: p, Levels: levels, Min: low, Max: high}, nil
}
