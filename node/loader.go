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
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			path, err := env.find(c, "ckpt_name", "checkpoints")
			if err != nil {
				return nil, err
			}
			checkpoint, err := env.Engine.Checkpoint(path)
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
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			path, err := env.find(c, "vae_name", "vae")
			if err != nil {
				return nil, err
			}
			vae, err := env.Engine.VAE(path)
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
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			model, err := withLoRA(env, c, c.Float("strength_model"))
			if err != nil {
				return nil, err
			}
			clip, err := Input[*pipeline.CLIP](c, "clip")
			if err != nil {
				return nil, err
			}
			lora, err := openLoRA(env, c)
			if err != nil {
				return nil, err
			}
			if clip, err = clip.WithLoRA(lora, c.Float("strength_clip")); err != nil {
				return nil, err
			}
			return []any{model, clip}, nil
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
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			model, err := withLoRA(env, c, c.Float("strength_model"))
			if err != nil {
				return nil, err
			}
			return []any{model}, nil
		},
	})
}

func openLoRA(env *Env, c *workflow.Call) (*pipeline.LoRA, error) {
	path, err := env.find(c, "lora_name", "loras")
	if err != nil {
		return nil, err
	}
	return env.Engine.LoRA(path)
}

func withLoRA(env *Env, c *workflow.Call, strength float64) (*pipeline.Model, error) {
	model, err := Input[*pipeline.Model](c, "model")
	if err != nil {
		return nil, err
	}
	lora, err := openLoRA(env, c)
	if err != nil {
		return nil, err
	}
	return model.WithLoRA(lora, strength)
}
