package plan

import (
	"errors"
	"fmt"

	"github.com/weir-run/weir/ir"
)

// Validate checks what every program promises: operands lie within the arena
// or their part and come in the layouts that their operation can read, results
// are aligned and overwrite no operand that is still to be read, operations
// name the extents they use, and the parts of the extents are aligned, apart
// from each other and together all of each weight. It returns all that is
// wrong. It does not check that the program computes what its graph says.
func (p *Program) Validate() error {
	var errs []error
	for i := range p.Ops {
		if err := p.validateOp(&p.Ops[i]); err != nil {
			errs = append(errs, fmt.Errorf("operation %d, %s %s: %w", i, p.Ops[i].Kind, p.Ops[i].Name, err))
		}
	}
	for _, b := range append(append([]Binding{}, p.Inputs...), p.Outputs...) {
		if b.Offset%Align != 0 || b.Offset < 0 || b.Offset+b.Bytes > p.Arena || b.Bytes != b.DType.Bytes(int64(b.Shape.Elems())) {
			errs = append(errs, fmt.Errorf("binding %s: %d bytes at %d do not fit %v %v in an arena of %d bytes", b.Name, b.Bytes, b.Offset, b.DType, b.Shape, p.Arena))
		}
	}
	if p.Arena < p.LowerBound {
		errs = append(errs, fmt.Errorf("the arena of %d bytes is smaller than the lower bound %d", p.Arena, p.LowerBound))
	}
	return errors.Join(append(errs, p.validateExtents())...)
}

func (p *Program) validateOp(op *Op) error {
	if err := p.validateOperand(&op.Out); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	if op.Out.Extent >= 0 || op.Out.Offset%Align != 0 || !op.Out.window().contiguous() {
		return fmt.Errorf("the result must be contiguous and aligned in the arena, not at %d with strides %v", op.Out.Offset, op.Out.Strides)
	}
	for i := range op.Args {
		arg := &op.Args[i]
		if err := p.validateOperand(arg); err != nil {
			return fmt.Errorf("operand %d: %w", i, err)
		}
		if isStepOperand(op.Steps, i) || op.Kind == ir.Elementwise && i == 0 {
			if !arg.Shape.Equal(op.Out.Shape) {
				return fmt.Errorf("operand %d has the shape %v, not that of the result %v", i, arg.Shape, op.Out.Shape)
			}
		} else if l := op.Kind.InputLayout(i); !arg.window().fits(l) {
			return fmt.Errorf("operand %d has the strides %v, which layout %d has not", i, arg.Strides, l)
		}
		if arg.overlaps(&op.Out) && !op.mayShare(i) {
			return fmt.Errorf("operand %d at %d is overwritten by the result at %d", i, arg.Offset, op.Out.Offset)
		}
	}
	for _, s := range op.Steps {
		if s.Func.Binary() && (s.Operand < 0 || s.Operand >= len(op.Args)) {
			return fmt.Errorf("step %s reads operand %d of %d", s.Func, s.Operand, len(op.Args))
		}
	}
	if want := extentsOf(op.Args); fmt.Sprint(want) != fmt.Sprint(op.Extents) {
		return fmt.Errorf("the operands are in the extents %v, not %v", want, op.Extents)
	}
	return nil
}

func (p *Program) validateOperand(o *Operand) error {
	size := p.Arena
	if o.Extent >= 0 {
		if o.Extent >= len(p.Extents) || o.Part < 0 || o.Part >= len(p.Extents[o.Extent].Parts) {
			return fmt.Errorf("there is no part %d of extent %d", o.Part, o.Extent)
		}
		size = p.Extents[o.Extent].Parts[o.Part].Bytes
	}
	if block, _ := o.DType.Block(); len(o.Shape) != len(o.Strides) || o.Skip < 0 || o.Skip >= block {
		return fmt.Errorf("%v %v has the strides %v and begins at element %d of a block of %d", o.DType, o.Shape, o.Strides, o.Skip, block)
	}
	if o.Offset < 0 || o.end() > size {
		return fmt.Errorf("bytes %d to %d are not within %d", o.Offset, o.end(), size)
	}
	return nil
}

// mayShare reports whether operand i may be where the result is.
func (op *Op) mayShare(i int) bool {
	arg := &op.Args[i]
	if arg.Offset != op.Out.Offset || arg.DType.Size() != op.Out.DType.Size() || !arg.window().contiguous() {
		return false
	}
	switch op.Kind {
	case ir.Elementwise:
		return true
	case ir.LayerNorm, ir.RMSNorm, ir.GroupNorm, ir.Softmax, ir.Rotate:
		return i == 0
	}
	return false
}

func (o *Operand) window() window { return window{shape: o.Shape, strides: o.Strides} }

// end returns the byte after the last one of the operand.
func (o *Operand) end() int64 {
	last := 0
	for i, n := range o.Shape {
		last += (n - 1) * o.Strides[i]
	}
	return o.Offset + o.DType.Bytes(int64(o.Skip+last+1))
}

func (o *Operand) overlaps(q *Operand) bool {
	return o.Extent < 0 && q.Extent < 0 && o.Offset < q.end() && q.Offset < o.end()
}

func (p *Program) validateExtents() error {
	next := map[string]int64{} // the first byte of a weight that no part holds yet
	for i, e := range p.Extents {
		var end int64
		for _, part := range e.Parts {
			if part.At%Align != 0 || part.At < end || part.Bytes <= 0 || part.From != next[part.Weight] {
				return fmt.Errorf("extent %d: part %+v must begin after %d and hold the weight from %d on", i, part, end, next[part.Weight])
			}
			end = part.At + part.Bytes
			next[part.Weight] += part.Bytes
		}
		if end != e.Bytes {
			return fmt.Errorf("extent %d of %d bytes has parts up to %d", i, e.Bytes, end)
		}
	}
	return nil
}
