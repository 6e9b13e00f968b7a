// Package diffusion turns noise into latents: noise, schedules, samplers and
// guidance. It knows no model: a [Network] is whatever predicts noise.
//
// Samplers work with the variance-exploding form of Karras et al. (2022,
// Elucidating the Design Space of Diffusion-Based Generative Models): at noise
// level sigma the state is x = x0 + sigma·noise. Networks that were trained in
// the variance-preserving form see x/sqrt(sigma²+1).
package diffusion
