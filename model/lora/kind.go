package lora

import (
	"fmt"
	"slices"

	"github.com/weir-run/weir/ir"
)

// A kind is what tensors of a layer are together.
type kind string

const (
	plain       kind = "LoRA"
	loha        kind = "LoHa"
	lokr        kind = "LoKr"
	glora       kind = "GLoRA"
	oft         kind = "OFT"
	norm        kind = "difference of a norm"
	full        kind = "difference"
	replacement kind = "replacement"
)

// order has the kinds, the ones that take the place of others last, with the
// roles that only they have.
var order = []struct {
	kind  kind
	roles []role
}{
	{plain, []role{down, up, mid}},
	{loha, []role{hada1A, hada1B, hada1Core, hada2A, hada2B, hada2Core}},
	{lokr, []role{lokr1, lokr1A, lokr1B, lokr2, lokr2A, lokr2B, lokr2Core}},
	{glora, []role{gloraA1, gloraA2, gloraB1, gloraB2}},
	{oft, []role{blocks}},
	{norm, []role{normWeight}},
	{full, []role{diff}},
	{replacement, []role{setWeight}},
}

// ofKind returns the kind that only has the role, or "".
func ofKind(r role) kind {
	for _, o := range order {
		if slices.Contains(o.roles, r) {
			return o.kind
		}
	}
	return ""
}

// kinds returns the kinds that the layer has tensors of, the one that takes the
// place of the others first.
func (x layer) kinds() (all []kind) {
	for _, o := range slices.Backward(order) {
		if slices.ContainsFunc(o.roles, func(r role) bool { return x[r] != "" }) {
			all = append(all, o.kind)
		}
	}
	return all
}

// of returns the tensors that are of one kind alone.
func (x layer) of(k kind) (all []string) {
	for _, o := range order {
		for _, r := range o.roles {
			if o.kind == k && x[r] != "" {
				all = append(all, x[r])
			}
		}
	}
	slices.Sort(all)
	return all
}

// decomposed reports whether the layer is a DoRA.
func (x layer) decomposed() bool { return x[scale] != "" || x[magnitude] != "" }

// difference returns the change of a full difference of a weight.
func (x layer) difference(l Source, t target, r role) (Change, error) {
	c := Change{From: t.from, Rows: t.rows, First: Factor{Whole: x[r]}, Scale: 1}
	shape, err := x.shape(l, r)
	if err != nil {
		return c, err
	}
	n, k, kernel := t.dims()
	if want := append(ir.Shape{n, k}, kernel...); !trim(shape).Equal(want) {
		if k == 1 && len(kernel) == 0 {
			return c, x.misfit(r, shape, t, ir.Shape{n})
		}
		return c, x.misfit(r, shape, t, want)
	}
	return c, nil
}

// change returns the layer as a change of a weight that it fits.
func (x layer) change(l Source, t target, k kind) (c Change, err error) {
	rank := 0
	switch k {
	case plain:
		a, _, err := x.adapter(l, t)
		if err != nil {
			return c, err
		}
		c = Merged(a)
	case loha:
		c, rank, err = x.hadamard(l, t)
	case lokr:
		c, rank, err = x.kronecker(l, t)
	case glora:
		c, rank, err = x.generalized(l, t)
	case oft:
		if c, err = x.orthogonal(l, t); err != nil {
			return c, err
		}
	case norm:
		return x.difference(l, t, normWeight)
	case full:
		return x.difference(l, t, diff)
	case replacement:
		c, err = x.difference(l, t, setWeight)
		c.Product = Replacement
		return c, err
	}
	if err != nil {
		return c, err
	}
	c.From, c.Rows = t.from, t.rows
	if k == loha || k == lokr || k == glora {
		c.Scale = 1
		if rank > 0 {
			if c.Scale, err = x.scale(l, rank); err != nil {
				return c, err
			}
		}
	}
	if x.decomposed() {
		err = x.lengths(l, t, &c)
	}
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
			return c, 0, unfitf("the tensors %s and %s of the LoRA have a product of %d×%d elements, and the weight %s %v needs %d×%d",
				show(x[f.a]), show(x[f.b]), rows, columns, show(t.weight), t.shape, n, k*kernel.Elems())
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
		return c, 0, unfitf("the factors of the LoKr in %s are matrices of %d×%d and %d×%d, and the weight %s %v needs a Kronecker product of %d×%d",
			Names(x.of(lokr)), n1, k1, n2, k2, show(t.weight), t.shape, n, columns)
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
			return f, 0, 0, 0, unfitf("the LoRA has both %s and %s of one factor", show(x[whole]), show(x[r]))
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
			return f, 0, 0, 0, unfitf("the tensors %s and %s of the LoRA have ranks of %d and %d, expected the same", show(f.A), show(f.B), inner, rank)
		}
		return f, rows, columns, rank, nil
	}
	rows, inner = inner, rows
	shape, err := x.shape(l, core)
	if err != nil {
		return f, 0, 0, 0, err
	}
	_, _, kernel := t.dims()
	if want := append(ir.Shape{inner, rank}, kernel...); !trim(shape).Equal(want) {
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

// generalized returns a GLoRA and its rank. Of the two orders that its matrices
// have been written in, LyCORIS's older one is a2·a1 and b2·b1.
func (x layer) generalized(l Source, t target) (c Change, rank int, err error) {
	type matrix struct{ rows, columns int }
	at := map[role]matrix{}
	for _, r := range []role{gloraA1, gloraA2, gloraB1, gloraB2} {
		rows, columns, err := x.matrix(l, t, r)
		if err != nil {
			return c, 0, err
		}
		at[r] = matrix{rows, columns}
	}
	a1, a2, b1, b2 := at[gloraA1], at[gloraA2], at[gloraB1], at[gloraB2]
	n, k, kernel := t.dims()
	columns := k * kernel.Elems()
	older := a1.rows == a2.columns && a1.rows == b1.rows && a1.rows == b2.columns
	newer := a1.columns == a2.rows && a1.columns == b1.columns && a1.columns == b2.rows
	if older && newer { // all are square, as W must be for the older order to be meant
		older = a2.rows == n && n == k
	}
	c.Product = Generalized
	inputs := [2]int{}
	outputs := [2]int{}
	switch {
	case older:
		c.First, c.Second, rank = Factor{A: x[gloraB2], B: x[gloraB1]}, Factor{A: x[gloraA2], B: x[gloraA1]}, a1.rows
		inputs, outputs = [2]int{a2.rows, a1.columns}, [2]int{b2.rows, b1.columns}
	case newer:
		c.First, c.Second, rank = Factor{A: x[gloraB1], B: x[gloraB2]}, Factor{A: x[gloraA1], B: x[gloraA2]}, a1.columns
		inputs, outputs = [2]int{a1.rows, a2.columns}, [2]int{b1.rows, b2.columns}
	default:
		return c, 0, unfitf("the matrices of the GLoRA in %s have no rank in common", Names(x.of(glora)))
	}
	size := k
	if older {
		size = columns
	}
	if inputs != [2]int{size, size} || outputs != [2]int{n, columns} {
		return c, 0, unfitf("the matrices of the GLoRA in %s have products of %d×%d and %d×%d, and the weight %s %v needs %d×%d and %d×%d",
			Names(x.of(glora)), inputs[0], inputs[1], outputs[0], outputs[1], show(t.weight), t.shape, size, size, n, columns)
	}
	return c, rank, nil
}

// maxRotation is how many rows a block of an OFT may mix: of published ones each
// is at most a quarter of the largest layers, and a larger one takes gigabytes to
// compute.
const maxRotation = 4096

// orthogonal returns an OFT, whose blocks[count,b,b] mix b rows of the weight
// each, or a BOFT, whose blocks[m,count,b,b] do so m times. Their alpha is no
// scale but the constraint; where there are lengths as of a DoRA, ComfyUI
// takes it for both. Lengths in "rescale" are BOFT's alone.
func (x layer) orthogonal(l Source, t target) (c Change, err error) {
	shape, err := x.shape(l, blocks)
	if err != nil {
		return c, err
	}
	n, _, _ := t.dims()
	levels := 1
	if len(shape) == 4 {
		levels = shape[0]
	}
	if len(shape) < 3 || len(shape) > 4 || shape.Elems() == 0 || shape[len(shape)-1] != shape[len(shape)-2] ||
		shape[len(shape)-1]*shape[len(shape)-3] != n {
		return c, x.misfit(blocks, shape, t, fmt.Sprintf("[m b b] or [levels m b b] with m·b = %d", n))
	}
	size := shape[len(shape)-1]
	if size > maxRotation {
		return c, x.misfit(blocks, shape, t, fmt.Sprintf("blocks of at most %d rows", maxRotation))
	}
	c = Change{Product: Rotation, First: Factor{Whole: x[blocks]}, Group: size, Scale: 1}
	constraint, ok, err := x.alpha(l)
	if err != nil {
		return c, err
	}
	c.Constraint = constraint
	if x.decomposed() {
		c.Scale = constraint
	}
	if len(shape) == 3 {
		return c, nil
	}
	if !ok {
		return c, unfitf("tensor %s of the LoRA is a BOFT's, and the layer has no alpha, which is its constraint", show(x[blocks]))
	}
	c.Product = Butterfly
	for range levels - 1 {
		if c.Group *= 2; c.Group > n {
			break
		}
	}
	if size%2 != 0 || n%c.Group != 0 {
		return c, x.misfit(blocks, shape, t, fmt.Sprintf("an even b and %d divisible by b·2^(levels-1)", n))
	}
	if x[rescale] == "" {
		return c, nil
	}
	c.Second.Whole = x[rescale]
	if shape, err = x.shape(l, rescale); err == nil && (len(shape) < 1 || shape[0] != n || shape.Elems() != n) {
		err = x.misfit(rescale, shape, t, ir.Shape{n, 1})
	}
	return c, err
}

// lengths makes a change a DoRA. PEFT's lengths are of rows, and divided by
// those of the changed weight as in the paper; others may be of rows, [N,1,...],
// or of columns, [1,K,...], and ComfyUI divides those of rows by the lengths
// that the weight had before.
func (x layer) lengths(l Source, t target, c *Change) error {
	r := magnitude
	if x[r] == "" {
		r = scale
	}
	shape, err := x.shape(l, r)
	if err != nil {
		return err
	}
	c.Magnitude = x[r]
	n, k, _ := t.dims()
	switch elements := shape.Elems(); {
	case len(shape) == 0:
	case elements == n && (r == magnitude || shape[0] == n):
		c.Before = r == scale
		return nil
	case elements == k && r == scale && len(shape) > 1 && shape[1] == k:
		c.Columns = true
		return nil
	}
	return x.misfit(r, shape, t, fmt.Sprintf("%v or %v", ir.Shape{n, 1}, ir.Shape{1, k}))
}
