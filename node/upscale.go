package node

import (
	"context"

	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerUpscale registers the nodes that enlarge pictures by a network.
func registerUpscale(reg *workflow.Registry, env *Env) {
	reg.Register(workflow.Schema{
		Class: "UpscaleModelLoader", Name: "Load Upscale Model", Category: "loaders",
		Description: "Opens an upscaler: ESRGAN, Real-ESRGAN or Real-ESRGAN compact.",
		Inputs:      []workflow.Input{env.models("model_name", "upscale_models")},
		Outputs:     workflow.Outputs(workflow.TypeUpscaleModel),
		Changed:     env.changed("model_name", "upscale_models"),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			path, err := env.find(c, "model_name", "upscale_models")
			if err != nil {
				return nil, err
			}
			u, err := env.Engine.Upscaler(ctx, path)
			if err != nil {
				return nil, err
			}
			return []any{u}, nil
		},
	})
	reg.Register(workflow.Schema{
		Class: "ImageUpscaleWithModel", Name: "Upscale Image (using Model)", Category: "image/upscaling",
		Description: "Enlarges pictures by a network.",
		Inputs:      []workflow.Input{workflow.Link("upscale_model", workflow.TypeUpscaleModel), workflow.Link("image", workflow.TypeImage)},
		Outputs:     workflow.Outputs(workflow.TypeImage),
		Prepare:     preparing("upscale_model", (*pipeline.Upscaler).Prefetch),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			u, err := Input[*pipeline.Upscaler](c, "upscale_model")
			if err != nil {
				return nil, err
			}
			m, err := picturesOf(c, "image")
			if err != nil {
				return nil, err
			}
			// The results, one as it is put together of tiles, and its picture in planes.
			picture := 4 * 3 * int64(m.Height) * int64(m.Width)
			scale := int64(u.Scale()) * int64(u.Scale())
			if err := c.Need(ctx, picture+picture*scale*int64(m.Batch)+picture*scale*4/3); err != nil {
				return nil, err
			}
			out, err := u.Upscale(ctx, m, progress(c))
			return []any{out}, err
		},
	})
}

// progress reports parts of the work as a node's progress. What runs next is
// prepared at once: parts do not take long.
func progress(c *workflow.Call) func(part, parts int) {
	c.Finishing()
	return func(part, parts int) { c.Progress(part, parts, nil) }
}
