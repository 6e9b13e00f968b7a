package cpu

import "slices"

// linear is y = x·Wᵀ. The steps, bias first, are applied to each tile.
func (d *Device) linear(c *call) error {
	if err := c.layouts(2); err != nil {
		return err
	}
	x, weight := &c.in[0], &c.in[1]
	rank := len(x.shape)
	if rank == 0 || len(weight.shape) != 2 || len(c.out.shape) != rank || x.shape[rank-1] != weight.shape[1] ||
		!slices.Equal(x.shape[:rank-1], c.out.shape[:rank-1]) {
		return c.shapes(2)
	}
	columns := c.out.shape[rank-1]
	from, to, err := c.rows(weight.shape[0], columns)
	if err != nil {
		return err
	}
	depth := weight.shape[1]
	a, b := newMatrix(x), plain(weight, depth, 1)
	g := d.newGrid(c.out.elems()/columns, to-from, 1)
	return d.pool.run(g.all, func(w *worker, i int) error {
		t := g.tile(i)
		if err := w.multiply(&a, &b, t, depth); err != nil {
			return err
		}
		for row := range t.m {
			c.store(w, w.c[row*blockN:][:t.n], (t.m0+row)*columns+from+t.n0)
		}
		return nil
	})
}
