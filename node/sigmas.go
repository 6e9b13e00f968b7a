package node

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// levels registers a node whose outputs are noise levels, and checks them.
func levels(reg *workflow.Registry, s workflow.Schema, run func(c *workflow.Call) ([]diffusion.Sigmas, error)) {
	if s.Outputs == nil {
		s.Outputs = workflow.Outputs(workflow.TypeSigmas)
	}
	s.Run = func(_ context.Context, c *workflow.Call) ([]any, error) {
		all, err := run(c)
		if err != nil {
			return nil, err
		}
		var out []any
		for _, sigmas := range all {
			if err := sigmas.Check(); err != nil {
				return nil, err
			}
			out = append(out, sigmas)
		}
		return out, nil
	}
	reg.Register(s)
}

// registerSigmas registers the nodes that change noise levels.
func registerSigmas(reg *workflow.Registry, _ *Env) {
	sigmas := workflow.Link("sigmas", workflow.TypeSigmas)
	register := func(class, about string, outputs []string, inputs []workflow.Input, run func(c *workflow.Call, in diffusion.Sigmas) ([]diffusion.Sigmas, error)) {
		s := workflow.Schema{Class: class, Category: "model/sampling/sigmas", Description: about, Inputs: inputs}
		for _, name := range outputs {
			s.Outputs = append(s.Outputs, workflow.Output{Type: workflow.TypeSigmas, Name: name})
		}
		levels(reg, s, func(c *workflow.Call) ([]diffusion.Sigmas, error) {
			in, err := Input[diffusion.Sigmas](c, "sigmas")
			if err != nil {
				return nil, err
			}
			return run(c, in)
		})
	}
	two := []string{"high_sigmas", "low_sigmas"}
	register("SplitSigmas", "Cuts noise levels at a step, whose level is in both parts.", two,
		[]workflow.Input{sigmas, workflow.Int("step", 0, 0, 10000)},
		func(c *workflow.Call, in diffusion.Sigmas) ([]diffusion.Sigmas, error) {
			high, low := in.Split(c.Int("step"))
			return []diffusion.Sigmas{high, low}, nil
		})
	register("SplitSigmasDenoise", "Cuts off the noise levels of the last part of the steps.", two,
		[]workflow.Input{sigmas, workflow.Float("denoise", 1, 0, 1, 0.01)},
		func(c *workflow.Call, in diffusion.Sigmas) ([]diffusion.Sigmas, error) {
			high, low := in.SplitDenoise(c.Float("denoise"))
			return []diffusion.Sigmas{high, low}, nil
		})
	register("FlipSigmas", "Turns the order of noise levels around, so that a sampler puts noise on.", nil,
		[]workflow.Input{sigmas},
		func(_ *workflow.Call, in diffusion.Sigmas) ([]diffusion.Sigmas, error) {
			return []diffusion.Sigmas{in.Flipped()}, nil
		})
	register("SetFirstSigma", "Changes the noise level that sampling begins with.", nil,
		[]workflow.Input{sigmas, workflow.Float("sigma", 136, 0, 20000, 0.001)},
		func(c *workflow.Call, in diffusion.Sigmas) ([]diffusion.Sigmas, error) {
			if len(in) == 0 {
				return nil, fmt.Errorf("input sigmas: there is no noise level to change")
			}
			out := slices.Clone(in)
			out[0] = float64(float32(c.Float("sigma")))
			return []diffusion.Sigmas{out}, nil
		})
	register("ExtendIntermediateSigmas", "Puts more noise levels between those in a range.", nil,
		[]workflow.Input{
			sigmas, workflow.Int("steps", 2, 1, 100), workflow.Float("start_at_sigma", -1, -1, 20000, 0.01),
			workflow.Float("end_at_sigma", 12, 0, 20000, 0.01), workflow.Combo("spacing", "linear", "cosine", "sine"),
		},
		func(c *workflow.Call, in diffusion.Sigmas) ([]diffusion.Sigmas, error) {
			place := map[string]func(float64) float64{
				"linear": func(x float64) float64 { return x },
				"cosine": func(x float64) float64 { return math.Sin(x * math.Pi / 2) },
				"sine":   func(x float64) float64 { return 1 - math.Cos(x*math.Pi/2) },
			}[c.String("spacing")]
			high := c.Float("start_at_sigma")
			if high < 0 {
				high = math.Inf(1)
			}
			out, err := in.Extended(c.Int("steps"), c.Float("end_at_sigma"), high, place)
			return []diffusion.Sigmas{out}, err
		})
	number := regexp.MustCompile(`[-+]?(?:\d*\.*\d+)`)
	levels(reg, workflow.Schema{
		Class: "ManualSigmas", Category: "model/sampling/sigmas", Description: "Takes noise levels from a text of numbers.",
		Inputs: []workflow.Input{workflow.String("sigmas", "1, 0.5")},
	}, func(c *workflow.Call) ([]diffusion.Sigmas, error) {
		out := diffusion.Sigmas{}
		for _, text := range number.FindAllString(c.String("sigmas"), -1) {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("input sigmas: %q is no number", text)
			}
			out = append(out, float64(float32(v)))
		}
		return []diffusion.Sigmas{out}, nil
	})
	reg.Register(workflow.Schema{
		Class: "SamplingPercentToSigma", Category: "model/sampling/sigmas", Description: "Says which noise level a model has after a part of the sampling.",
		Inputs: []workflow.Input{
			workflow.Link("model", workflow.TypeModel), workflow.Float("sampling_percent", 0, 0, 1, 0.0001),
			workflow.Bool("return_actual_sigma", false).Tip("At 0 and 1, the ends of the model's levels and not what is before and after all."),
		},
		Outputs: []workflow.Output{{Type: workflow.TypeFloat, Name: "sigma_value"}},
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			model, err := Input[*pipeline.Model](c, "model")
			if err != nil {
				return nil, err
			}
			p, part := diffusion.NewProcess(model.Process()), c.Float("sampling_percent")
			switch {
			case c.Bool("return_actual_sigma") && part == 0:
				return []any{p.Max()}, nil
			case c.Bool("return_actual_sigma") && part == 1:
				return []any{p.Min()}, nil
			}
			return []any{p.At(part)}, nil
		},
	})
}
