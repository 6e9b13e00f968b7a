package diffusion

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-run/weir/latent"
)

// A Source is the device that draws the noise of a sampler's steps: the
// processor, or a CUDA device by the number of threads that it runs at once.
type Source int

// The sources.
const (
	// CPU is PyTorch's generator of the processor.
	CPU Source = 0
	// CUDA is PyTorch's generator of an RTX 4090, which runs 128 times 1536
	// threads. Noise of no more values than a card runs threads is the same on
	// all cards.
	CUDA Source = 128 * 1536
)

// ParseSource returns the source that a text names: "cpu", "cuda" or
// "cuda:THREADS".
func ParseSource(text string) (Source, error) {
	device, threads, numbered := strings.Cut(text, ":")
	switch {
	case text == "cpu":
		return CPU, nil
	case text == "cuda":
		return CUDA, nil
	case device == "cuda" && numbered:
		if n, err := strconv.Atoi(threads); err == nil && n > 0 && n <= 1<<24 && n%cudaBlock == 0 {
			return Source(n), nil
		}
		return 0, fmt.Errorf("%q: expected the threads that the card runs at once, its multiprocessors times the threads of each, such as cuda:%d for 28 of 1536", text, 28*1536)
	}
	return 0, fmt.Errorf("%q: expected cpu, cuda or cuda:THREADS", text)
}

// String returns the text that ParseSource takes.
func (s Source) String() string {
	switch s {
	case CPU:
		return "cpu"
	case CUDA:
		return "cuda"
	}
	return fmt.Sprintf("cuda:%d", int(s))
}

// generator returns the source's generator with a seed.
func (s Source) generator(seed uint64) generator {
	if s == CPU {
		return NewGenerator(seed)
	}
	return newPhilox(seed, int(s))
}

// Noise is all the noise of a sampling. Its methods are the rules by which
// ComfyUI draws it from the seed.
type Noise struct {
	Seed uint64
	// Source draws the noise of the steps. The first noise and what is put on
	// the kept part of an inpainting are the processor's on every device.
	Source Source
	// None starts from the latents as they are, with the noise they have.
	None bool
	// BatchIndex says which of the noises of a larger batch each latent gets;
	// nil stands for 0, 1, 2, ...
	BatchIndex []int
}

// First returns the noise that sampling begins with: one draw for the whole
// batch or, with indices, as many draws of one latent as the largest index needs.
// When the context is cancelled it is not complete.
func (n Noise) First(ctx context.Context, shape latent.Shape) []float32 {
	out := make([]float32, shape.Elems())
	g := NewGenerator(n.Seed)
	switch {
	case n.None:
	case n.BatchIndex == nil:
		g.Normal(ctx, out)
	default:
		one := shape.Item()
		draw := make([]float32, one)
		for i := 0; i <= slices.Max(n.BatchIndex) && ctx.Err() == nil; i++ {
			g.Normal(ctx, draw)
			for k, want := range n.BatchIndex {
				if want == i {
					copy(out[k*one:], draw)
				}
			}
		}
	}
	return out
}

// On returns latents with the first noise at a level. Values that are not finite
// become 0.
func (n Noise) On(ctx context.Context, p *Process, x latent.Tensor, sigma float64) (latent.Tensor, error) {
	if err := n.check(x.Shape); err != nil {
		return x, err
	}
	out := p.noised(x.Data, n.First(ctx, x.Shape), sigma)
	for i, v := range out {
		if !(math.Abs(float64(v)) <= math.MaxFloat32) {
			out[i] = 0
		}
	}
	return x.With(out), ctx.Err()
}

// check reports batch indices that do not fit latents of a shape.
func (n Noise) check(s latent.Shape) error {
	b := n.BatchIndex
	if b != nil && len(b) != s.Batch {
		return fmt.Errorf("there are %d batch indices for %d latents", len(b), s.Batch)
	}
	if len(b) > 0 && slices.Min(b) < 0 {
		return fmt.Errorf("a batch index of %d: expected none below 0", slices.Min(b))
	}
	return nil
}

// kept returns the noise on what an inpainting keeps, for samplers that draw it
// apart from the first.
func (n Noise) kept(ctx context.Context, shape latent.Shape) []float32 {
	out := make([]float32, shape.Elems())
	NewGenerator(n.Seed+1).Normal(ctx, out)
	return out
}

// steps returns a function that draws the noise of one step after another. On
// the processor its seed is the next one: the first noise came of the seed.
func (n Noise) steps(ctx context.Context, shape latent.Shape) func() []float32 {
	seed := n.Seed
	if n.Source == CPU {
		seed++
	}
	g := n.Source.generator(seed)
	return func() []float32 {
		out := make([]float32, shape.Elems())
		g.Normal(ctx, out)
		return out
	}
}

// path returns the normalized differences between the levels of one path of
// Brownian motion over the schedule. Only samplers that say so have it drawn by
// the source; for all others it is the processor's.
func (n Noise) path(ctx context.Context, sigmas Sigmas, shape latent.Shape, bySource bool) func(from, to float64) []float32 {
	source := CPU
	if bySource {
		source = n.Source
	}
	var path *brownian
	return func(from, to float64) []float32 {
		if path == nil {
			positive := slices.DeleteFunc(slices.Clone(sigmas), func(v float64) bool { return v <= 0 })
			path = newBrownian(ctx, source, n.Seed, slices.Min(positive), slices.Max(positive), shape.Elems())
		}
		return path.noise(from, to)
	}
}
