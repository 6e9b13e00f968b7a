package node

import (
	"context"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerLoaders registers the nodes that open models. They read headers
// alone: weights come from the file when a layer needs them.
func registerLoaders(reg *workflow.Registry, env *Env) {
	reg.Register(workflow.Schema{
		Class: "CheckpointLoaderSimple", Name: "Load Checkpoint", Category: "loaders",
		Description: "Opens a checkpoint: a denoiser with its text encoders and autoencoder.",
		Inputs:      []workflow.Input{env.models("ckpt_name", "checkpoints")},
		Outputs:     workflow.Outputs(workflow.TypeModel, workflow.TypeClip, workflow.TypeVAE),
		Changed:     env.changed("ckpt_name", "checkpoints"),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			path, err := env.find(c, "ckpt_name", "checkpoints")
			if err != nil {
				return nil, err
			}
			checkpoint, err := env.Engine.Checkpoint(ctx, path)
			if err != nil {
				return nil, err
			}
			return []any{
				given(checkpoint.Model, checkpoint.ErrModel()), given(checkpoint.CLIP, checkpoint.ErrCLIP()), given(checkpoint.VAE, checkpoint.ErrVAE()),
			}, nil
		},
	})
	reg.Register(workflow.Schema{
		Class: "VAELoader", Name: "Load VAE", Category: "loaders",
		Description: "Opens an autoencoder that is a file of its own.",
		Inputs:      []workflow.Input{env.models("vae_name", "vae")},
		Outputs:     workflow.Outputs(workflow.TypeVAE),
		Changed:     env.changed("vae_name", "vae"),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			path, err := env.find(c, "vae_name", "vae")
			if err != nil {
				return nil, err
			}
			vae, err := env.Engine.VAE(ctx, path)
			if err != nil {
				return nil, err
			}
			return []any{vae}, nil
		},
	})
	strength := func(name string) workflow.Input {
		return workflow.Float(name, 1, -100, 100, 0.01).Tip("How much of the LoRA is applied. It may be negative.")
	}
	reg.Register(workflow.Schema{
		Class: "LoraLoader", Name: "Load LoRA", Category: "loaders",
		Description: "Puts a LoRA on a denoiser and its text encoders.",
		Inputs: []workflow.Input{
			workflow.Link("model", workflow.TypeModel), workflow.Link("clip", workflow.TypeClip),
			env.models("lora_name", "loras"), strength("strength_model"), strength("strength_clip"),
		},
		Outputs: workflow.Outputs(workflow.TypeModel, workflow.TypeClip),
		Changed: env.changed("lora_name", "loras"),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			return withLoRA(ctx, env, c, c.Float("strength_model"), c.Float("strength_clip"))
		},
	})
	reg.Register(workflow.Schema{
		Class: "LoraLoaderModelOnly", Name: "LoraLoaderModelOnly", Category: "loaders",
		Description: "Puts a LoRA on a denoiser alone.",
		Inputs: []workflow.Input{
			workflow.Link("model", workflow.TypeModel), env.models("lora_name", "loras"), strength("strength_model"),
		},
		Outputs: workflow.Outputs(workflow.TypeModel),
		Changed: env.changed("lora_name", "loras"),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			return withLoRA(ctx, env, c, c.Float("strength_model"), 0)
		},
	})
}

// withLoRA returns a model and text encoders with the LoRA that the node names.
// Text encoders that a checkpoint lacks, or that the node has no input for, are
// passed on as they are. With strengths of 0 the file is not looked at.
func withLoRA(ctx context.Context, env *Env, c *workflow.Call, modelStrength, clipStrength float64) ([]any, error) {
	model, err := Input[*pipeline.Model](c, "model")
	if err != nil {
		return nil, err
	}
	out := []any{model}
	var clip *pipeline.CLIP
	if c.Schema.Input("clip") != nil {
		out = append(out, c.Value("clip"))
		if _, none := out[1].(absent); !none {
			if clip, err = Input[*pipeline.CLIP](c, "clip"); err != nil {
				return nil, err
			}
		}
	}
	if modelStrength == 0 && clipStrength == 0 {
		return out, nil
	}
	path, err := env.find(c, "lora_name", "loras")
	if err != nil {
		return nil, err
	}
	lora, err := env.Engine.LoRA(ctx, path)
	if err != nil {
		return nil, err
	}
	if model, clip, err = lora.On(model, clip, modelStrength, clipStrength); err != nil {
		return nil, err
	}
	out[0] = model
	if clip != nil {
		out[1] = clip
	}
	return out, nil
}
