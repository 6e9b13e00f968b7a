package plan

import (
	"fmt"
	"math"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// The tests compute graphs twice with the same plain kernels: operation by
// operation with memory of its own for each value, and as a Program in one
// arena. Kernels round to float32 after the operation and after each step, so
// that fusion changes no bit and results can be compared exactly.

// A cells is memory: a word for each element of 4 bytes.
type cells []uint32

// A tensor is a window on cells, for kernels to read and write.
type tensor struct {
	data    cells
	offset  int
	dt      dtype.DType // F32 or I32
	shape   ir.Shape
	strides []int
}

func newTensor(dt dtype.DType, shape ir.Shape) tensor {
	return tensor{data: make(cells, shape.Elems()), dt: dt, shape: shape, strides: shape.Strides()}
}

// place returns where the element at an index is, which may be an index into a
// shape that the tensor is broadcast to.
func (t tensor) place(idx []int) int {
	p, skip := t.offset, len(idx)-len(t.shape)
	for d, n := range t.shape {
		if n > 1 {
			p += idx[skip+d] * t.strides[d]
		}
	}
	return p
}

func (t tensor) at(idx ...int) float64 {
	word := t.data[t.place(idx)]
	if t.dt == dtype.I32 {
		return float64(int32(word))
	}
	return float64(math.Float32frombits(word))
}

func (t tensor) set(v float64, idx ...int) {
	if t.dt == dtype.I32 {
		t.data[t.place(idx)] = uint32(int32(v))
		return
	}
	t.data[t.place(idx)] = math.Float32bits(float32(v))
}

// each calls f for every index of a shape. The slice is reused.
func each(shape ir.Shape, f func(idx []int)) {
	idx := make([]int, len(shape))
	for range shape.Elems() {
		f(idx)
		for d := len(idx) - 1; d >= 0; d-- {
			if idx[d]++; idx[d] < shape[d] {
				break
			}
			idx[d] = 0
		}
	}
}

// compute runs one operation, views included. Elementwise works element by
// element and norms row by row or group by group, reading what they need before they write, as
// kernels must that may write over their input; the others write while they
// still read.
func compute(op *ir.Op, out tensor, in []tensor) {
	a := &op.Attrs
	x := in[0]
	store := func(v float64, idx ...int) {
		v = float64(float32(v))
		for _, s := range op.Steps {
			var y float64
			if s.Func.Binary() {
				y = in[s.Operand].at(idx...)
			}
			v = float64(float32(stepValue(s, v, y)))
		}
		out.set(v, idx...)
	}
	operand := func(has bool, i int) func(c int, absent float64) float64 {
		return func(c int, absent float64) float64 {
			if !has {
				return absent
			}
			return in[i].at(c)
		}
	}
	afterWeight := 1 // operand that is the bias of a norm
	if a.HasWeight {
		afterWeight = 2
	}
	switch op.Kind {
	case ir.Elementwise:
		each(out.shape, func(idx []int) { store(x.at(idx...), idx...) })
	case ir.Linear:
		bias, last := operand(a.HasBias, 2), len(out.shape)-1
		each(out.shape, func(idx []int) {
			n := idx[last]
			if row, ok := tileRow(a, n); ok {
				xi := append([]int{}, idx...)
				var sum float64
				for k := range x.shape[last] {
					xi[last] = k
					sum += x.at(xi...) * in[1].at(row, k)
				}
				store(sum+bias(n, 0), idx...)
			}
		})
	case ir.Conv:
		computeConv(a, out, in, store)
	case ir.Attention:
		computeAttention(a, out, in, store)
	case ir.LayerNorm, ir.RMSNorm, ir.Softmax:
		computeRows(op, out, x, operand(a.HasWeight, 1), operand(a.HasBias, afterWeight), store)
	case ir.GroupNorm:
		computeGroupNorm(a, out, x, operand(a.HasWeight, 1), operand(a.HasBias, afterWeight), store)
	case ir.Embedding:
		each(out.shape, func(idx []int) {
			if row, ok := tileRow(a, int(x.at(idx[:len(idx)-1]...))); ok {
				store(in[1].at(row, idx[len(idx)-1]), idx...)
			}
		})
	case ir.Rope:
		half := x.shape[2] / a.Heads / 2
		each(out.shape, func(idx []int) {
			b, s, head, i := idx[0], idx[1], idx[2]/(2*half)*2*half, idx[2]%(2*half)
			pair, first, second := i%half, i%half, i%half+half
			if a.Interleaved {
				pair, first, second = i/2, i/2*2, i/2*2+1
			}
			cos, sin := in[1].at(b, s, pair), in[2].at(b, s, pair)
			v := x.at(b, s, head+first)*cos - x.at(b, s, head+second)*sin
			if i == second {
				v = x.at(b, s, head+second)*cos + x.at(b, s, head+first)*sin
			}
			store(v, idx...)
		})
	case ir.Rotate:
		computeRotation(a.Dim, out, x, store)
	case ir.Sinusoid:
		half := a.Dim / 2
		each(out.shape, func(idx []int) {
			angle := x.at(idx[0]) * math.Exp(-math.Log(float64(a.MaxPeriod))*float64(idx[1]%half)/float64(half))
			if idx[1] < half {
				store(math.Cos(angle), idx...)
			} else {
				store(math.Sin(angle), idx...)
			}
		})
	case ir.Concat:
		n := len(in)
		for i := range in {
			if isStepOperand(op.Steps, i) {
				n = min(n, i)
			}
		}
		start := 0
		for _, part := range in[:n] {
			each(part.shape, func(idx []int) {
				v := part.at(idx...)
				to := append([]int{}, idx...)
				to[a.Axis] += start
				store(v, to...)
			})
			start += part.shape[a.Axis]
		}
	case ir.Pad:
		each(out.shape, func(idx []int) {
			from, inside := make([]int, len(idx)), true
			for d, i := range idx {
				i -= a.PadBefore[d]
				n := x.shape[d]
				inside = inside && i >= 0 && i < n
				switch {
				case a.PadMode == ir.PadReflect && i < 0:
					i = -i
				case a.PadMode == ir.PadReflect && i >= n:
					i = 2*n - 2 - i
				}
				from[d] = min(max(i, 0), n-1)
			}
			if a.PadMode == ir.PadZero && !inside {
				store(0, idx...)
			} else {
				store(x.at(from...), idx...)
			}
		})
	case ir.Resample:
		// One mode stands for all: they differ in arithmetic, not in what is
		// read and written.
		each(out.shape, func(idx []int) {
			from := append([]int{}, idx...)
			for d := len(idx) - len(a.Size); d < len(idx); d++ {
				from[d] = idx[d] * x.shape[d] / out.shape[d]
			}
			store(x.at(from...)+float64(a.Mode), idx...)
		})
	case ir.Reduce:
		each(out.shape, func(idx []int) {
			span := make(ir.Shape, len(x.shape))
			for d := range span {
				span[d] = 1
			}
			for _, d := range a.Axes {
				span[d] = x.shape[d]
			}
			sum, most := 0.0, math.Inf(-1)
			each(span, func(off []int) {
				from := append([]int{}, idx...)
				for d := range from {
					from[d] += off[d]
				}
				sum += x.at(from...)
				most = max(most, x.at(from...))
			})
			store([]float64{sum, sum / float64(span.Elems()), most}[a.Reduction], idx...)
		})
	case ir.Reshape:
		i, strides := 0, out.shape.Strides()
		each(x.shape, func(idx []int) {
			to := make([]int, len(strides))
			for d, s := range strides {
				to[d] = i / s % out.shape[d]
			}
			store(x.at(idx...), to...)
			i++
		})
	case ir.Permute:
		each(out.shape, func(idx []int) {
			from := make([]int, len(idx))
			for d, axis := range a.Axes {
				from[axis] = idx[d]
			}
			store(x.at(from...), idx...)
		})
	case ir.Slice:
		each(out.shape, func(idx []int) {
			from := append([]int{}, idx...)
			from[a.Axis] += a.From
			store(x.at(from...), idx...)
		})
	case ir.Expand:
		each(out.shape, func(idx []int) { store(x.at(idx...), idx...) })
	default:
		panic(fmt.Sprintf("no kernel for %s", op.Kind))
	}
}

// tileRow returns which row of the given tile row n of the weight is.
func tileRow(a *ir.Attrs, n int) (int, bool) {
	if a.RowTo == 0 {
		return n, true
	}
	return n - a.RowFrom, n >= a.RowFrom && n < a.RowTo
}

func computeConv(a *ir.Attrs, out tensor, in []tensor, store func(float64, ...int)) {
	x, w := in[0], in[1]
	outPerGroup := out.shape[1] / a.Groups
	each(out.shape, func(idx []int) {
		row, ok := tileRow(a, idx[1])
		if !ok {
			return
		}
		var sum float64
		each(w.shape[1:], func(k []int) {
			from := []int{idx[0], idx[1]/outPerGroup*w.shape[1] + k[0]}
			for d := range a.Stride {
				i := idx[2+d]*a.Stride[d] + k[1+d]*a.Dilation[d] - a.PadBefore[d]
				if i < 0 || i >= x.shape[2+d] {
					return
				}
				from = append(from, i)
			}
			sum += x.at(from...) * w.at(append([]int{row}, k...)...)
		})
		if a.HasBias {
			sum += in[2].at(idx[1])
		}
		store(sum, idx...)
	})
}

func computeAttention(a *ir.Attrs, out tensor, in []tensor, store func(float64, ...int)) {
	q, k, v := in[0], in[1], in[2]
	keys, d, dv := k.shape[1], q.shape[2]/a.Heads, out.shape[2]/a.Heads
	each(out.shape, func(idx []int) {
		b, i, h := idx[0], idx[1], idx[2]/dv
		group := h * a.KVHeads / a.Heads
		var sum, total float64
		for j := range keys {
			if a.Causal && j > i {
				break
			}
			var score float64
			for c := range d {
				score += q.at(b, i, h*d+c) * k.at(b, j, group*d+c)
			}
			score *= float64(a.Scale)
			if a.HasMask {
				score += in[3].at(b, h, i, j)
			}
			sum += math.Exp(score) * v.at(b, j, group*dv+idx[2]%dv)
			total += math.Exp(score)
		}
		store(sum/total, idx...)
	})
}

func computeRows(op *ir.Op, out, x tensor, weight, bias func(int, float64) float64, store func(float64, ...int)) {
	last := len(x.shape) - 1
	n := x.shape[last]
	each(x.shape[:last], func(at []int) {
		row := make([]float64, n)
		idx := append(append([]int{}, at...), 0)
		var sum, squares, exps float64
		for i := range row {
			idx[last] = i
			row[i] = x.at(idx...)
			sum += row[i]
			squares += row[i] * row[i]
			exps += math.Exp(row[i])
		}
		mean := sum / float64(n)
		for i, v := range row {
			idx[last] = i
			switch op.Kind {
			case ir.Softmax:
				v = math.Exp(v) / exps
			case ir.RMSNorm:
				v = v / math.Sqrt(squares/float64(n)+float64(op.Attrs.Epsilon)) * weight(i, 1)
			default:
				v = (v-mean)/math.Sqrt(squares/float64(n)-mean*mean+float64(op.Attrs.Epsilon))*weight(i, 1) + bias(i, 0)
			}
			store(v, idx...)
		}
	})
}

// computeRotation multiplies by the matrix of package hadamard, element by
// element. A row is read before it is stored, which may be at its place.
func computeRotation(group int, out, x tensor, store func(float64, ...int)) {
	four := [4][4]float64{{1, 1, 1, -1}, {1, 1, -1, 1}, {1, -1, 1, 1}, {-1, 1, 1, 1}}
	last := len(out.shape) - 1
	row := make([]float64, out.shape[last])
	each(out.shape[:last], func(at []int) {
		idx := append(append([]int{}, at...), 0)
		for i := range row {
			idx[last] = i
			row[i] = x.at(idx...)
		}
		for i := range row {
			var sum float64
			for j, v := range row[i/group*group:][:group] {
				for n, a, b := group, i%group, j; n > 1; n, a, b = n/4, a/4, b/4 {
					v *= four[a%4][b%4] / 2
				}
				sum += v
			}
			idx[last] = i
			store(sum, idx...)
		}
	})
}

func computeGroupNorm(a *ir.Attrs, out, x tensor, weight, bias func(int, float64) float64, store func(float64, ...int)) {
	channels := x.shape[1] / a.Groups
	group := append(ir.Shape{channels}, x.shape[2:]...)
	each(ir.Shape{x.shape[0], a.Groups}, func(at []int) {
		index := func(off []int) []int { return append([]int{at[0], at[1]*channels + off[0]}, off[1:]...) }
		var sum, squares, n float64
		each(group, func(off []int) {
			v := x.at(index(off)...)
			sum, squares, n = sum+v, squares+v*v, n+1
		})
		mean := sum / n
		each(group, func(off []int) {
			idx := index(off)
			store((x.at(idx...)-mean)/math.Sqrt(squares/n-mean*mean+float64(a.Epsilon))*weight(idx[1], 1)+bias(idx[1], 0), idx...)
		})
	})
}

func stepValue(s ir.Step, x, y float64) float64 {
	a, b := float64(s.A), float64(s.B)
	switch s.Func {
	case ir.Affine:
		return a*x + b
	case ir.SiLU:
		return x / (1 + math.Exp(-x))
	case ir.GELU:
		return x * 0.5 * (1 + math.Erf(x/math.Sqrt2))
	case ir.GELUTanh:
		return x * 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
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
	panic(fmt.Sprintf("no function %s", s.Func))
}

// A checkpoint is the stored bytes of weights by name.
type checkpoint map[string][]byte

// decode returns stored blocks of elements as float32 in cells.
func decode(src []byte, dt dtype.DType) cells {
	elems, size := dt.Block()
	n := len(src) / size * elems
	values := make([]float32, n)
	dtype.ToF32(values, src, dt)
	words := make(cells, n)
	for i, v := range values {
		words[i] = math.Float32bits(v)
	}
	return words
}

// evaluate computes a graph with memory of its own for each value.
func evaluate(g *ir.Graph, weights checkpoint, inputs map[string]cells) map[string]cells {
	values := make([]tensor, len(g.Values))
	for v, info := range g.Values[1:] {
		t := newTensor(dtype.F32, info.Shape)
		switch info.Kind {
		case ir.Weight:
			t.data = decode(weights[info.Name], info.DType)
		case ir.Input:
			t.dt, t.data = info.DType, inputs[info.Name]
		}
		values[v+1] = t
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		var in []tensor
		for _, v := range op.In {
			in = append(in, values[v])
		}
		if op.Kind.IsView() {
			values[op.Out].dt = in[0].dt
		}
		compute(op, values[op.Out], in)
	}
	results := map[string]cells{}
	for _, out := range g.Outputs {
		results[out.Name] = values[out.Value].data
	}
	return results
}

// execute runs a program in one arena whose contents are undefined.
func execute(p *Program, weights checkpoint, inputs map[string]cells) map[string]cells {
	memory := make(cells, p.Arena/4)
	for i := range memory {
		memory[i] = 0x7fc00000 // not a number
	}
	for _, b := range p.Inputs {
		copy(memory[b.Offset/4:], inputs[b.Name])
	}
	for i := range p.Ops {
		op := &p.Ops[i]
		var in []tensor
		for _, arg := range op.Args {
			in = append(in, p.tensor(arg, memory, weights))
		}
		compute(&op.Op, p.tensor(op.Out, memory, weights), in)
	}
	results := map[string]cells{}
	for _, b := range p.Outputs {
		results[b.Name] = memory[b.Offset/4:][:b.Shape.Elems()]
	}
	return results
}

// tensor returns what an operand looks at.
func (p *Program) tensor(o Operand, memory cells, weights checkpoint) tensor {
	if o.Extent < 0 {
		return tensor{memory, int(o.Offset / 4), o.DType, o.Shape, o.Strides}
	}
	part := p.Extents[o.Extent].Parts[o.Part]
	stored := weights[part.Weight][part.From:][:part.Bytes]
	return tensor{decode(stored[o.Offset:o.end()], o.DType), o.Skip, dtype.F32, o.Shape, o.Strides}
}
