package dit

import "github.com/weir-run/weir/model"

// Flux16 is the format of FLUX.1's latents, which have 16 channels.
func Flux16(channels int) model.Format {
	return model.Format{Channels: channels, Stride: [3]int{1, 8, 8}, Scale: 0.3611, Shift: 0.1159}
}
