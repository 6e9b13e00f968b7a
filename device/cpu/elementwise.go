package cpu

import (
	"fmt"

	"github.com/weir-run/weir/ir"
)

const (
	// A task of elementwise is up to pieceRows × pieceColumns elements, column
	// by column of pieces: an operand that is read across its memory is then
	// read a second time while its cache lines are still there.
	pieceRows    = 64
	pieceColumns = 256
)

// elementwise starts from the first operand and applies the steps.
func (d *Device) elementwise(c *call) error {
	if err := c.needs(1); err != nil {
		return err
	}
	x := &c.in[0]
	from, ok := broadcast(x, c.out.shape)
	if !ok {
		return fmt.Errorf("the operand %s %v cannot be broadcast to %v", x.name, x.shape, c.out.shape)
	}
	// The space must suit the first operand too.
	var store [17]*strides
	operands := append(store[:0], &from)
	e := &c.steps
	for i := range e.steps {
		s := &e.steps[i]
		if s.fn.Binary() {
			s.strides, _ = broadcast(&c.in[s.operand], c.out.shape)
			operands = append(operands, &s.strides)
		}
	}
	e.space = join(c.out.shape, operands)

	columns := e.space.last()
	rows := c.out.elems() / columns
	width := min(columns, pieceColumns)
	if rows == 1 {
		width = min(columns, pieceRows*pieceColumns)
	}
	height := max(pieceRows*pieceColumns/width, 1)
	across, stride := ceilDiv(columns, width), from[e.space.rank-1]
	return d.pool.run(across*ceilDiv(rows, height), func(w *worker, i int) error {
		left := i % across * width
		right := min(left+width, columns)
		for row := i / across * height; row < min((i/across+1)*height, rows); row++ {
			off := e.space.locate(row*columns, &from)
			for at := left; at < right; at += lineLen {
				y := w.lines[0][:min(lineLen, right-at)]
				x.read(y, off+at*stride, stride)
				c.store(w, y, row*columns+at)
			}
		}
		return nil
	})
}

// concat copies its inputs, which may have any strides, side by side.
func (d *Device) concat(c *call) error {
	axis, n := c.attrs.Axis, 0
	// Only what comes before operands of steps is joined.
	if axis < 0 || axis >= len(c.out.shape) {
		return c.shapes(len(c.in))
	}
	inputs := 0
	for n < c.out.shape[axis] && inputs < len(c.in) {
		v := &c.in[inputs]
		if len(v.shape) != len(c.out.shape) {
			return c.shapes(len(c.in))
		}
		for i, length := range v.shape {
			if i != axis && length != c.out.shape[i] {
				return c.shapes(len(c.in))
			}
		}
		n += v.shape[axis]
		inputs++
	}
	if n != c.out.shape[axis] {
		return c.shapes(len(c.in))
	}
	inner := ir.Shape(c.out.shape[axis+1:]).Elems()
	before := 0 // along the axis
	for i := range inputs {
		if err := d.paste(c, &c.in[i], before*inner, c.out.shape[axis]*inner, c.in[i].shape[axis]*inner); err != nil {
			return err
		}
		before += c.in[i].shape[axis]
	}
	return nil
}

// paste stores the elements of v, in runs that begin at `to` and then each
// pitch elements after the one before.
func (d *Device) paste(c *call, v *view, to, pitch, run int) error {
	var from strides
	copy(from[:], v.strides)
	s := join(v.shape, []*strides{&from})
	columns := s.last()
	all := v.elems()
	const task = pieceRows * pieceColumns
	return d.pool.run(ceilDiv(all, task), func(w *worker, i int) error {
		for at, end := i*task, min((i+1)*task, all); at < end; {
			n := min(lineLen, end-at, columns-at%columns, run-at%run)
			y := w.lines[0][:n]
			v.read(y, s.locate(at, &from), from[s.rank-1])
			c.store(w, y, at/run*pitch+to+at%run)
			at += n
		}
		return nil
	})
}
