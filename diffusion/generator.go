package diffusion

import (
	"context"
	"math"
)

// A generator draws standard normal numbers. When the context is cancelled it
// draws no more and leaves the rest as it is.
type generator interface {
	Normal(ctx context.Context, out []float32)
}

// drawnAtOnce is how many numbers are drawn between two looks at the context.
const drawnAtOnce = 1 << 18

// A Generator draws the numbers that PyTorch's CPU generator of the same seed
// draws, bit for bit.
type Generator struct {
	bits *mersenne
	// spare is the second of a pair of normal numbers that were drawn one by
	// one.
	spare    float64
	hasSpare bool
}

// NewGenerator returns a generator. Like PyTorch's, it takes the lower 32 bits
// of the seed.
func NewGenerator(seed uint64) *Generator { return &Generator{bits: newMersenne(uint32(seed))} }

// Randn returns n standard normal numbers as torch.randn(n, generator=...)
// does on processors with AVX2.
func Randn(seed uint64, n int) []float32 {
	out := make([]float32, n)
	NewGenerator(seed).Normal(context.Background(), out)
	return out
}

// Normal fills out with standard normal numbers by the transform of Box and
// Muller (1958). As in PyTorch, there are two ways: fewer than 16 numbers are
// drawn one after another in double precision; more are filled with uniform
// numbers first, and then each 16 of them become 16 normal ones, where the
// last 16 are drawn anew if they are not a whole group.
//
// When the context is cancelled it draws no more.
func (g *Generator) Normal(ctx context.Context, out []float32) {
	if len(out) < 16 {
		for i := range out {
			out[i] = float32(g.normal())
		}
		return
	}
	n := len(out)
	for at := 0; at < n; at += drawnAtOnce {
		if ctx.Err() != nil {
			return
		}
		part := out[at:min(at+drawnAtOnce, n)]
		for i := range part {
			part[i] = g.uniform()
		}
		for i := 0; i+16 <= len(part); i += 16 {
			normal16(part[i:])
		}
	}
	if n%16 != 0 {
		last := out[n-16:]
		for i := range last {
			last[i] = g.uniform()
		}
		normal16(last)
	}
}

// uniform returns a number of 24 bits in [0,1).
func (g *Generator) uniform() float32 { return float32(g.bits.uint32()&(1<<24-1)) / (1 << 24) }

// uniform64 returns a number of 53 bits in [0,1).
func (g *Generator) uniform64() float64 {
	hi := uint64(g.bits.uint32())
	return float64((hi<<32|uint64(g.bits.uint32()))&(1<<53-1)) / (1 << 53)
}

func (g *Generator) normal() float64 {
	if g.hasSpare {
		g.hasSpare = false
		return g.spare
	}
	u1, u2 := g.uniform64(), g.uniform64()
	radius := math.Sqrt(-2 * math.Log1p(-u2))
	sin, cos := math.Sincos(2 * math.Pi * u1)
	g.spare, g.hasSpare = radius*sin, true
	return radius * cos
}

// normal16 turns 16 uniform numbers, of which the first 8 give radii and the
// others angles, into normal ones.
func normal16(u []float32) {
	const twoPi = float32(2 * math.Pi)
	for i := range 8 {
		radius := float32(math.Sqrt(float64(-2 * log32(1-u[i]))))
		sin, cos := sincos32(float32(twoPi * u[i+8]))
		u[i], u[i+8] = float32(radius*cos), float32(radius*sin)
	}
}

// log32 is the natural logarithm of x in (0,1], by the polynomial of Cephes
// (Moshier, 1989), rounded after each of the operations that a processor with
// fused multiplication and addition makes of it.
func log32(x float32) float32 {
	bits := math.Float32bits(x)
	e := float32(int32(bits>>23) - 126)
	x = math.Float32frombits(bits&0x007fffff | 0x3f000000) // in [0.5,1)
	if x < 0.70710678118654752440 {
		e--
		x += x - 1
	} else {
		x--
	}
	z := float32(x * x)
	y := float32(7.0376836292e-2)
	for _, c := range [...]float32{-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1} {
		y = fma32(y, x, c)
	}
	y = float32(y * x)
	y = fma32(y, z, float32(e*-2.12194440e-4))
	y = fma32(z, -0.5, y)
	return fma32(e, 0.693359375, float32(x+y))
}

// sincos32 returns sine and cosine of x in [0,2π), by the polynomials of
// Cephes, rounded like log32.
func sincos32(x float32) (sin, cos float32) {
	quadrant := (int32(float32(x*1.27323954473516)) + 1) &^ 1 // in eighths of a turn
	q := float32(quadrant)
	x = fma32(q, -0.78515625, x)
	x = fma32(q, -2.4187564849853515625e-4, x)
	x = fma32(q, -3.77489497744594108e-8, x)
	z := float32(x * x)

	c := fma32(2.443315711809948e-5, z, -1.388731625493765e-3)
	c = fma32(c, z, 4.166664568298827e-2)
	c = float32(c * z)
	c = fma32(c, z, -float32(z*0.5))
	c++

	s := fma32(-1.9515295891e-4, z, 8.3321608736e-3)
	s = fma32(s, z, -1.6666654611e-1)
	s = float32(s * z)
	s = fma32(s, x, x)

	if quadrant&2 != 0 {
		s, c = c, s
	}
	if quadrant&4 != 0 {
		s = -s
	}
	if (quadrant-2)&4 == 0 {
		c = -c
	}
	return s, c
}

// fma32 returns x·y + z rounded once.
func fma32(x, y, z float32) float32 {
	p := float64(x) * float64(y) // exact
	s := p + float64(z)
	// What the sum has lost decides how it is rounded again: to odd, so that
	// the second rounding sees that something is there (Boldo and Melquiond,
	// 2008).
	t := s - p
	lost := (p - (s - t)) + (float64(z) - t)
	if bits := math.Float64bits(s); lost != 0 && bits&1 == 0 {
		if (lost > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}
