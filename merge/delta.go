package merge

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/weights"
)

// A delta is the matrix D that a change adds, before scale and strength, or
// what takes the weight's place. It is had in rows, and may be read by several
// goroutines.
type delta interface {
	// rows writes n rows, from one on, to dst. The weight has these rows now.
	rows(ctx context.Context, r *room, dst, weight []float32, from, n int) error
}

// load reads the factors of a change.
func (c Change) load(ctx context.Context) (delta, error) {
	d, err := c.delta(ctx)
	if err != nil || !c.Transposed {
		return d, err
	}
	m, err := whole(ctx, d)
	return held{m.transposed()}, err
}

// delta reads the factors of a change.
func (c Change) delta(ctx context.Context) (delta, error) {
	switch c.Product {
	case lora.Rotation, lora.Butterfly:
		return c.loadRotation(ctx)
	}
	first, err := loadFactor(ctx, c.Set, c.First)
	if err != nil || c.Product == lora.Single || c.Product == lora.Replacement {
		return first, err
	}
	second, err := loadFactor(ctx, c.Set, c.Second)
	if err != nil {
		return nil, err
	}
	switch c.Product {
	case lora.Hadamard:
		return hadamard{first, second}, nil
	case lora.Generalized:
		return generalized{first, second.(product)}, nil
	}
	return loadKronecker(ctx, first, second)
}

// loadFactor reads a factor. One that is whole is read when its rows are asked
// for: a full difference is as large as the weight.
func loadFactor(ctx context.Context, set *weights.Set, f lora.Factor) (delta, error) {
	if f.Whole != "" {
		ref, ok := set.Lookup(f.Whole)
		if !ok {
			return nil, fmt.Errorf("the LoRA has no tensor %s", f.Whole)
		}
		return stored{ref}, nil
	}
	a, err := loadMatrix(ctx, set, f.A)
	if err != nil {
		return nil, err
	}
	b, err := loadMatrix(ctx, set, f.B)
	if err != nil {
		return nil, err
	}
	if f.Transposed {
		a = a.transposed()
	}
	if f.Core != "" {
		core, err := loadMatrix(ctx, set, f.Core)
		if err != nil {
			return nil, err
		}
		if b, err = tucker(ctx, core, b); err != nil {
			return nil, err
		}
	}
	return product{a, b}, nil
}

// A stored delta is a tensor of the file.
type stored struct{ weights.Ref }

func (s stored) rows(ctx context.Context, r *room, dst, _ []float32, from, n int) error {
	size := s.DType.Size()
	raw := sized(&r.part, len(dst)*size, r.most*size)
	if err := s.ReadAt(ctx, raw, int64(from)*int64(len(dst)/n*size)); err != nil {
		return err
	}
	dtype.ToF32(dst, raw, s.DType)
	return nil
}

// A product is that of two matrices.
type product struct{ a, b matrix }

func (p product) rows(_ context.Context, _ *room, dst, _ []float32, from, n int) error {
	multiply(dst, p.a.values[from*p.a.columns:][:n*p.a.columns], p.b, n)
	return nil
}

// A hadamard is the product of the elements of two deltas.
type hadamard struct{ first, second delta }

func (h hadamard) rows(ctx context.Context, r *room, dst, weight []float32, from, n int) error {
	second := sized(&r.second, len(dst), r.most)
	if err := h.second.rows(ctx, r, second, weight, from, n); err != nil {
		return err
	}
	if err := h.first.rows(ctx, r, dst, weight, from, n); err != nil {
		return err
	}
	for i, v := range second {
		dst[i] *= v
	}
	return nil
}

// A kronecker is the Kronecker product of two matrices.
type kronecker struct{ first, second matrix }

func loadKronecker(ctx context.Context, first, second delta) (delta, error) {
	a, err := whole(ctx, first)
	if err != nil {
		return nil, err
	}
	b, err := whole(ctx, second)
	return kronecker{a, b}, err
}

func (k kronecker) rows(_ context.Context, _ *room, dst, _ []float32, from, n int) error {
	for i := from; i < from+n; i++ {
		row := k.second.row(i % k.second.height())
		for _, x := range k.first.row(i / k.second.height()) {
			for j, v := range row {
				dst[j] = x * v
			}
			dst = dst[len(row):]
		}
	}
	return nil
}

// A held delta is a matrix in memory.
type held struct{ matrix }

func (h held) rows(_ context.Context, _ *room, dst, _ []float32, from, n int) error {
	copy(dst, h.values[from*h.columns:][:n*h.columns])
	return nil
}

// A generalized delta is another one and the product of the weight W[N,K·taps]
// with a matrix of K×K: of each tap of the kernel by itself.
type generalized struct {
	delta
	second product
}

func (g generalized) rows(ctx context.Context, r *room, dst, weight []float32, from, n int) error {
	if err := g.delta.rows(ctx, r, dst, weight, from, n); err != nil {
		return err
	}
	a, b := g.second.a, g.second.b
	k := b.columns
	taps := len(dst) / n / k
	vectors := sized(&r.vectors, 2*k+a.columns, 0)
	row, add, inner := vectors[:k], vectors[k:2*k], vectors[2*k:]
	for i := range n {
		for tap := range taps {
			w, d := weight[i*k*taps+tap:], dst[i*k*taps+tap:]
			for j := range k {
				row[j] = w[j*taps]
			}
			multiply(inner, row, a, 1)
			multiply(add, inner, b, 1)
			for j, v := range add {
				d[j*taps] += v
			}
		}
	}
	return ctx.Err()
}
