package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-run/weir/workflow"
)

// registerConditioning registers the nodes that work on encoded prompts.
func registerConditioning(reg *workflow.Registry, _ *Env) {
	link := func(name string) workflow.Input { return workflow.Link(name, workflow.TypeConditioning) }
	register := func(class, name, about string, inputs []workflow.Input, run func(c *workflow.Call) (Conditioning, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "conditioning", Description: about, Inputs: inputs,
			Outputs: workflow.Outputs(workflow.TypeConditioning),
			Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
				out, err := run(c)
				return []any{out}, err
			},
		})
	}
	register("ConditioningCombine", "Conditioning (Combine)", "Applies two conditionings side by side.",
		[]workflow.Input{link("conditioning_1"), link("conditioning_2")},
		func(c *workflow.Call) (Conditioning, error) {
			a, b, err := two(c, "conditioning_1", "conditioning_2")
			return slices.Concat(a, b), err
		})
	register("ConditioningConcat", "Conditioning (Concat)", "Puts one text behind another.",
		[]workflow.Input{link("conditioning_to"), link("conditioning_from")},
		func(c *workflow.Call) (Conditioning, error) {
			to, from, err := two(c, "conditioning_to", "conditioning_from")
			if err != nil {
				return nil, err
			}
			return each(to, from[0], concat)
		})
	register("ConditioningAverage", "ConditioningAverage", "Mixes two texts.",
		[]workflow.Input{link("conditioning_to"), link("conditioning_from"), workflow.Float("conditioning_to_strength", 1, 0, 1, 0.01)},
		func(c *workflow.Call) (Conditioning, error) {
			to, from, err := two(c, "conditioning_to", "conditioning_from")
			if err != nil {
				return nil, err
			}
			strength := float32(c.Float("conditioning_to_strength"))
			return each(to, from[0], func(a, b Cond) Cond { return average(a, b, strength) })
		})
	register("ConditioningSetTimestepRange", "ConditioningSetTimestepRange", "Limits a conditioning to a part of the sampling, from 0 (all noise) to 1 (none).",
		[]workflow.Input{link("conditioning"), workflow.Float("start", 0, 0, 1, 0.001), workflow.Float("end", 1, 0, 1, 0.001)},
		func(c *workflow.Call) (Conditioning, error) {
			in, err := Input[Conditioning](c, "conditioning")
			if err != nil {
				return nil, err
			}
			out := slices.Clone(in)
			for i := range out {
				out[i].Start, out[i].End = c.Float("start"), c.Float("end")
			}
			return out, nil
		})
}

// two returns two linked conditionings, neither of which is empty.
func two(c *workflow.Call, first, second string) (a, b Conditioning, err error) {
	if a, err = Input[Conditioning](c, first); err != nil {
		return nil, nil, err
	}
	if b, err = Input[Conditioning](c, second); err != nil {
		return nil, nil, err
	}
	if len(a) == 0 || len(b) == 0 {
		return nil, nil, errors.New("a conditioning without a part")
	}
	return a, b, nil
}

// each applies f to every part of a conditioning and a part of another, whose
// texts must come from text encoders of the same kind.
func each(to Conditioning, from Cond, f func(to, from Cond) Cond) (Conditioning, error) {
	out := make(Conditioning, len(to))
	for i, t := range to {
		if t.Width != from.Width {
			return nil, fmt.Errorf("texts of %d and of %d features come from different text encoders", t.Width, from.Width)
		}
		out[i] = f(t, from)
	}
	return out, nil
}

func concat(to, from Cond) Cond {
	to.Embed = slices.Concat(to.Embed, from.Embed)
	to.Tokens += from.Tokens
	return to
}

// average mixes from into to. A text that is shorter is continued by zeros,
// and one that is longer is cut.
func average(to, from Cond, strength float32) Cond {
	mixed := make([]float32, len(to.Embed))
	for i, v := range to.Embed {
		mixed[i] = v * strength
		if i < len(from.Embed) {
			mixed[i] += from.Embed[i] * (1 - strength)
		}
	}
	to.Embed = mixed
	switch {
	case to.Pooled == nil:
		to.Pooled = from.Pooled
	case len(from.Pooled) == len(to.Pooled):
		pooled := make([]float32, len(to.Pooled))
		for i, v := range to.Pooled {
			pooled[i] = v*strength + from.Pooled[i]*(1-strength)
		}
		to.Pooled = pooled
	}
	return to
}
