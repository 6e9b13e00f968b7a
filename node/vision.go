package node

import (
	"context"
	"slices"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerVision registers the nodes that condition on what a network sees in
// pictures.
func registerVision(reg *workflow.Registry, env *Env) {
	reg.Register(workflow.Schema{
		Class: "CLIPVisionLoader", Name: "Load CLIP Vision", Category: "loaders",
		Description: "Opens an encoder of pictures: CLIP's, OpenCLIP's or SigLIP's.",
		Inputs:      []workflow.Input{env.models("clip_name", "clip_vision")},
		Outputs:     workflow.Outputs(workflow.TypeClipVision),
		Changed:     env.changed("clip_name", "clip_vision"),
		Run:         opening(env, "clip_name", "clip_vision", (*pipeline.Engine).Vision),
	})
	reg.Register(workflow.Schema{
		Class: "CLIPVisionEncode", Name: "CLIP Vision Encode", Category: "conditioning",
		Description: "Encodes pictures, each resized to the square that the encoder reads.",
		Inputs: []workflow.Input{
			workflow.Link("clip_vision", workflow.TypeClipVision), workflow.Link("image", workflow.TypeImage),
			workflow.Combo("crop", "center", "none").Tip("Cut out the middle of a picture that is not square, or squeeze all of it."),
		},
		Outputs: workflow.Outputs(workflow.TypeClipVisionOutput),
		Prepare: preparing("clip_vision", (*pipeline.Vision).Prefetch),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			v, err := Input[*pipeline.Vision](c, "clip_vision")
			if err != nil {
				return nil, err
			}
			m, err := picturesOf(c, "image")
			if err != nil {
				return nil, err
			}
			if err := c.Need(ctx, v.Memory(m)); err != nil {
				return nil, err
			}
			c.Finishing()
			out, err := v.Encode(ctx, m, c.String("crop") == "center")
			return []any{out}, err
		},
	})
	registerStyle(reg, env)
}

// registerStyle registers the nodes of style models.
func registerStyle(reg *workflow.Registry, env *Env) {
	reg.Register(workflow.Schema{
		Class: "StyleModelLoader", Name: "Load Style Model", Category: "loaders",
		Description: "Opens a style model: FLUX.1 Redux.",
		Inputs:      []workflow.Input{env.models("style_model_name", "style_models")},
		Outputs:     workflow.Outputs(workflow.TypeStyleModel),
		Changed:     env.changed("style_model_name", "style_models"),
		Run:         opening(env, "style_model_name", "style_models", (*pipeline.Engine).Style),
	})
	reg.Register(workflow.Schema{
		Class: "StyleModelApply", Name: "Apply Style Model", Category: "conditioning/style_model",
		Description: "Puts what a style model makes of pictures behind the text.",
		Inputs: []workflow.Input{
			workflow.Link("conditioning", workflow.TypeConditioning), workflow.Link("style_model", workflow.TypeStyleModel), workflow.Link("clip_vision_output", workflow.TypeClipVisionOutput),
			workflow.Float("strength", 1, 0, 10, 0.001), workflow.Combo("strength_type", "multiply", "attn_bias"),
		},
		Outputs: workflow.Outputs(workflow.TypeConditioning),
		Run:     applyStyle,
	})
}

// applyStyle appends the tokens of pictures to each part of a conditioning.
func applyStyle(ctx context.Context, c *workflow.Call) ([]any, error) {
	conditioning, err := Input[Conditioning](c, "conditioning")
	if err != nil {
		return nil, err
	}
	style, err := Input[*pipeline.Style](c, "style_model")
	if err != nil {
		return nil, err
	}
	sight, err := Input[*pipeline.Sight](c, "clip_vision_output")
	if err != nil {
		return nil, err
	}
	strength := float32(c.Float("strength"))
	if c.String("strength_type") == "attn_bias" && strength != 1 {
		return nil, fault.New(fault.Workflow, "strength_type attn_bias is supported with strength 1 alone: set strength_type to multiply")
	}
	text, err := style.Text(ctx, sight)
	if err != nil {
		return nil, err
	}
	for i := range text.Embed {
		text.Embed[i] *= strength
	}
	out := slices.Clone(conditioning)
	for i := range out {
		if out[i].Width != text.Width {
			return nil, fault.New(fault.Workflow, "the style model makes text of %d features, and the prompt was encoded with %d: encode it with the text encoders of FLUX.1", text.Width, out[i].Width)
		}
		out[i].Embed = slices.Concat(out[i].Embed, text.Embed)
		out[i].Tokens += text.Tokens
	}
	return []any{out}, nil
}

// opening runs a node that opens a model by the name in an input.
func opening[T any](env *Env, input, models string, open func(*pipeline.Engine, context.Context, string) (T, error)) func(context.Context, *workflow.Call) ([]any, error) {
	return func(ctx context.Context, c *workflow.Call) ([]any, error) {
		path, err := env.find(c, input, models)
		if err != nil {
			return nil, err
		}
		m, err := open(env.Engine, ctx, path)
		return []any{m}, err
	}
}
