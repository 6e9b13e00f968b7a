package node

import (
	"context"
	"strings"

	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/workflow"
)

// registerParts registers the nodes that open parts of a model that are files
// of their own. Those with GGUF in their name are ComfyUI-GGUF's; here each
// opens files of every format.
func registerParts(reg *workflow.Registry, env *Env) {
	dtypes := workflow.Combo("weight_dtype", "default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2").
		Tip("Has no effect: weights are used as they are stored.")
	registerUNet(reg, env, "UNETLoader", "Load Diffusion Model", "advanced/loaders", dtypes)
	registerUNet(reg, env, "UnetLoaderGGUF", "Unet Loader (GGUF)", "bootleg")

	one, two := []string{"clip_name"}, []string{"clip_name1", "clip_name2"}
	kinds := func(encoders int) workflow.Input {
		return workflow.Combo("type", families.Types(encoders)...).Tip("The models that the text encoders are for. Files may be in any order.")
	}
	device := workflow.Combo("device", "default", "cpu").Opt().Tip("Has no effect: all parts run on the same device.")
	registerCLIP(reg, env, "CLIPLoader", "Load CLIP", "advanced/loaders", one, kinds(1), device)
	registerCLIP(reg, env, "CLIPLoaderGGUF", "CLIPLoader (GGUF)", "bootleg", one, kinds(1))
	registerCLIP(reg, env, "DualCLIPLoader", "DualCLIPLoader", "advanced/loaders", two, kinds(2), device)
	registerCLIP(reg, env, "DualCLIPLoaderGGUF", "DualCLIPLoader (GGUF)", "bootleg", two, kinds(2))
	three := []string{"clip_name1", "clip_name2", "clip_name3"}
	registerCLIP(reg, env, "TripleCLIPLoader", "Load CLIP (Triple)", "advanced/loaders", three)
	registerCLIP(reg, env, "TripleCLIPLoaderGGUF", "TripleCLIPLoader (GGUF)", "bootleg", three)
}

func registerUNet(reg *workflow.Registry, env *Env, class, name, category string, more ...workflow.Input) {
	const input, models = "unet_name", "diffusion_models"
	reg.Register(workflow.Schema{
		Class: class, Name: name, Category: category,
		Description: "Opens a denoiser that is a file of its own.",
		Inputs:      append([]workflow.Input{env.models(input, models)}, more...),
		Outputs:     workflow.Outputs(workflow.TypeModel),
		Changed:     env.changed(input, models),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			path, err := env.find(c, input, models)
			if err != nil {
				return nil, err
			}
			model, err := env.Engine.UNet(ctx, path)
			if err != nil {
				return nil, err
			}
			return []any{model}, nil
		},
	})
}

func registerCLIP(reg *workflow.Registry, env *Env, class, name, category string, inputs []string, more ...workflow.Input) {
	const models = "text_encoders"
	schema := workflow.Schema{
		Class: class, Name: name, Category: category,
		Description: "Opens text encoders that are files of their own.",
		Outputs:     workflow.Outputs(workflow.TypeClip),
		Changed: func(ctx context.Context, c *workflow.Call) (string, error) {
			var all []string
			for _, input := range inputs {
				one, err := env.changed(input, models)(ctx, c)
				if err != nil {
					return "", err
				}
				all = append(all, one)
			}
			return strings.Join(all, "\n"), nil
		},
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			var paths []string
			for _, input := range inputs {
				path, err := env.find(c, input, models)
				if err != nil {
					return nil, err
				}
				paths = append(paths, path)
			}
			kind := "sd3" // of three encoders, which have no other type
			if len(more) > 0 {
				kind = c.String("type")
			}
			clip, err := env.Engine.CLIP(ctx, kind, paths...)
			if err != nil {
				return nil, err
			}
			return []any{clip}, nil
		},
	}
	for _, input := range inputs {
		schema.Inputs = append(schema.Inputs, env.models(input, models))
	}
	schema.Inputs = append(schema.Inputs, more...)
	reg.Register(schema)
}
