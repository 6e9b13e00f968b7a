package cpu

import (
	"fmt"

	"github.com/weir-run/weir/hadamard"
)

// rotate rotates groups of each row. A group is read before it is stored, so
// that the result can be written over the operand.
func (d *Device) rotate(c *call) error {
	if err := c.layouts(1); err != nil {
		return err
	}
	x, group := &c.in[0], c.attrs.Dim
	rank := len(x.shape)
	if rank == 0 || !x.is(c.out.shape...) || !hadamard.Fits(group) || x.shape[rank-1]%group != 0 {
		return c.shapes(1)
	}
	if group > lineLen {
		return fmt.Errorf("a group has %d elements, expected at most %d", group, lineLen)
	}
	n := x.shape[rank-1]
	m := newMatrix(x)
	return d.pool.run(c.out.elems()/n, func(w *worker, row int) error {
		off := m.rows.locate(row, &m.strides)
		for at := 0; at < n; at += lineLen {
			y := w.lines[0][:min(lineLen, n-at)]
			x.read(y, off+at, 1)
			hadamard.Rotate(y, group)
			c.store(w, y, row*n+at)
		}
		return nil
	})
}
