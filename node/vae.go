package node

import (
	"context"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// registerVAE registers the nodes that turn latents into pictures and back.
func registerVAE(reg *workflow.Registry, env *Env) {
	samples, pixels := workflow.Link("samples", workflow.TypeLatent), workflow.Link("pixels", workflow.TypeImage)
	vae := workflow.Link("vae", workflow.TypeVAE)
	reg.Register(workflow.Schema{
		Class: "VAEDecode", Name: "VAE Decode", Category: "latent",
		Description: "Turns latents into pictures, in tiles if the memory asks for it.",
		Inputs:      []workflow.Input{samples, vae},
		Outputs:     workflow.Outputs(workflow.TypeImage),
		Prepare:     preparing("vae", (*pipeline.VAE).PrefetchDecoder),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			v, l, err := latentsFor(ctx, env, c)
			if err != nil {
				return nil, err
			}
			m, err := v.Decode(ctx, l, progress(c))
			return []any{m}, err
		},
	})
	reg.Register(workflow.Schema{
		Class: "VAEDecodeTiled", Name: "VAE Decode (Tiled)", Category: "_for_testing",
		Description: "Turns latents into pictures in tiles.",
		Inputs: []workflow.Input{
			samples, vae,
			workflow.Int("tile_size", 512, 64, 4096).By(32),
			workflow.Int("overlap", 64, 0, 4096).By(32),
			workflow.Int("temporal_size", 64, 8, 4096).By(4).Opt().Tip("Only for video."),
			workflow.Int("temporal_overlap", 8, 4, 4096).By(4).Opt().Tip("Only for video."),
		},
		Outputs: workflow.Outputs(workflow.TypeImage),
		Prepare: preparing("vae", (*pipeline.VAE).PrefetchDecoder),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			v, l, err := latentsFor(ctx, env, c)
			if err != nil {
				return nil, err
			}
			size, overlap := c.Int("tile_size"), c.Int("overlap")
			if size < 4*overlap {
				overlap = size / 4
			}
			m, err := v.DecodeTiled(ctx, l, pipeline.Tiling{Size: size, Overlap: overlap}, progress(c))
			return []any{m}, err
		},
	})
	reg.Register(workflow.Schema{
		Class: "VAEEncode", Name: "VAE Encode", Category: "latent",
		Description: "Turns pictures into latents.",
		Inputs:      []workflow.Input{pixels, vae},
		Outputs:     workflow.Outputs(workflow.TypeLatent),
		Prepare:     preparing("vae", (*pipeline.VAE).PrefetchEncoder),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			v, err := Input[*pipeline.VAE](c, "vae")
			if err != nil {
				return nil, err
			}
			m, err := picturesOf(c, "pixels")
			if err != nil {
				return nil, err
			}
			l, err := encode(ctx, c, v, m)
			return []any{l}, err
		},
	})
	reg.Register(workflow.Schema{
		Class: "VAEEncodeForInpaint", Name: "VAE Encode (for Inpainting)", Category: "latent/inpaint",
		Description: "Turns pictures into latents whose masked part is empty and is to be filled by sampling.",
		Inputs:      []workflow.Input{pixels, vae, workflow.Link("mask", workflow.TypeMask), workflow.Int("grow_mask_by", 6, 0, 64)},
		Outputs:     workflow.Outputs(workflow.TypeLatent),
		Prepare:     preparing("vae", (*pipeline.VAE).PrefetchEncoder),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			v, err := Input[*pipeline.VAE](c, "vae")
			if err != nil {
				return nil, err
			}
			m, err := picturesOf(c, "pixels")
			if err != nil {
				return nil, err
			}
			mask, err := Input[*media.Mask](c, "mask")
			if err != nil {
				return nil, err
			}
			l, err := encodeForInpaint(ctx, c, v, m, mask)
			return []any{l}, err
		},
	})
}

// latentsFor returns the linked autoencoder, and latents as it takes them.
func latentsFor(ctx context.Context, env *Env, c *workflow.Call) (*pipeline.VAE, latent.Tensor, error) {
	v, err := Input[*pipeline.VAE](c, "vae")
	if err != nil {
		return nil, latent.Tensor{}, err
	}
	l, err := Input[*Latent](c, "samples")
	if err != nil {
		return nil, latent.Tensor{}, err
	}
	if l, err = l.of(v.Format()); err != nil {
		return nil, latent.Tensor{}, err
	}
	// The pictures, and one as it is put together of tiles and averaged.
	picture := 4 * int64(l.Height*v.Factor()) * int64(l.Width*v.Factor())
	need := picture*3*int64(l.Batch) + picture*(3*3+1)
	if l.Empty {
		need += l.Bytes()
	}
	if err := c.Need(ctx, need); err != nil {
		return nil, latent.Tensor{}, err
	}
	l = l.filled(env.Engine.Planning())
	return v, l.Tensor, nil
}

func encode(ctx context.Context, c *workflow.Call, v *pipeline.VAE, m *media.Image) (*Latent, error) {
	// The latents, twice as they are joined, and one picture in planes, cut to
	// size, and in tiles.
	f, picture := int64(v.Factor()), 4*3*int64(m.Height)*int64(m.Width)
	if err := c.Need(ctx, picture*3+picture/3*int64(v.Channels())*int64(2*m.Batch+4)/(f*f)); err != nil {
		return nil, err
	}
	l, err := v.Encode(ctx, m, progress(c))
	if err != nil {
		return nil, err
	}
	return &Latent{Tensor: l, Stride: v.Format().Stride}, nil
}
