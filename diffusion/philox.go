package diffusion

import (
	"context"
	"math"
	"math/bits"
)

// philox draws the numbers that torch.randn draws on a CUDA device: the
// generator Philox4x32-10 (Salmon et al. 2011, Parallel Random Numbers: As Easy
// as 1, 2, 3) and the transform of Box and Muller as in cuRAND.
//
// The random bits are exactly those of the device. Its logarithm, sine and
// cosine are approximations that are not published, so the numbers are the same
// up to a few millionths.
type philox struct {
	seed    uint64
	threads int
	drawn   uint64 // blocks of four numbers that each thread has drawn
}

// cudaBlock is the number of threads in a block of PyTorch's kernels.
const cudaBlock = 256

func newPhilox(seed uint64, threads int) *philox { return &philox{seed: seed, threads: threads} }

// Normal fills out as one call of PyTorch does. The kernel has a thread for each
// number, but no more than the device runs at once. A thread draws four numbers
// at a time, which are as far apart as there are threads; what lies beyond the
// end is thrown away. So most calls use one number of four.
//
// When the context is cancelled it draws no more.
func (g *philox) Normal(ctx context.Context, out []float32) {
	blocks := min(g.threads/cudaBlock, (len(out)+cudaBlock-1)/cudaBlock)
	stride := blocks * cudaBlock
	for base := 0; base < len(out); base += 4 * stride {
		for thread := range min(stride, len(out)-base) {
			if thread%drawnAtOnce == 0 && ctx.Err() != nil {
				return
			}
			z := normal4(philox4x32([4]uint32{uint32(g.drawn), uint32(g.drawn >> 32), uint32(thread)}, g.seed))
			for k, v := range z {
				if at := base + thread + k*stride; at < len(out) {
					out[at] = v
				}
			}
		}
		g.drawn++
	}
}

// philox4x32 returns four random words for a counter and a key, after ten
// rounds.
func philox4x32(c [4]uint32, key uint64) [4]uint32 {
	k0, k1 := uint32(key), uint32(key>>32)
	for range 10 {
		hi0, lo0 := bits.Mul32(0xd2511f53, c[0])
		hi1, lo1 := bits.Mul32(0xcd9e8d57, c[2])
		c = [4]uint32{hi1 ^ c[1] ^ k0, lo1, hi0 ^ c[3] ^ k1, lo0}
		k0 += 0x9e3779b9
		k1 += 0xbb67ae85
	}
	return c
}

// normal4 turns four random words into normal numbers. The first word of a pair
// gives the radius, the second the angle.
func normal4(w [4]uint32) (z [4]float32) {
	const unit = 1. / (1 << 32)
	const turn = float32(unit * 6.2831855)
	for i := 0; i < 4; i += 2 {
		u := fma32(float32(w[i]), unit, unit/2)
		v := fma32(float32(w[i+1]), turn, turn/2)
		radius := float32(math.Sqrt(float64(-2 * float32(math.Log(float64(u))))))
		sin, cos := math.Sincos(float64(v))
		z[i], z[i+1] = radius*float32(sin), radius*float32(cos)
	}
	return z
}
