package merge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// A dense matrix is one in float64, as the formulas are written in papers.
type dense struct {
	n, k int
	v    []float64
}

func newDense(n, k int) dense           { return dense{n, k, make([]float64, n*k)} }
func (m dense) at(i, j int) float64     { return m.v[i*m.k+j] }
func (m dense) set(i, j int, v float64) { m.v[i*m.k+j] = v }
func (m dense) each(f func(i, j int) float64) dense {
	out := newDense(m.n, m.k)
	for i := range m.n {
		for j := range m.k {
			out.set(i, j, f(i, j))
		}
	}
	return out
}

func (m dense) times(b dense) dense {
	return newDense(m.n, b.k).each(func(i, j int) (sum float64) {
		for q := range b.n {
			sum += m.at(i, q) * b.at(q, j)
		}
		return sum
	})
}

// inverse inverts by Gauss and Jordan, with the largest pivots.
func (m dense) inverse() dense {
	a := m.each(m.at)
	x := newDense(m.n, m.n).each(func(i, j int) float64 {
		if i == j {
			return 1
		}
		return 0
	})
	for p := range m.n {
		best := p
		for i := p; i < m.n; i++ {
			if math.Abs(a.at(i, p)) > math.Abs(a.at(best, p)) {
				best = i
			}
		}
		for j := range m.n {
			for _, y := range []dense{a, x} {
				u, v := y.at(p, j), y.at(best, j)
				y.set(p, j, v)
				y.set(best, j, u)
			}
		}
		by := a.at(p, p)
		for j := range m.n {
			a.set(p, j, a.at(p, j)/by)
			x.set(p, j, x.at(p, j)/by)
		}
		for i := range m.n {
			if f := a.at(i, p); i != p {
				for j := range m.n {
					a.set(i, j, a.at(i, j)-f*a.at(p, j))
					x.set(i, j, x.at(i, j)-f*x.at(p, j))
				}
			}
		}
	}
	return x
}

// A made file is a random LoRA of one layer, with the tensors as matrices.
type made struct {
	r        *rand.Rand
	layer    string
	n, k     int
	kernel   []int
	taps     int
	tensors  []weights.Tensor
	alpha    float64
	hasAlpha bool
}

// matrix makes a tensor, as a matrix of its first dimension and the others.
func (m *made) matrix(name string, scale float64, shape ...int) dense {
	v := make([]float32, ir.Shape(shape).Elems())
	d := newDense(shape[0], len(v)/max(shape[0], 1))
	for i := range v {
		v[i] = float32(m.r.NormFloat64() * scale)
		d.v[i] = float64(v[i])
	}
	m.tensors = append(m.tensors, weights.F32(m.layer+"."+name, dtype.F32, shape, v))
	return d
}

func (m *made) number(v float64) {
	m.alpha, m.hasAlpha = float64(float32(v)), true
	m.tensors = append(m.tensors, weights.F32(m.layer+".alpha", dtype.F32, nil, []float32{float32(v)}))
}

// scale is alpha over rank.
func (m *made) scale(rank int) float64 {
	if m.r.IntN(3) == 0 {
		return 1
	}
	m.number(m.r.Float64()*3 - 0.5)
	return m.alpha / float64(rank)
}

// ones are the dimensions of a 1×1 kernel where the weight has a kernel, or
// none, since both are taken for each other.
func (m *made) ones() []int {
	if m.r.IntN(2) == 0 {
		return nil
	}
	return []int{1, 1}
}

// of returns a shape with more dimensions.
func of(shape []int, more ...int) []int { return append(slices.Clone(shape), more...) }

// split returns two factors of n.
func (m *made) split(n int) (int, int) {
	for {
		if a := 1 + m.r.IntN(n); n%a == 0 {
			return a, n / a
		}
	}
}

// tucker returns the sum over i and j of core[i,j,taps]·a[i,n]·b[j,k].
func (m *made) tucker(a, b, core string, rank int) dense {
	wa, wb := m.matrix(a, 0.5, rank, m.n), m.matrix(b, 0.5, rank, m.k)
	t := m.matrix(core, 0.5, of([]int{rank, rank}, m.kernel...)...)
	return newDense(m.n, m.k*m.taps).each(func(p, q int) (sum float64) {
		for i := range rank {
			for j := range rank {
				sum += t.at(i, j*m.taps+q%m.taps) * wb.at(j, q/m.taps) * wa.at(i, p)
			}
		}
		return sum
	})
}

// A form makes a random file of a kind and returns what a weight is to become
// with a strength.
type form struct {
	name string
	make func(m *made) func(w dense, s float64) dense
}

// sum is the form of files that add a matrix, which may depend on the weight.
func sum(name string, delta func(m *made) (scale float64, d func(w dense) dense)) []form {
	return []form{{name, func(m *made) func(dense, float64) dense {
		scale, delta := delta(m)
		return func(w dense, s float64) dense {
			d := delta(w)
			return w.each(func(i, j int) float64 { return w.at(i, j) + s*scale*d.at(i, j) })
		}
	}}, {"DoRA of rows and " + name, func(m *made) func(dense, float64) dense {
		scale, delta := delta(m)
		lengths := m.matrix("dora_scale", 2, of([]int{m.n, 1}, m.ones()...)...)
		return func(w dense, s float64) dense {
			d := delta(w)
			return w.each(func(i, j int) float64 {
				v := (w.at(i, j) + scale*d.at(i, j)) * lengths.v[i] / (norm(w.v[i*w.k:][:w.k]) + 0x1p-23)
				return w.at(i, j) + s*(v-w.at(i, j))
			})
		}
	}}, {"DoRA of columns and " + name, func(m *made) func(dense, float64) dense {
		scale, delta := delta(m)
		lengths := m.matrix("dora_scale", 2, of([]int{1, m.k}, m.ones()...)...)
		return func(w dense, s float64) dense {
			d := delta(w)
			v := w.each(func(i, j int) float64 { return w.at(i, j) + scale*d.at(i, j) })
			return w.each(func(i, j int) float64 {
				var input []float64
				for i := range w.n {
					input = append(input, v.v[i*w.k+j/m.taps*m.taps:][:m.taps]...)
				}
				x := v.at(i, j) * lengths.v[j/m.taps] / (norm(input) + 0x1p-23)
				return w.at(i, j) + s*(x-w.at(i, j))
			})
		}
	}}, {"DoRA of PEFT and " + name, func(m *made) func(dense, float64) dense {
		scale, delta := delta(m)
		lengths := m.matrix("lora_magnitude_vector.default", 2, m.n)
		return func(w dense, s float64) dense {
			d := delta(w)
			v := w.each(func(i, j int) float64 { return w.at(i, j) + scale*d.at(i, j) })
			return w.each(func(i, j int) float64 {
				return w.at(i, j) + s*(v.at(i, j)*lengths.v[i]/norm(v.v[i*w.k:][:w.k])-w.at(i, j))
			})
		}
	}}}
}

func norm(v []float64) float64 {
	var square float64
	for _, x := range v {
		square += x * x
	}
	return math.Sqrt(square)
}

// always is a matrix that does not depend on the weight.
func always(d dense) func(dense) dense { return func(dense) dense { return d } }

// forms returns every kind of file.
func forms() []form {
	return slices.Concat(
		sum("LoRA", func(m *made) (float64, func(dense) dense) {
			rank := 1 + m.r.IntN(6)
			up := m.matrix("lora_up.weight", 0.5, of([]int{m.n, rank}, m.ones()...)...)
			down := []int{rank, m.k * m.taps}
			if m.r.IntN(2) == 0 {
				down = of([]int{rank, m.k}, m.kernel...)
			}
			return m.scale(rank), always(up.times(m.matrix("lora_down.weight", 0.5, down...)))
		}),
		sum("LoRA in three", func(m *made) (float64, func(dense) dense) {
			rank := 1 + m.r.IntN(6)
			up, down := m.matrix("lora_up.weight", 0.5, m.n, rank, 1, 1), m.matrix("lora_down.weight", 0.5, rank, m.k, 1, 1)
			mid := m.matrix("lora_mid.weight", 0.5, of([]int{rank, rank}, m.kernel...)...)
			return m.scale(rank), always(newDense(m.n, m.k*m.taps).each(func(i, j int) (sum float64) {
				for p := range rank {
					for q := range rank {
						sum += up.at(i, p) * mid.at(p, q*m.taps+j%m.taps) * down.at(q, j/m.taps)
					}
				}
				return sum
			}))
		}),
		sum("LoHa", func(m *made) (float64, func(dense) dense) {
			rank := 1 + m.r.IntN(6)
			a := m.matrix("hada_w1_a", 0.5, m.n, rank).times(m.matrix("hada_w1_b", 0.5, rank, m.k*m.taps))
			b := m.matrix("hada_w2_a", 0.5, m.n, rank).times(m.matrix("hada_w2_b", 0.5, rank, m.k*m.taps))
			return m.scale(rank), always(a.each(func(i, j int) float64 { return a.at(i, j) * b.at(i, j) }))
		}),
		sum("LoHa in three", func(m *made) (float64, func(dense) dense) {
			rank := 1 + m.r.IntN(4)
			a, b := m.tucker("hada_w1_a", "hada_w1_b", "hada_t1", rank), m.tucker("hada_w2_a", "hada_w2_b", "hada_t2", rank)
			return m.scale(rank), always(a.each(func(i, j int) float64 { return a.at(i, j) * b.at(i, j) }))
		}),
		sum("LoKr", func(m *made) (float64, func(dense) dense) {
			n1, n2 := m.split(m.n)
			k1, k2 := m.split(m.k)
			r1, r2 := 1+m.r.IntN(3), 1+m.r.IntN(3)
			rank := 0
			var first, second dense
			if m.r.IntN(2) == 0 {
				first = m.matrix("lokr_w1", 0.5, n1, k1)
			} else {
				first, rank = m.matrix("lokr_w1_a", 0.5, n1, r1).times(m.matrix("lokr_w1_b", 0.5, r1, k1)), r1
			}
			switch m.r.IntN(3) {
			case 0:
				second = m.matrix("lokr_w2", 0.5, of([]int{n2, k2}, m.kernel...)...)
			case 1:
				second, rank = m.matrix("lokr_w2_a", 0.5, n2, r2).times(m.matrix("lokr_w2_b", 0.5, r2, k2*m.taps)), r2
			default:
				part := *m
				part.n, part.k = n2, k2
				second, rank = part.tucker("lokr_w2_a", "lokr_w2_b", "lokr_t2", r2), r2
				m.tensors = part.tensors
			}
			scale := 1.0
			if rank > 0 {
				scale = m.scale(rank)
			}
			return scale, always(newDense(m.n, m.k*m.taps).each(func(i, j int) float64 {
				return first.at(i/n2, j/(k2*m.taps)) * second.at(i%n2, j%(k2*m.taps))
			}))
		}),
		sum("GLoRA", func(m *made) (float64, func(dense) dense) {
			rank := 1 + m.r.IntN(3)
			a := m.matrix("a1.weight", 0.4, of([]int{m.k, rank}, m.ones()...)...).times(m.matrix("a2.weight", 0.4, rank, m.k))
			b := m.matrix("b1.weight", 0.4, m.n, rank).times(m.matrix("b2.weight", 0.4, of([]int{rank, m.k}, m.kernel...)...))
			return m.scale(rank), func(w dense) dense {
				return w.each(func(i, j int) float64 {
					sum := b.at(i, j)
					for q := range m.k {
						sum += w.at(i, q*m.taps+j%m.taps) * a.at(q, j/m.taps)
					}
					return sum
				})
			}
		}),
		sum("older GLoRA", func(m *made) (float64, func(dense) dense) {
			rank := 1 + m.r.IntN(3)
			a1, a2 := m.matrix("a1.weight", 0.4, rank, m.k*m.taps), m.matrix("a2.weight", 0.4, m.k*m.taps, rank)
			b1, b2 := m.matrix("b1.weight", 0.4, rank, m.k*m.taps), m.matrix("b2.weight", 0.4, m.n, rank)
			return m.scale(rank), func(w dense) dense {
				wa, b := w.times(a2).times(a1), b2.times(b1)
				return w.each(func(i, j int) float64 { return wa.at(i, j) + b.at(i, j) })
			}
		}),
		[]form{
			{"OFT", func(m *made) func(dense, float64) dense {
				count, size := m.split(m.n)
				rotations := m.cayley(m.matrix("oft_blocks", 0.3, count, size, size), size, m.r.IntN(2) == 0)
				return func(w dense, s float64) dense {
					return w.each(func(i, j int) float64 {
						sum := -w.at(i, j)
						for q := range size {
							sum += rotations[i/size].at(q, i%size) * w.at(i/size*size+q, j)
						}
						return w.at(i, j) + s*s*sum
					})
				}
			}},
			{"BOFT", func(m *made) func(dense, float64) dense {
				levels, size := 1, 2
				for m.n%(2*size) == 0 && m.r.IntN(2) == 0 {
					size *= 2
				}
				for m.n%(size<<levels) == 0 && m.r.IntN(3) > 0 {
					levels++
				}
				count := m.n / size
				rotations := m.cayley(m.matrix("oft_blocks", 0.3, levels, count, size, size), size, true)
				scale := newDense(m.n, 1).each(func(int, int) float64 { return 1 })
				if m.r.IntN(2) == 0 {
					scale = m.matrix("rescale", 1, of([]int{m.n, 1}, m.ones()...)...)
				}
				return func(w dense, s float64) dense {
					in := w.each(w.at)
					for level := range levels {
						// The rows in the order in which blocks are cut from them.
						var order []int
						half := size / 2 << level
						for run := 0; run < m.n; run += 2 * half {
							for i := range half {
								order = append(order, run+i, run+half+i)
							}
						}
						out := newDense(in.n, in.k)
						for at, row := range order {
							r := rotations[level*count+at/size]
							for j := range in.k {
								sum := (1 - s) * in.at(row, j)
								for q := range size {
									sum += s * r.at(at%size, q) * in.at(order[at/size*size+q], j)
								}
								out.set(row, j, sum)
							}
						}
						in = out
					}
					return w.each(func(i, j int) float64 { return w.at(i, j) + s*(in.at(i, j)*scale.v[i]-w.at(i, j)) })
				}
			}},
			{"difference", func(m *made) func(dense, float64) dense {
				d := m.matrix("diff", 0.5, of([]int{m.n, m.k}, m.kernel...)...)
				return func(w dense, s float64) dense {
					return w.each(func(i, j int) float64 { return w.at(i, j) + s*d.at(i, j) })
				}
			}},
			{"replacement", func(m *made) func(dense, float64) dense {
				d := m.matrix("set_weight", 0.5, of([]int{m.n, m.k}, m.kernel...)...)
				return func(dense, float64) dense { return d }
			}},
		},
	)
}

// cayley returns (I+Q)(I-Q)⁻¹ of Q = B-Bᵀ for each of the blocks B, within a
// constraint of the norm of all of them, or without one.
func (m *made) cayley(blocks dense, size int, constrained bool) (all []dense) {
	by := 1.0
	if constrained {
		m.number(m.r.Float64() * 4)
	}
	var qs []dense
	square := 0.0
	for at := 0; at < len(blocks.v); at += size * size {
		b := dense{size, size, blocks.v[at:][:size*size]}
		q := b.each(func(i, j int) float64 { return b.at(i, j) - b.at(j, i) })
		qs = append(qs, q)
		square += norm(q.v) * norm(q.v)
	}
	if length := math.Sqrt(square) + 1e-8; m.alpha > 0 && length > m.alpha {
		by = m.alpha / length
	}
	identity := func(i, j int) float64 {
		if i == j {
			return 1
		}
		return 0
	}
	for _, q := range qs {
		plus := q.each(func(i, j int) float64 { return identity(i, j) + by*q.at(i, j) })
		minus := q.each(func(i, j int) float64 { return identity(i, j) - by*q.at(i, j) })
		all = append(all, plus.times(minus.inverse()))
	}
	return all
}

// TestRandom merges random files of every kind, one to three on top of each
// other, into layers of every shape of kernel, and compares the weights with
// what the formulas make of them in float64.
func TestRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	base := unet(t, dtype.F32)
	on := newBase(t, base)
	layers := []struct{ name, weight string }{
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"},
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_2", "input_blocks.1.1.transformer_blocks.0.ff.net.2.weight"},
		{"lora_unet_down_blocks_0_attentions_0_proj_in", "input_blocks.1.1.proj_in.weight"},
		{"lora_unet_conv_in", "input_blocks.0.0.weight"},
		{"lora_unet_conv_out", "out.2.weight"},
	}
	all := forms()
	for round := range 2 * len(all) {
		layer := layers[r.IntN(len(layers))]
		weight := sd.UNetPrefix + layer.weight
		ref, _ := base.Lookup(weight)
		want := newDense(ref.Shape[0], int(ref.Elements())/ref.Shape[0])
		for i, v := range values(read(t, base, weight), dtype.F32) {
			want.v[i] = float64(v)
		}
		var what []string
		var changes []Change
		for i := range 1 + r.IntN(3) {
			f := all[(round+i*r.IntN(len(all)))%len(all)]
			m := &made{r: r, layer: layer.name, n: ref.Shape[0], k: ref.Shape[1], taps: 1}
			if len(ref.Shape) == 4 && ref.Shape[2] > 1 {
				m.kernel, m.taps = []int{3, 3}, 9
			}
			apply := f.make(m)
			s := float32(r.NormFloat64())
			want = apply(want, float64(s))
			what = append(what, fmt.Sprintf("%s at %v", f.name, s))
			l := write(t, m.tensors...)
			mapping, err := lora.Map(source{l}, on)
			if err != nil || len(mapping.Skipped) > 0 || len(mapping.Unmatched) > 0 {
				t.Fatalf("%s of %s: %v, %+v", f.name, layer.name, err, mapping)
			}
			for _, a := range mapping.Adapters[weight] {
				changes = append(changes, Change{lora.Merged(a), l, s})
			}
			for _, c := range mapping.Changes[weight] {
				changes = append(changes, Change{c, l, s})
			}
		}
		got := values(read(t, base, weight, changes...), dtype.F32)
		wanted := make([]float32, len(want.v))
		for i, v := range want.v {
			wanted[i] = float32(v)
		}
		if e, err := golden.RelativeError(got, wanted); err != nil || !(e < 2e-5) {
			t.Errorf("round %d, %s, %s: relative error %v, %v", round, layer.weight, strings.Join(what, ", then "), e, err)
		}
	}
}
