package synth

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"strings"
	"sync"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/weights"
)

// Write writes a checkpoint with random weights to path, in the floating-point
// type dt. Matrices and kernels are normally distributed with a standard
// deviation of 0.5/√(inputs), which keeps activations within float16; the
// weights of norms are 1 and biases 0. Equal seeds give equal files, and a
// tensor is the same in whatever list it stands. Nothing is at path when Write
// fails or ctx ends.
func Write(ctx context.Context, path string, tensors []Tensor, dt dtype.DType, seed uint64) error {
	if !dt.IsFloat() {
		return fmt.Errorf("writing %s: weights of dtype %v cannot be random: expected a floating-point type such as F16", path, dt)
	}
	out := make([]weights.Tensor, len(tensors))
	for i, t := range tensors {
		out[i] = weights.Tensor{Name: t.Name, DType: dt, Shape: t.Shape, Write: func(w io.Writer) error {
			return t.write(w, dt, seed)
		}}
	}
	return weights.Write(ctx, path, map[string]string{"weir.synthetic": fmt.Sprint("random weights, seed ", seed)}, out)
}

// quantiles is the resolution of the normal distribution, a power of two.
const quantiles = 1 << 14

// normal returns the quantiles of the standard normal distribution: one of
// them at random is a sample of it.
var normal = sync.OnceValue(func() []float32 {
	q := make([]float32, quantiles)
	for i := range q {
		q[i] = float32(math.Sqrt2 * math.Erfinv((2*float64(i)+1)/quantiles-1))
	}
	return q
})

// write writes the elements of a tensor.
func (t Tensor) write(w io.Writer, dt dtype.DType, seed uint64) error {
	table := make([]float32, quantiles)
	if len(t.Shape) < 2 {
		value := float32(0)
		switch {
		case len(t.Shape) == 0: // the only scalar, logit_scale
			value = float32(math.Log(100))
		case strings.HasSuffix(t.Name, ".weight"), strings.HasSuffix(t.Name, ".running_var"):
			value = 1
		}
		for i := range table {
			table[i] = value
		}
	} else {
		std := 0.5 / math.Sqrt(float64(t.Elements())/float64(t.Shape[0]))
		for i, q := range normal() {
			table[i] = float32(std) * q
		}
	}
	stored := make([]byte, quantiles*dt.Size())
	dtype.FromF32(stored, table, dt)
	return t.fill(w, stored, dt, seed)
}

// writeNumbers writes normally distributed numbers of a standard deviation, in F8
// or as whole numbers.
func (t Tensor) writeNumbers(w io.Writer, dt dtype.DType, deviation float64, seed uint64) error {
	table := make([]float32, quantiles)
	for i, q := range normal() {
		table[i] = float32(deviation) * q
	}
	stored := make([]byte, quantiles*dt.Size())
	if dt == dtype.I8 {
		for i, v := range table {
			stored[i] = byte(int8(max(-127, min(127, math.Round(float64(v))))))
		}
	} else {
		dtype.FromF32(stored, table, dt)
	}
	return t.fill(w, stored, dt, seed)
}

// fill writes random elements of a table.
func (t Tensor) fill(w io.Writer, stored []byte, dt dtype.DType, seed uint64) error {
	h := fnv.New64a()
	io.WriteString(h, t.Name)
	r := random(seed ^ h.Sum64())

	const chunk = 256 << 10 // elements
	buf := make([]byte, int(min(chunk, t.Elements()+3))*dt.Size())
	for left := t.Elements(); left > 0; {
		n := min(left, int64(len(buf)/dt.Size()))
		r.fill(buf, stored, dt.Size())
		if _, err := w.Write(buf[:n*int64(dt.Size())]); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// A random is the generator splitmix64.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	x := uint64(*r)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fill puts random elements of a table, each of size bytes, into p, four from
// each number. The last elements, fewer than four, stay as they are.
func (r *random) fill(p, table []byte, size int) {
	const mask = quantiles - 1
	for ; len(p) >= 4*size; p = p[4*size:] {
		x := r.next()
		a, b, c, d := int(x&mask), int(x>>16&mask), int(x>>32&mask), int(x>>48&mask)
		switch size {
		case 1:
			p[0], p[1], p[2], p[3] = table[a], table[b], table[c], table[d]
		case 2:
			at := func(i int) uint64 { return uint64(binary.LittleEndian.Uint16(table[2*i:])) }
			binary.LittleEndian.PutUint64(p, at(a)|at(b)<<16|at(c)<<32|at(d)<<48)
		default:
			for k, i := range [4]int{a, b, c, d} {
				copy(p[k*size:(k+1)*size], table[i*size:])
			}
		}
	}
}
