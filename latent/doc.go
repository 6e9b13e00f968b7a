// Package latent has batches of latents, the space that denoisers work in, and
// the formats in which families of models have them. Pictures in planes are the
// same thing with a stride of 1.
package latent
