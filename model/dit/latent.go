package dit

import "github.com/weir-run/weir/latent"

// Flux16 is the format of FLUX.1's latents, which have 16 channels.
func Flux16(channels int) latent.Format {
	f := latent.Flux
	f.Channels = channels
	return f
}
