package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/ir"
)

// An array is an operand of the reference: its elements in row-major order,
// as the dtype holds them.
type array struct {
	shape ir.Shape
	data  []float64
}

// at returns the element at an index that may have more dimensions than the
// array, whose lengths of 1 repeat.
func (a *array) at(index ...int) float64 {
	index = index[len(index)-len(a.shape):]
	off := 0
	for i, n := range a.shape {
		off *= n
		if n > 1 {
			off += index[i]
		}
	}
	return a.data[off]
}

// each calls f with every index of a shape, in row-major order.
func each(shape []int, f func(index []int)) {
	index := make([]int, len(shape))
	for range ir.Shape(shape).Elems() {
		f(index)
		for d := len(shape) - 1; d >= 0; d-- {
			if index[d]++; index[d] < shape[d] {
				break
			}
			index[d] = 0
		}
	}
}

// A random makes random operations.
type random struct {
	*rand.Rand
	d *Device
}

func (r *random) between(low, high int) int { return low + r.IntN(high-low+1) }

// one returns one of its arguments.
func one[T any](r *random, of ...T) T { return of[r.IntN(len(of))] }

var dtypes = []dtype.DType{dtype.F32, dtype.F16, dtype.BF16, dtype.F8E4M3, dtype.F8E5M2, dtype.I8, dtype.U8, dtype.I32, dtype.Q8_0, dtype.Q4_K}

// tensor makes an operand of random numbers and the array of the same
// elements. The memory around the elements holds NaNs.
func (r *random) tensor(t testing.TB, layout ir.Layout, dt dtype.DType, scale float64, shape ...int) (device.Tensor, *array) {
	t.Helper()
	// The order of the dimensions in memory, the slowest first, and the distance
	// between neighbours.
	order := make([]int, len(shape))
	for i := range order {
		order[i] = i
	}
	padded := layout != ir.Contiguous && r.IntN(2) == 0
	if layout == ir.Strided {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	} else if layout == ir.Rows {
		r.Shuffle(len(order)-1, func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	strides, n := make([]int, len(shape)), 1
	for i := len(order) - 1; i >= 0; i-- {
		d := order[i]
		strides[d] = n
		if layout == ir.Strided && i == len(order)-1 && padded {
			strides[d] = 3
		}
		n = strides[d] * shape[d]
		if padded {
			n += r.IntN(5)
		}
	}
	if dt.IsQuantized() {
		return r.quantized(t, dt, scale, shape, strides, n)
	}
	size, offset := dt.Size(), 0
	if dt != dtype.F32 || r.IntN(4) == 0 {
		offset = r.IntN(7)
	}
	if layout == ir.Contiguous && dt == dtype.F32 && r.IntN(2) == 0 {
		offset = 0
	}
	raw := make([]byte, offset+n*size)
	for i := range raw {
		raw[i] = 0xff
	}
	a := &array{shape: shape}
	each(shape, func(index []int) {
		off := 0
		for i, x := range index {
			off += x * strides[i]
		}
		at := raw[offset+off*size:][:size]
		x := [1]float32{float32(r.NormFloat64() * scale)}
		if !dt.IsFloat() {
			x[0] = float32(r.between(0, 4))
		}
		dtype.FromF32(at, x[:], dt)
		dtype.ToF32(x[:], at, dt)
		a.data = append(a.data, float64(x[0]))
	})
	return device.Tensor{Name: "operand", Buffer: r.buffer(t, raw), Offset: int64(offset), DType: dt, Shape: shape, Strides: strides}, a
}

// quantized makes an operand of a block-quantized type, of which n elements in
// memory are random. It begins anywhere in a block.
func (r *random) quantized(t testing.TB, dt dtype.DType, scale float64, shape, strides []int, n int) (device.Tensor, *array) {
	t.Helper()
	elems, _ := dt.Block()
	skip, offset := r.IntN(elems), r.IntN(7)
	values := make([]float32, (skip+n+elems-1)/elems*elems)
	for i := range values {
		values[i] = float32(r.NormFloat64() * scale)
	}
	stored := gguf.Quantize(dt, values)
	dtype.ToF32(values, stored, dt)
	a := &array{shape: shape}
	each(shape, func(index []int) {
		off := skip
		for i, x := range index {
			off += x * strides[i]
		}
		a.data = append(a.data, float64(values[off]))
	})
	raw := append(make([]byte, offset), stored...)
	return device.Tensor{Name: "operand", Buffer: r.buffer(t, raw), Offset: int64(offset), Skip: skip, DType: dt, Shape: shape, Strides: strides}, a
}

// buffer puts bytes where the device reads them.
func (r *random) buffer(t testing.TB, raw []byte) device.Buffer {
	t.Helper()
	if r.d.vram == 0 && r.IntN(2) == 0 {
		b, err := r.d.Map(raw)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b, err := r.d.Alloc(int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.d.Free(b) })
	if err := r.d.Upload(t.Context(), b, 0, raw).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// A sample is an operation with its operands and what it should give.
type sample struct {
	op    ir.Op
	in    []device.Tensor
	arr   []*array
	shape ir.Shape
	want  []float64
	// scale is how large what a result is summed from is: rounding errors are
	// relative to it. 0 stands for the result itself.
	scale float64
}

func (s *sample) add(t testing.TB, r *random, layout ir.Layout, dt dtype.DType, scale float64, shape ...int) *array {
	tensor, a := r.tensor(t, layout, dt, scale, shape...)
	s.in, s.arr = append(s.in, tensor), append(s.arr, a)
	return a
}

// steps adds random steps to a sample and applies them to what it should
// give.
func (s *sample) steps(t testing.TB, r *random, most int) {
	for range r.IntN(most + 1) {
		f := ir.Func(r.IntN(int(ir.PReLU) + 1))
		step := ir.Step{Func: f, A: float32(r.NormFloat64()), B: float32(r.NormFloat64())}
		if f == ir.Clamp {
			step.A, step.B = -0.5, 1
		}
		switch f {
		case ir.Sqrt, ir.Exp, ir.Div: // keep the values in a range
			s.op.Steps = append(s.op.Steps, ir.Step{Func: ir.Clamp, A: 0.25, B: 2})
			for i, x := range s.want {
				s.want[i] = min(max(x, 0.25), 2)
			}
		}
		var y *array
		if f.Binary() {
			shape := slices.Clone(s.shape)
			for i := range shape {
				if r.IntN(2) == 0 {
					shape[i] = 1
				}
			}
			shape = shape[r.IntN(len(shape)):]
			step.Operand = len(s.in)
			dt := dtype.F32
			if r.IntN(3) == 0 {
				dt = one(r, dtype.F32, dtype.F16, dtype.BF16, dtype.F8E4M3, dtype.Q4_K)
			}
			y = s.add(t, r, ir.Strided, dt, 1, shape...)
			if f == ir.Div {
				step.Func, f = ir.Mul, ir.Mul // dividing by what may be 0 has a test of its own
			}
		}
		s.op.Steps = append(s.op.Steps, step)
		i := 0
		each(s.shape, func(index []int) {
			var operand float64
			if y != nil {
				operand = y.at(index...)
			}
			s.want[i] = refFunc(step, s.want[i], operand)
			i++
		})
	}
}

// refFunc is a step in double precision.
func refFunc(s ir.Step, x, y float64) float64 {
	a, b := float64(s.A), float64(s.B)
	switch s.Func {
	case ir.Affine:
		return a*x + b
	case ir.SiLU:
		return x / (1 + math.Exp(-x))
	case ir.GELU:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case ir.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case ir.QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case ir.Sigmoid:
		return 1 / (1 + math.Exp(-x))
	case ir.Tanh:
		return math.Tanh(x)
	case ir.Exp:
		return math.Exp(x)
	case ir.Sin:
		return math.Sin(x)
	case ir.Cos:
		return math.Cos(x)
	case ir.Sqrt:
		return math.Sqrt(x)
	case ir.ReLU:
		return max(x, 0)
	case ir.LeakyReLU:
		if x < 0 {
			return a * x
		}
		return x
	case ir.Clamp:
		return min(max(x, a), b)
	case ir.Add:
		return x + y
	case ir.Sub:
		return x - y
	case ir.Mul:
		return x * y
	case ir.Div:
		return x / y
	case ir.Max:
		return max(x, y)
	case ir.Min:
		return min(x, y)
	case ir.PReLU:
		if x < 0 {
			return y * x
		}
		return x
	}
	panic(s.Func)
}

// weight returns a dtype for a weight.
func (r *random) weight() dtype.DType { return one(r, dtypes...) }

// makers make a random operation of each kind.
var makers = map[ir.Kind]func(t testing.TB, r *random) *sample{
	ir.Elementwise: func(t testing.TB, r *random) *sample {
		s := &sample{shape: r.shape(4, 700)}
		from := slices.Clone(s.shape)
		for i := range from {
			if r.IntN(4) == 0 {
				from[i] = 1
			}
		}
		x := s.add(t, r, ir.Strided, one(r, dtype.F32, dtype.F32, r.weight()), 1, from...)
		each(s.shape, func(index []int) { s.want = append(s.want, x.at(index...)) })
		return s
	},
	ir.Linear: func(t testing.TB, r *random) *sample {
		s := &sample{shape: r.shape(3, 300)}
		n, k := s.shape[len(s.shape)-1], r.between(1, 600)
		s.scale = math.Sqrt(float64(k))
		x := s.add(t, r, ir.Strided, dtype.F32, 1, append(slices.Clone(s.shape[:len(s.shape)-1]), k)...)
		w := s.add(t, r, ir.Contiguous, r.weight(), 1, n, k)
		var bias *array
		if s.op.Attrs.HasBias = r.IntN(2) == 0; s.op.Attrs.HasBias {
			bias = s.add(t, r, ir.Contiguous, r.weight(), 1, n)
		}
		each(s.shape, func(index []int) {
			sum := 0.0
			at, column := slices.Clone(index), index[len(index)-1]
			for i := range k {
				at[len(at)-1] = i
				sum += x.at(at...) * w.at(column, i)
			}
			if bias != nil {
				sum += bias.data[column]
			}
			s.want = append(s.want, sum)
		})
		return s
	},
	ir.Conv: makeConv,
	ir.Attention: func(t testing.TB, r *random) *sample {
		s := &sample{}
		a := &s.op.Attrs
		batch, queries, keys, depth, valueDepth := r.between(1, 2), r.between(1, 150), r.between(1, 300), r.between(1, 40), r.between(1, 40)
		if r.IntN(10) == 0 {
			queries, keys, depth, valueDepth = r.between(1, 40), r.between(1, 600), 300, 530
		}
		a.KVHeads = r.between(1, 2)
		a.Heads = a.KVHeads * r.between(1, 2)
		a.Scale = float32(1 / math.Sqrt(float64(depth)))
		a.Causal = r.IntN(3) == 0
		q := s.add(t, r, ir.Strided, dtype.F32, 1, batch, queries, a.Heads*depth)
		k := s.add(t, r, ir.Strided, dtype.F32, 1, batch, keys, a.KVHeads*depth)
		v := s.add(t, r, ir.Strided, one(r, dtype.F32, dtype.F16), 1, batch, keys, a.KVHeads*valueDepth)
		var mask *array
		if a.HasMask = r.IntN(3) == 0; a.HasMask {
			mask = s.add(t, r, ir.Strided, dtype.F32, 1, one(r, batch, 1), one(r, a.Heads, 1), one(r, queries, 1), keys)
		}
		s.shape = ir.Shape{batch, queries, a.Heads * valueDepth}
		scores := make([]float64, keys)
		s.want = make([]float64, s.shape.Elems())
		each([]int{batch, queries, a.Heads}, func(index []int) {
			b, i, h := index[0], index[1], index[2]
			g := h * a.KVHeads / a.Heads
			total := 0.0
			for j := range scores {
				x := 0.0
				for d := range depth {
					x += q.at(b, i, h*depth+d) * k.at(b, j, g*depth+d)
				}
				x *= float64(a.Scale)
				if mask != nil {
					x += mask.at(b, h, i, j)
				}
				scores[j] = math.Exp(x)
				if a.Causal && j > i {
					scores[j] = 0
				}
				total += scores[j]
			}
			for d := range valueDepth {
				x := 0.0
				for j := range scores {
					x += scores[j] * v.at(b, j, g*valueDepth+d)
				}
				s.want[((b*queries+i)*a.Heads+h)*valueDepth+d] = x / total
			}
		})
		return s
	},
	ir.LayerNorm: makeRowNorm, ir.RMSNorm: makeRowNorm,
	ir.GroupNorm: func(t testing.TB, r *random) *sample {
		s := &sample{scale: 2}
		a := &s.op.Attrs
		a.Groups, a.Epsilon = r.between(1, 4), 1e-5
		s.shape = ir.Shape{r.between(1, 2), a.Groups * r.between(1, 3), r.between(1, 100), r.between(2, 100)}
		x := s.add(t, r, ir.Contiguous, dtype.F32, 1, s.shape...)
		weight, bias := s.scales(t, r, s.shape[1])
		n := s.shape.Elems() / s.shape[0] / a.Groups
		for from := 0; from < len(x.data); from += n {
			for i, v := range refNormal(x.data[from:][:n], 1e-5, true) {
				channel := (from + i) / (s.shape[2] * s.shape[3]) % s.shape[1]
				s.want = append(s.want, v*weight(channel)+bias(channel))
			}
		}
		return s
	},
	ir.Embedding: func(t testing.TB, r *random) *sample {
		rows, k := r.between(1, 50), r.between(1, 1500)
		s := &sample{shape: ir.Shape{r.between(1, 3), r.between(1, 20), k}}
		ids := make([]byte, 4*s.shape[0]*s.shape[1])
		var at []int
		for i := range len(ids) / 4 {
			at = append(at, r.IntN(rows))
			ids[4*i] = byte(at[i])
		}
		s.in = append(s.in, device.Tensor{Buffer: r.buffer(t, ids), DType: dtype.I32, Shape: s.shape[:2], Strides: s.shape[:2].Strides()})
		s.arr = append(s.arr, nil)
		table := s.add(t, r, ir.Contiguous, r.weight(), 1, rows, k)
		for _, row := range at {
			s.want = append(s.want, table.data[row*k:][:k]...)
		}
		return s
	},
	ir.Rope: func(t testing.TB, r *random) *sample {
		s := &sample{scale: 1}
		a := &s.op.Attrs
		a.Heads, a.Interleaved = r.between(1, 4), r.IntN(2) == 0
		half := r.between(1, 70)
		s.shape = ir.Shape{r.between(1, 3), r.between(1, 20), a.Heads * half * 2}
		x := s.add(t, r, ir.Rows, dtype.F32, 1, s.shape...)
		table := []int{s.shape[1], half}
		if r.IntN(2) == 0 {
			table = []int{s.shape[0], s.shape[1], half}
		}
		cos := s.add(t, r, ir.Contiguous, dtype.F32, 1, table...)
		sin := s.add(t, r, ir.Contiguous, dtype.F32, 1, table...)
		each(s.shape, func(i []int) {
			head, f := i[2]/(2*half), i[2]%(2*half)
			first, second, pair, upper := head*2*half+f%half, head*2*half+f%half+half, f%half, f >= half
			if a.Interleaved {
				first, second, pair, upper = head*2*half+f/2*2, head*2*half+f/2*2+1, f/2, f%2 == 1
			}
			p, q, c, s2 := x.at(i[0], i[1], first), x.at(i[0], i[1], second), cos.at(i[0], i[1], pair), sin.at(i[0], i[1], pair)
			if upper {
				s.want = append(s.want, p*s2+q*c)
			} else {
				s.want = append(s.want, p*c-q*s2)
			}
		})
		return s
	},
	ir.Softmax: func(t testing.TB, r *random) *sample {
		s := &sample{shape: r.shape(3, 2500)}
		x := s.add(t, r, ir.Rows, dtype.F32, 4, s.shape...)
		n := s.shape[len(s.shape)-1]
		for from := 0; from < len(x.data); from += n {
			total := 0.0
			for _, v := range x.data[from:][:n] {
				total += math.Exp(v)
			}
			for _, v := range x.data[from:][:n] {
				s.want = append(s.want, math.Exp(v)/total)
			}
		}
		return s
	},
	ir.Rotate: func(t testing.TB, r *random) *sample {
		group := one(r, 4, 16, 64, 256, 1024)
		s := &sample{shape: append(r.shape(2, 20), group*r.between(1, 5))}
		s.op.Attrs.Dim = group
		x := s.add(t, r, ir.Rows, dtype.F32, 1, s.shape...)
		s.scale = 4
		four := [4][4]float64{{1, 1, 1, -1}, {1, 1, -1, 1}, {1, -1, 1, 1}, {-1, 1, 1, 1}}
		for i := range x.data {
			var sum float64
			for j, v := range x.data[i/group*group:][:group] {
				for n, a, b := group, i%group, j; n > 1; n, a, b = n/4, a/4, b/4 {
					v *= four[a%4][b%4] / 2
				}
				sum += v
			}
			s.want = append(s.want, sum)
		}
		return s
	},
	ir.Sinusoid: func(t testing.TB, r *random) *sample {
		half := r.between(1, 600)
		s := &sample{shape: ir.Shape{r.between(1, 4), 2 * half}}
		s.op.Attrs.Dim, s.op.Attrs.MaxPeriod = 2*half, 10000
		x := s.add(t, r, ir.Contiguous, dtype.F32, 3, s.shape[0])
		s.scale = 2
		each(s.shape, func(i []int) {
			angle := x.at(i[0]) * math.Exp(-math.Log(10000)*float64(i[1]%half)/float64(half))
			if i[1] < half {
				s.want = append(s.want, math.Cos(angle))
			} else {
				s.want = append(s.want, math.Sin(angle))
			}
		})
		return s
	},
	ir.Concat: func(t testing.TB, r *random) *sample {
		s := &sample{shape: r.shape(4, 300)}
		axis := r.IntN(len(s.shape))
		s.op.Attrs.Axis = axis
		s.shape[axis] = 0
		var starts []int
		for range r.between(1, 4) {
			shape := slices.Clone(s.shape)
			shape[axis] = r.between(1, 9)
			starts = append(starts, s.shape[axis])
			s.shape[axis] += shape[axis]
			s.add(t, r, ir.Strided, dtype.F32, 1, shape...)
		}
		each(s.shape, func(index []int) {
			part := len(starts) - 1
			for starts[part] > index[axis] {
				part--
			}
			at := slices.Clone(index)
			at[axis] -= starts[part]
			s.want = append(s.want, s.arr[part].at(at...))
		})
		return s
	},
	ir.Pad: func(t testing.TB, r *random) *sample {
		s := &sample{}
		a := &s.op.Attrs
		a.PadMode = ir.PadMode(r.IntN(3))
		from := r.shape(4, 1200)
		for _, n := range from {
			most := 5
			if a.PadMode == ir.PadReflect {
				most = min(most, n-1)
			}
			a.PadBefore, a.PadAfter = append(a.PadBefore, r.IntN(most+1)), append(a.PadAfter, r.IntN(most+1))
			s.shape = append(s.shape, n+a.PadBefore[len(a.PadBefore)-1]+a.PadAfter[len(a.PadAfter)-1])
		}
		x := s.add(t, r, ir.Contiguous, dtype.F32, 1, from...)
		each(s.shape, func(index []int) {
			at, inside := slices.Clone(index), true
			for i, n := range from {
				at[i] -= a.PadBefore[i]
				if at[i] >= 0 && at[i] < n {
					continue
				}
				switch a.PadMode {
				case ir.PadZero:
					inside = false
				case ir.PadEdge:
					at[i] = min(max(at[i], 0), n-1)
				case ir.PadReflect:
					for at[i] < 0 || at[i] >= n {
						if at[i] < 0 {
							at[i] = -at[i]
						} else {
							at[i] = 2*(n-1) - at[i]
						}
					}
				}
			}
			if inside {
				s.want = append(s.want, x.at(at...))
			} else {
				s.want = append(s.want, 0)
			}
		})
		return s
	},
	ir.Resample: makeResample,
	ir.Reduce: func(t testing.TB, r *random) *sample {
		s := &sample{shape: r.shape(4, 1200)}
		a := &s.op.Attrs
		a.Reduction = ir.Reduction(r.IntN(3))
		x := s.add(t, r, ir.Contiguous, dtype.F32, 1, s.shape...)
		s.shape = slices.Clone(s.shape)
		n := 1
		for i := range s.shape {
			if r.IntN(2) == 0 {
				a.Axes = append(a.Axes, i)
				n *= s.shape[i]
				s.shape[i] = 1
			}
		}
		s.want = make([]float64, s.shape.Elems())
		s.scale = math.Sqrt(float64(n))
		if a.Reduction == ir.Maximum {
			for i := range s.want {
				s.want[i] = math.Inf(-1)
			}
		}
		strides := s.shape.Strides()
		i := 0
		each(x.shape, func(index []int) {
			off := 0
			for d, j := range index {
				if s.shape[d] > 1 {
					off += j * strides[d]
				}
			}
			if a.Reduction == ir.Maximum {
				s.want[off] = max(s.want[off], x.data[i])
			} else {
				s.want[off] += x.data[i]
			}
			i++
		})
		if a.Reduction == ir.Mean {
			for i := range s.want {
				s.want[i] /= float64(n)
			}
		}
		return s
	},
}

// shape returns a shape of at most rank dimensions, the last at most last.
func (r *random) shape(rank, last int) ir.Shape {
	s := ir.Shape{r.between(1, last)}
	for range r.IntN(rank) {
		s = append(ir.Shape{r.between(1, 9)}, s...)
	}
	if r.IntN(4) == 0 {
		s[len(s)-1] = r.between(1, 4)
	}
	return s
}

// scales adds a weight and a bias of n elements to a norm, or not.
func (s *sample) scales(t testing.TB, r *random, n int) (weight, bias func(i int) float64) {
	weight, bias = func(int) float64 { return 1 }, func(int) float64 { return 0 }
	if s.op.Attrs.HasWeight = r.IntN(2) == 0; s.op.Attrs.HasWeight {
		w := s.add(t, r, ir.Contiguous, r.weight(), 1, n)
		weight = func(i int) float64 { return w.data[i] }
	}
	if s.op.Kind == ir.RMSNorm {
		return
	}
	if s.op.Attrs.HasBias = r.IntN(2) == 0; s.op.Attrs.HasBias {
		b := s.add(t, r, ir.Contiguous, r.weight(), 1, n)
		bias = func(i int) float64 { return b.data[i] }
	}
	return
}

func refNormal(x []float64, epsilon float64, center bool) []float64 {
	mean, square := 0.0, 0.0
	if center {
		for _, v := range x {
			mean += v / float64(len(x))
		}
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) / math.Sqrt(square+epsilon)
	}
	return y
}

func makeRowNorm(t testing.TB, r *random) *sample {
	s := &sample{shape: r.shape(3, 2500), scale: 2}
	s.op.Kind = one(r, ir.LayerNorm, ir.RMSNorm)
	s.op.Attrs.Epsilon = 1e-5
	x := s.add(t, r, ir.Rows, dtype.F32, 1, s.shape...)
	n := s.shape[len(s.shape)-1]
	weight, bias := s.scales(t, r, n)
	for from := 0; from < len(x.data); from += n {
		for i, v := range refNormal(x.data[from:][:n], float64(s.op.Attrs.Epsilon), s.op.Kind == ir.LayerNorm) {
			s.want = append(s.want, v*weight(i)+bias(i))
		}
	}
	return s
}

func makeConv(t testing.TB, r *random) *sample {
	s := &sample{}
	a := &s.op.Attrs
	dims := r.between(1, 3)
	a.Groups = one(r, 1, 1, 2, 3)
	in, perGroup := r.between(1, 20), r.between(1, 20)
	if r.IntN(4) == 0 {
		in = r.between(60, 150)
	}
	if dims == 1 && r.IntN(2) == 0 {
		perGroup = 150
	}
	xShape, wShape := []int{r.between(1, 2), in * a.Groups}, []int{perGroup * a.Groups, in}
	s.shape = ir.Shape{xShape[0], wShape[0]}
	plain := r.IntN(5) == 0 // a pointwise convolution
	for range dims {
		size, window := r.between(1, []int{0, 400, 20, 7}[dims]), r.between(1, 4)
		stride, dilation, before, after := r.between(1, 3), r.between(1, 2), r.IntN(4), r.IntN(4)
		if plain {
			window, stride, before, after = 1, 1, 0, 0
		}
		reach := (window-1)*dilation + 1
		if size+before+after < reach {
			after = reach - size - before
		}
		a.Stride, a.Dilation = append(a.Stride, stride), append(a.Dilation, dilation)
		a.PadBefore, a.PadAfter = append(a.PadBefore, before), append(a.PadAfter, after)
		xShape, wShape = append(xShape, size), append(wShape, window)
		s.shape = append(s.shape, (size+before+after-reach)/stride+1)
	}
	x := s.add(t, r, ir.Contiguous, one(r, dtype.F32, dtype.F32, dtype.F16), 1, xShape...)
	w := s.add(t, r, ir.Contiguous, r.weight(), 1, wShape...)
	s.scale = math.Sqrt(float64(ir.Shape(wShape[1:]).Elems()))
	var bias *array
	if a.HasBias = r.IntN(2) == 0; a.HasBias {
		bias = s.add(t, r, ir.Contiguous, r.weight(), 1, wShape[0])
	}
	xi, wi := make([]int, dims+2), make([]int, dims+2)
	each(s.shape, func(o []int) {
		sum := 0.0
		each(wShape[1:], func(k []int) {
			xi[0], xi[1] = o[0], o[1]/perGroup*in+k[0]
			wi[0], wi[1] = o[1], k[0]
			for d := range dims {
				wi[2+d] = k[1+d]
				xi[2+d] = o[2+d]*a.Stride[d] + k[1+d]*a.Dilation[d] - a.PadBefore[d]
				if xi[2+d] < 0 || xi[2+d] >= xShape[2+d] {
					return
				}
			}
			sum += x.at(xi...) * w.at(wi...)
		})
		if bias != nil {
			sum += bias.data[o[1]]
		}
		s.want = append(s.want, sum)
	})
	return s
}

func makeResample(t testing.TB, r *random) *sample {
	s := &sample{scale: 1}
	a := &s.op.Attrs
	a.Mode = ir.ResampleMode(r.IntN(4))
	dims := r.between(1, 3)
	from := []int{r.between(1, 2), r.between(1, 3)}
	s.shape = slices.Clone(from)
	for range dims {
		n := r.between(1, 12)
		// Sizes whose ratio is a power of two have exact coordinates in float32.
		size := one(r, n, 2*n, 4*n)
		if n%2 == 0 {
			size = one(r, size, n/2)
		}
		from, s.shape, a.Size = append(from, n), append(s.shape, size), append(a.Size, size)
	}
	x := s.add(t, r, ir.Contiguous, dtype.F32, 1, from...)
	each(s.shape, func(o []int) {
		// The taps of each dimension.
		at, sum := slices.Clone(o), 0.0
		var visit func(d int, weight float64)
		visit = func(d int, weight float64) {
			if d == len(from) {
				sum += weight * x.at(at...)
				return
			}
			n, ratio := from[d], float64(from[d])/float64(s.shape[d])
			tap := func(i int, w float64) {
				at[d] = min(max(i, 0), n-1)
				visit(d+1, weight*w)
			}
			center := (float64(o[d])+0.5)*ratio - 0.5
			switch a.Mode {
			case ir.Nearest:
				tap(int(float64(o[d])*ratio), 1)
			case ir.NearestExact:
				tap(int((float64(o[d])+0.5)*ratio), 1)
			case ir.Bilinear:
				first := math.Floor(center)
				tap(int(first), 1-(center-first))
				tap(int(first)+1, center-first)
			case ir.Bicubic:
				first := int(math.Floor(center))
				for i := first - 1; i <= first+2; i++ {
					const a = -0.75
					u := math.Abs(center - float64(i))
					if u <= 1 {
						tap(i, (a+2)*u*u*u-(a+3)*u*u+1)
					} else {
						tap(i, a*u*u*u-5*a*u*u+8*a*u-4*a)
					}
				}
			}
		}
		visit(2, 1)
		s.want = append(s.want, sum)
	})
	return s
}

// execute runs a sample on a device and returns the output.
func (s *sample) execute(t testing.TB, r *random) []float32 {
	t.Helper()
	out := newOutput(t, r.d, s.shape)
	err := r.d.Run(t.Context(), &s.op, device.Args{Out: out, In: s.in}).Wait(t.Context())
	if err != nil {
		t.Fatalf("%v: %v", s.op, err)
	}
	return contents(t, r.d, out)
}

// newOutput returns an output full of NaNs.
func newOutput(t testing.TB, d *Device, shape ir.Shape) device.Tensor {
	t.Helper()
	raw := make([]byte, 4*shape.Elems())
	for i := range raw {
		raw[i] = 0xff
	}
	b, err := d.Alloc(int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Free(b) })
	if err := d.Upload(t.Context(), b, 0, raw).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return device.Tensor{Buffer: b, DType: dtype.F32, Shape: shape, Strides: shape.Strides()}
}

func contents(t testing.TB, d *Device, x device.Tensor) []float32 {
	t.Helper()
	raw := make([]byte, 4*x.Shape.Elems())
	if err := d.Download(t.Context(), raw, x.Buffer, x.Offset).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := make([]float32, len(raw)/4)
	dtype.ToF32(f, raw, dtype.F32)
	return f
}

// compare fails the test when an element is further from what it should be
// than rounding explains.
func (s *sample) compare(got []float32) error {
	for i, want := range s.want {
		size := math.Abs(want) + s.scale + 0.1
		if diff := math.Abs(float64(got[i]) - want); !(diff <= 2e-5*size) {
			return fmt.Errorf("%v %+v %v: element %d of %v is %v, want %v", s.op.Kind, s.op.Attrs, s.op.Steps, i, s.shape, got[i], want)
		}
	}
	return nil
}

func newSample(t testing.TB, r *random, kind ir.Kind, steps int) *sample {
	s := makers[kind](t, r)
	if s.op.Kind == 0 {
		s.op.Kind = kind
	}
	s.op.Name = "sample"
	s.steps(t, r, steps)
	return s
}

// TestRandom compares random operations with straightforward ones in double
// precision.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for kind := range makers {
		t.Run(kind.String(), func(t *testing.T) {
			for _, vram := range []int64{0, 1 << 30} {
				r := &random{rand.New(rand.NewPCG(seed, uint64(vram))), New(Options{Threads: 2, VRAM: vram})}
				defer r.d.Close()
				for i := range 20 {
					s := newSample(t, r, kind, 3)
					if err := s.compare(s.execute(t, r)); err != nil {
						t.Fatalf("seed %d, sample %d: %v", seed, i, err)
					}
				}
			}
		})
	}
}

// TestQuantizedOperandErrors gives operands that do not lie in their blocks.
func TestQuantizedOperandErrors(t *testing.T) {
	d := New(Options{})
	defer d.Close()
	b, err := d.Map(make([]byte, 2*34)) // two blocks of Q8_0
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		offset     int64
		skip, rows int
		want       string
	}{
		{0, 0, 2, ""},
		{0, 31, 1, ""},
		{0, 1, 2, "bytes 0 to 102 lie outside of a buffer of 68 bytes"},
		{34, 0, 2, "bytes 34 to 102 lie outside of a buffer of 68 bytes"},
		{0, 32, 1, "begins at element 32 of a block of 32 elements of Q8_0"},
		{0, -1, 1, "begins at element -1 of a block"},
	} {
		shape := ir.Shape{c.rows, 32}
		x := device.Tensor{Name: "w", Buffer: b, Offset: c.offset, Skip: c.skip, DType: dtype.Q8_0, Shape: shape, Strides: shape.Strides()}
		err := d.Run(t.Context(), &ir.Op{Kind: ir.Elementwise}, device.Args{Out: newOutput(t, d, shape), In: []device.Tensor{x}}).Wait(t.Context())
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: got %v, want an error with %q", c, err, c.want)
		}
	}
}
