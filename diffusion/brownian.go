package diffusion

import (
	"context"
	"math"
	"strconv"
)

// A brownian is a path of Brownian motion over noise levels, of which the
// differences between any two levels can be asked in any order: the tree of
// halved intervals of torchsde (Li et al. 2020, Scalable Gradients for
// Stochastic Differential Equations), with the same numbers for the same seed.
type brownian struct {
	ctx    context.Context // when it is cancelled no values are drawn
	source Source
	seed   uint64
	n      int
	root   *interval
	cache  []*interval // those with values, the root's aside, the oldest first
}

// An interval is a node of the tree.
type interval struct {
	start, middle, end float64
	parent             *interval
	left, right        *interval
	isLeft             bool
	key, depth         uint64
	seed               uint32 // of the noise that divides it
	w                  []float32
}

const (
	// brownianPool is the number of words that seeds are derived from.
	brownianPool = 24
	// brownianCache is how many intervals keep their values.
	brownianCache = 45

	// pathStates bounds the values of a path in states: those of the intervals that
	// keep them and of the way down to a level in the sixth digit.
	pathStates = brownianCache + 30
)

// newBrownian returns the path between two noise levels for n values.
func newBrownian(ctx context.Context, source Source, seed uint64, low, high float64, n int) *brownian {
	b := &brownian{ctx: ctx, source: source, seed: seed, n: n}
	b.root = &interval{start: sixDigits(low), end: sixDigits(high)}
	w := b.draw(seedSequence(seed, nil, brownianPool))
	scale := float32(math.Sqrt(high - low))
	for i := range w {
		w[i] *= scale
	}
	b.root.w = w
	return b
}

// draw returns the noise of a generator of its own.
func (b *brownian) draw(seed uint32) []float32 {
	out := make([]float32, b.n)
	b.source.generator(uint64(seed)).Normal(b.ctx, out)
	return out
}

// sixDigits rounds to what the tree resolves.
func sixDigits(x float64) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 6, 64), 64)
	return v
}

// noise returns the normalized difference of the path between two levels, of
// either order: standard normal numbers with the sign of the direction.
func (b *brownian) noise(from, to float64) []float32 {
	low, high, sign := from, to, float32(1)
	if low > high {
		low, high, sign = high, low, -1
	}
	sum := make([]float32, b.n)
	lo, hi := max(sixDigits(low), b.root.start), min(sixDigits(high), b.root.end)
	if lo < hi {
		b.add(b.root, lo, hi, sum)
	}
	scale := sign / float32(math.Sqrt(high-low))
	for i := range sum {
		sum[i] *= scale
	}
	return sum
}

// add adds the difference between two levels within an interval.
func (b *brownian) add(v *interval, lo, hi float64, sum []float32) {
	if lo == v.start && hi == v.end {
		for i, w := range b.value(v) {
			sum[i] += w
		}
		return
	}
	if v.left == nil {
		b.split(v)
	}
	if lo < v.middle {
		b.add(v.left, lo, min(hi, v.middle), sum)
	}
	if hi > v.middle {
		b.add(v.right, max(lo, v.middle), hi, sum)
	}
}

func (b *brownian) split(v *interval) {
	middle := 0.5 * (v.end + v.start)
	v.middle = sixDigits(middle)
	if v.parent != nil {
		v.key, v.depth = 2*v.parent.key, v.parent.depth+1
		if !v.isLeft {
			v.key++
		}
	}
	v.seed = seedSequence(b.seed, []uint64{v.key, v.depth}, brownianPool)
	v.left = &interval{start: v.start, end: v.middle, parent: v, isLeft: true}
	v.right = &interval{start: v.middle, end: v.end, parent: v}
}

// value returns the difference over an interval: a bridge between the ends of
// its parent.
func (b *brownian) value(v *interval) []float32 {
	if v.w != nil {
		return v.w
	}
	p := v.parent
	whole := b.value(p)
	h := 1 / (p.end - p.start)
	l, r := p.middle-p.start, p.end-p.middle
	noise := b.draw(p.seed)
	scale, deviation := float32(l)*float32(h), float32(math.Sqrt(l*r*h))
	w := make([]float32, b.n)
	for i := range w {
		w[i] = whole[i]*scale + deviation*noise[i]
		if !v.isLeft {
			w[i] = whole[i] - w[i]
		}
	}
	v.w = w
	if b.cache = append(b.cache, v); len(b.cache) > brownianCache {
		b.cache[0].w = nil
		b.cache = b.cache[1:]
	}
	return w
}

// seedSequence returns the first word that NumPy's SeedSequence derives from
// an entropy and a key (O'Neill 2015, Developing a seed_seq Alternative).
func seedSequence(entropy uint64, key []uint64, pool int) uint32 {
	words := words32(entropy)
	if len(key) > 0 {
		for len(words) < pool {
			words = append(words, 0)
		}
		for _, k := range key {
			words = append(words, words32(k)...)
		}
	}
	hash := uint32(0x43b0d7e5)
	mixIn := func(v uint32) uint32 {
		v ^= hash
		hash *= 0x931e8875
		v *= hash
		return v ^ v>>16
	}
	mix := func(x, y uint32) uint32 {
		v := 0xca01f9dd*x - 0x4973f715*y
		return v ^ v>>16
	}
	state := make([]uint32, pool)
	for i := range state {
		var w uint32
		if i < len(words) {
			w = words[i]
		}
		state[i] = mixIn(w)
	}
	for from := range state {
		for to := range state {
			if from != to {
				state[to] = mix(state[to], mixIn(state[from]))
			}
		}
	}
	for i := pool; i < len(words); i++ {
		for to := range state {
			state[to] = mix(state[to], mixIn(words[i]))
		}
	}
	hash = 0x8b51f9dd
	v := state[0] ^ hash
	hash *= 0x58f38ded
	v *= hash
	return v ^ v>>16
}

// words32 returns the words of a number, the lowest first, at least one.
func words32(v uint64) []uint32 {
	if v>>32 == 0 {
		return []uint32{uint32(v)}
	}
	return []uint32{uint32(v), uint32(v >> 32)}
}
