package lora

import (
	"math"
	"slices"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// adapter returns the layer as an adapter on a weight W[N,K,...] that it fits,
// and whether its matrices have the kernels that a side path needs: down[rank,K,...]
// and up[N,rank], or down[rank,K], mid[out,rank,...] and up[N,out]. They may
// have the two dimensions more of a 1×1 kernel. Others, such as a kernel that
// is flattened to down[rank,K·...], have the same product and can be merged.
func (x layer) adapter(l Source, t target) (a nn.Adapter, exact bool, err error) {
	a = nn.Adapter{Down: x[down], Up: x[up], Mid: x[mid], From: t.from, Rows: t.rows, Scale: 1}
	first, err := x.shape(l, down)
	if err != nil {
		return a, false, err
	}
	last, err := x.shape(l, up)
	if err != nil {
		return a, false, err
	}
	n, k, kernel := t.dims()
	if len(first) < 2 || first.Elems() == 0 {
		return a, false, x.misfit(down, first, t, "a matrix of a rank above 0")
	}
	if len(last) < 2 || last.Elems() == 0 {
		return a, false, x.misfit(up, last, t, "a matrix of a rank above 0")
	}
	first, last = trim(first), trim(last)
	rank := first[0]
	want := map[role]ir.Shape{down: append(ir.Shape{rank, k}, kernel...), up: {n, rank}}
	got := map[role]ir.Shape{down: first, up: last}
	if x[mid] != "" {
		middle, err := x.shape(l, mid)
		if err != nil {
			return a, false, err
		}
		out := last[1]
		got[mid] = trim(middle)
		want = map[role]ir.Shape{down: {rank, k}, mid: append(ir.Shape{out, rank}, kernel...), up: {n, out}}
	}
	flat := x[mid] == "" && first.Elems() == rank*k*kernel.Elems() && len(first) == 2 && last.Equal(want[up])
	for _, r := range []role{down, mid, up} {
		if want[r] != nil && !got[r].Equal(want[r]) && !flat {
			return a, false, x.misfit(r, got[r], t, want[r])
		}
	}
	a.Scale, err = x.scale(l, rank)
	// The side path of a linear layer has no middle.
	return a, first.Equal(want[down]) && (x[mid] == "" || len(kernel) > 0), err
}

// scale returns alpha over rank, or 1 without alpha.
func (x layer) scale(l Source, rank int) (float32, error) {
	v, ok, err := x.alpha(l)
	if err != nil || !ok {
		return 1, err
	}
	return v / float32(rank), nil
}

// alpha returns the layer's alpha, if it has one.
func (x layer) alpha(l Source) (v float32, ok bool, err error) {
	name, ok := x[alpha]
	if !ok {
		return 0, false, nil
	}
	if v, err = l.Scalar(name); err != nil {
		return 0, false, fault.Mark(fault.Model, err)
	}
	if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false, fault.New(fault.Model, "tensor %s of the LoRA is %v, expected a number", show(name), v)
	}
	return v, true, nil
}

// shape returns the shape of the layer's tensor of a role.
func (x layer) shape(l Source, r role) (ir.Shape, error) {
	name, ok := x[r]
	if !ok {
		return nil, unfitf("the LoRA has %s but not %s of the layer", Names(x.tensors()), r)
	}
	_, shape, ok := l.Lookup(name)
	if !ok {
		return nil, fault.New(fault.Model, "the LoRA has no tensor %s", show(name))
	}
	return shape, nil
}

// misfit is the error of a tensor that is not for the weight.
func (x layer) misfit(r role, shape ir.Shape, t target, want any) error {
	return unfitf("tensor %s of the LoRA has shape %v, and the weight %s %v needs %v", show(x[r]), shape, show(t.weight), t.shape, want)
}

// trim returns a shape without the ones of a 1×1 kernel at its end, and with
// at least two dimensions.
func trim(s ir.Shape) ir.Shape {
	s = slices.Clone(s)
	for len(s) < 2 {
		s = append(s, 1)
	}
	for _, n := range s[2:] {
		if n != 1 {
			return s
		}
	}
	return s[:2]
}
