package node

import (
	"context"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerText registers the nodes that encode prompts.
func registerText(reg *workflow.Registry, env *Env) {
	reg.Register(workflow.Schema{
		Class: "CLIPTextEncode", Name: "CLIP Text Encode (Prompt)", Category: "conditioning",
		Description: "Encodes a prompt. (word:1.2) weighs a word, embedding:name is a textual inversion embedding.",
		Inputs:      []workflow.Input{prompt(), workflow.Link("clip", workflow.TypeClip)},
		Outputs:     workflow.Outputs(workflow.TypeConditioning),
		Prepare:     preparing("clip", (*pipeline.CLIP).Prefetch),
		Changed:     env.embeddings("text"),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			return env.encode(ctx, c, c.String("text"))
		},
	})
	reg.Register(workflow.Schema{
		Class: "CLIPSetLastLayer", Name: "CLIP Set Last Layer", Category: "conditioning",
		Description: "Stops text encoders at an earlier layer, counted from the end (clip skip).",
		Inputs: []workflow.Input{
			workflow.Link("clip", workflow.TypeClip),
			stopAtLayer(),
		},
		Outputs: workflow.Outputs(workflow.TypeClip),
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			clip, err := Input[*pipeline.CLIP](c, "clip")
			if err != nil {
				return nil, err
			}
			return []any{clip.WithLastLayer(c.Int("stop_at_clip_layer"))}, nil
		},
	})
}

func prompt() workflow.Input { return choices(workflow.Text("text")) }

func stopAtLayer() workflow.Input {
	in := workflow.Int("stop_at_clip_layer", -1, -24, 0)
	in.Max = int64(-1)
	return in
}
