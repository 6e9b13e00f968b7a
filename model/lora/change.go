package lora

import (
	"fmt"
	"slices"

	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A Change is an addition to a weight W[N,K,...] that is not a sum of low
// rank, so that it has to be merged into the weight. With the strength s that
// the user gives and D = Scale·(First, First∘Second or First⊗Second) of
// N×(K·...) elements, the weight becomes W + s·D. A DoRA (Liu et al. 2024)
// scales the rows, or the columns, of W + D to the lengths in Magnitude, and
// the weight goes the part s of the way to that.
type Change struct {
	// From and Rows, when Rows > 0, say that the change is on the rows
	// From..From+Rows of W alone.
	From, Rows    int
	Product       Product
	First, Second Factor
	Scale         float32
	// Magnitude, when it is not "", is the tensor of lengths: one for each row,
	// an output of the layer, or with Columns one for each input.
	Magnitude string
	Columns   bool
}

// A Product is what the two factors of a change are joined by.
type Product string

const (
	// Single is that of changes with one factor alone.
	Single Product = ""
	// Hadamard multiplies element by element (LoHa, Hyeon-Woo et al. 2022).
	Hadamard Product = "hadamard"
	// Kronecker puts the second factor, times each element of the first, in
	// that element's place (LoKr, Yeh et al. 2024).
	Kronecker Product = "kronecker"
)

// A Factor is a matrix, by the names of tensors in the LoRA's file: Whole, or
// the product A·B or, with a Core[r,q,...], the sum over r and q of A[N,r],
// Core[r,q,...] and B[q,K], which is N×(K·...). Transposed says that A is
// stored as [r,N]. The first dimension of every tensor is that of its rows, the
// others together are that of its columns.
type Factor struct {
	Whole      string
	A, B, Core string
	Transposed bool
}

// Merged returns the change that does to a weight what an adapter does beside
// it.
func Merged(a nn.Adapter) Change {
	return Change{From: a.From, Rows: a.Rows, First: Factor{A: a.Up, B: a.Down, Core: a.Mid}, Scale: a.Scale}
}

// A kind is what the tensors of a layer are together.
type kind string

const (
	none  kind = ""
	plain kind = "LoRA"
	loha  kind = "LoHa"
	lokr  kind = "LoKr"
)

// kinds are the roles that only one kind has.
var kinds = map[role]kind{
	down: plain, up: plain, mid: plain,
	hada1A: loha, hada1B: loha, hada1Core: loha, hada2A: loha, hada2B: loha, hada2Core: loha,
	lokr1: lokr, lokr1A: lokr, lokr1B: lokr, lokr2: lokr, lokr2A: lokr, lokr2B: lokr, lokr2Core: lokr,
}

// kind returns the kind that the layer's tensors are of. Those that are alone
// what a LoRA has besides its matrices are taken for a plain one's.
func (x layer) kind() (kind, error) {
	of := none
	for r := range x {
		switch f := kinds[r]; {
		case f == none || f == of:
		case of == none:
			of = f
		default:
			return none, fmt.Errorf("the LoRA has tensors of a %s and of a %s for one layer: %s", min(f, of), max(f, of), some(x.tensors()))
		}
	}
	if of == none && (x[diff] == "" && x[diffBias] == "" || x[scale] != "" || x[magnitude] != "") {
		of = plain
	}
	return of, nil
}

// difference returns the change of a full difference of a weight.
func (x layer) difference(l Source, t target, r role) (Change, error) {
	c := Change{From: t.from, Rows: t.rows, First: Factor{Whole: x[r]}, Scale: 1}
	shape, err := x.shape(l, r)
	if err != nil {
		return c, err
	}
	n, k, kernel := t.dims()
	if want := append(ir.Shape{n, k}, kernel...); !trim(shape).Equal(want) {
		return c, x.misfit(r, shape, t, want)
	}
	return c, nil
}

// change returns the layer as a change of a weight that it fits.
func (x layer) change(l Source, t target, of kind) (c Change, err error) {
	rank := 1
	switch of {
	case plain:
		a, err := x.adapter(l, t)
		if err != nil {
			return c, err
		}
		c = Merged(a)
	case loha:
		c, rank, err = x.hadamard(l, t)
	case lokr:
		c, rank, err = x.kronecker(l, t)
	}
	if err != nil {
		return c, err
	}
	if of != plain {
		c.From, c.Rows, c.Scale = t.from, t.rows, 1
		if rank > 0 {
			if c.Scale, err = x.scale(l, rank); err != nil {
				return c, err
			}
		}
	}
	c.Magnitude, c.Columns, err = x.lengths(l, t)
	return c, err
}

// hadamard returns a LoHa, whose factors both have the dimensions of the
// weight, and its rank.
func (x layer) hadamard(l Source, t target) (c Change, rank int, err error) {
	n, k, kernel := t.dims()
	c.Product = Hadamard
	for _, f := range []struct {
		factor     *Factor
		a, b, core role
	}{{&c.First, hada1A, hada1B, hada1Core}, {&c.Second, hada2A, hada2B, hada2Core}} {
		got, rows, columns, r, err := x.product(l, t, f.a, f.b, f.core)
		if err != nil {
			return c, 0, err
		}
		if rows != n || columns != k*kernel.Elems() {
			return c, 0, fmt.Errorf("the tensors %s and %s of the LoRA have a product of %d×%d elements, and the weight %s %v needs %d×%d: the LoRA is for another model",
				x[f.a], x[f.b], rows, columns, t.weight, t.shape, n, k*kernel.Elems())
		}
		*f.factor = got
		if rank == 0 {
			rank = r
		}
	}
	return c, rank, nil
}

// kronecker returns a LoKr and its rank: that of the second factor or, if that
// is whole, of the first; 0 if both are whole, when alpha has no meaning.
func (x layer) kronecker(l Source, t target) (c Change, rank int, err error) {
	c.Product = Kronecker
	first, n1, k1, r1, err := x.factor(l, t, lokr1, lokr1A, lokr1B, "")
	if err != nil {
		return c, 0, err
	}
	second, n2, k2, r2, err := x.factor(l, t, lokr2, lokr2A, lokr2B, lokr2Core)
	if err != nil {
		return c, 0, err
	}
	n, k, kernel := t.dims()
	columns := k * kernel.Elems()
	if n%n1 != 0 || n/n1 != n2 || columns%k1 != 0 || columns/k1 != k2 || k2%kernel.Elems() != 0 {
		return c, 0, fmt.Errorf("the factors of the LoKr in %s are matrices of %d×%d and %d×%d, and the weight %s %v needs a Kronecker product of %d×%d: the LoRA is for another model",
			some(x.tensors()), n1, k1, n2, k2, t.weight, t.shape, n, columns)
	}
	c.First, c.Second = first, second
	if r2 > 0 {
		return c, r2, nil
	}
	return c, r1, nil
}

// factor returns a factor that is whole or a product, its dimensions, and the
// rank of the product.
func (x layer) factor(l Source, t target, whole, a, b, core role) (f Factor, rows, columns, rank int, err error) {
	if x[whole] == "" {
		return x.product(l, t, a, b, core)
	}
	for _, r := range []role{a, b, core} {
		if x[r] != "" {
			return f, 0, 0, 0, fmt.Errorf("the LoRA has both %s and %s of one factor", x[whole], x[r])
		}
	}
	rows, columns, err = x.matrix(l, t, whole)
	return Factor{Whole: x[whole]}, rows, columns, 0, err
}

// product returns a factor that is a product of two or three tensors, its
// dimensions and its rank, which is the first dimension of B.
func (x layer) product(l Source, t target, a, b, core role) (f Factor, rows, columns, rank int, err error) {
	f = Factor{A: x[a], B: x[b], Core: x[core], Transposed: x[core] != ""}
	rows, inner, err := x.matrix(l, t, a)
	if err != nil {
		return f, 0, 0, 0, err
	}
	rank, columns, err = x.matrix(l, t, b)
	if err != nil {
		return f, 0, 0, 0, err
	}
	if f.Core == "" {
		if inner != rank {
			return f, 0, 0, 0, fmt.Errorf("the tensors %s and %s of the LoRA have ranks of %d and %d, expected the same", f.A, f.B, inner, rank)
		}
		return f, rows, columns, rank, nil
	}
	rows, inner = inner, rows
	shape, err := x.shape(l, core)
	if err != nil {
		return f, 0, 0, 0, err
	}
	_, _, kernel := t.dims()
	if want := append(ir.Shape{inner, rank}, kernel...); len(kernel) == 0 || !shape.Equal(want) {
		return f, 0, 0, 0, x.misfit(core, shape, t, want)
	}
	return f, rows, columns * kernel.Elems(), rank, nil
}

// matrix returns the dimensions of a tensor as a matrix. It may have those of
// the weight's kernel, or of a 1×1 one.
func (x layer) matrix(l Source, t target, r role) (rows, columns int, err error) {
	shape, err := x.shape(l, r)
	if err != nil {
		return 0, 0, err
	}
	flat := trim(shape)
	_, _, kernel := t.dims()
	if len(shape) < 2 || flat.Elems() < 1 || len(flat) > 2 && !slices.Equal(flat[2:], kernel) {
		return 0, 0, x.misfit(r, shape, t, "a matrix")
	}
	return flat[0], flat.Elems() / flat[0], nil
}

// lengths returns the tensor of a DoRA's lengths, and whether they are those
// of columns. PEFT's are of rows; others may be of either, [N,1,...] or
// [1,K,...].
func (x layer) lengths(l Source, t target) (name string, columns bool, err error) {
	r := magnitude
	if x[r] == "" {
		r = scale
	}
	if x[r] == "" {
		return "", false, nil
	}
	shape, err := x.shape(l, r)
	if err != nil {
		return "", false, err
	}
	n, k, _ := t.dims()
	switch elements := shape.Elems(); {
	case len(shape) == 0:
	case elements == n && (r == magnitude || shape[0] == n):
		return x[r], false, nil
	case elements == k && r == scale && len(shape) > 1 && shape[1] == k:
		return x[r], true, nil
	}
	return "", false, x.misfit(r, shape, t, fmt.Sprintf("%v or %v", ir.Shape{n, 1}, ir.Shape{1, k}))
}
