package model

import (
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model/nn"
)

// An AutoencoderFamily is a kind of autoencoder.
type AutoencoderFamily struct {
	// Name is the family's for people.
	Name string
	// Names find the autoencoder in a file.
	Names Names
	// Match recognises the autoencoder whose weights are under AutoencoderPrefix,
	// and checks every weight. Of another family's it returns nil and no error.
	Match func(src nn.Tensors, metadata map[string]string) (Autoencoder, error)
}

// An Autoencoder is an autoencoder that was recognised.
type Autoencoder interface {
	// Describe returns kind and sizes, for people.
	Describe() string
	// Latent is the format of the latents that it makes and reads; Scale and Shift
	// are those of the denoiser and count for nothing.
	Latent() latent.Format
	// Pictures returns the number of channels of pictures.
	Pictures() int
	// Decodes and Encodes say which halves there are.
	Decodes() bool
	Encodes() bool
	// Decode builds the decoder: its input is the latents z[batch, channels, height,
	// width], its output the pictures y[batch, channels, stride·height,
	// stride·width] with values around -1 to 1.
	Decode(s nn.Scope, batch, height, width int)
	// Encode builds the encoder: its input is the pictures x[batch, channels,
	// height, width] with values from -1 to 1, both sides multiples of the stride;
	// its output is the mean of the latents z[batch, channels, height/stride,
	// width/stride].
	Encode(s nn.Scope, batch, height, width int)
	// Check compares the weights of both halves with those of a source.
	Check(src nn.Source) *nn.Audit
}
