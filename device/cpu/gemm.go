package cpu

// The blocked product. A tile of C[M,N] = A[M,K]·B[K,N] is computed by one
// worker: for each block of K, the rows of A and the columns of B are packed
// into panels, and the micro-kernel multiplies each panel of A with each panel
// of B into a few elements of the tile, which lies in the worker's memory.
//
// An element of the result is the sum over its blocks of K, in order, of sums
// within the block, in order. Where the tile begins has no influence on it, so
// any division of C gives the same bits.
const (
	blockM = 128 // rows of a tile at most
	blockN = 256 // columns of a tile at most
	blockK = 256 // depth of a block

	maxPanel = 32 // the largest number of rows or columns of a panel
)

// An operand of a product gives its rows, or columns, as panels.
type packer interface {
	// pack writes elements k0..k0+k of the rows from..from+n, starting at the
	// offset base, to panels of r rows: dst[panel][k][r]. Missing rows of the
	// last panel are zeros.
	pack(w *worker, dst []float32, base, from, n, k0, k, r int)
}

// A tile is a block of the result of a product. The bases are where a batch
// or group of the operands begins.
type tile struct {
	baseA, baseB int
	m0, m, n0, n int
}

// multiply computes a tile into w.c, the rows blockN apart.
func (w *worker) multiply(a, b packer, t tile, depth int) error {
	clear(w.c[:roundUp(t.m, kernel.rows)*blockN])
	for k0 := 0; k0 < depth; k0 += blockK {
		if err := w.stopped(); err != nil {
			return err
		}
		k := min(blockK, depth-k0)
		a.pack(w, w.a[:], t.baseA, t.m0, t.m, k0, k, kernel.rows)
		b.pack(w, w.b[:], t.baseB, t.n0, t.n, k0, k, kernel.columns)
		multiplyPanels(w.a[:], w.b[:], w.c[:], blockN, t.m, t.n, k)
	}
	return nil
}

// multiplyPanels adds the product of packed rows and columns to c.
func multiplyPanels(a, b, c []float32, ldc, m, n, k int) {
	for j := 0; j < n; j += kernel.columns {
		panelB := b[j*k:][:k*kernel.columns]
		for i := 0; i < m; i += kernel.rows {
			kernel.run(a[i*k:][:k*kernel.rows], panelB, c[i*ldc+j:], ldc)
		}
	}
}

// A grid divides an m×n result into tiles.
type grid struct {
	m, n                int
	tileM, tileN        int
	countM, countN, all int
}

// newGrid makes tiles as large as the workers' memory allows, or smaller when
// they would be too few, over all batches, to keep every thread busy.
func (d *Device) newGrid(m, n, batches int) grid {
	g := grid{m: m, n: n, tileM: min(blockM, roundUp(m, kernel.rows)), tileN: min(blockN, roundUp(n, kernel.columns))}
	for {
		g.countM, g.countN = ceilDiv(m, g.tileM), ceilDiv(n, g.tileN)
		g.all = g.countM * g.countN
		if g.all*batches >= 4*len(d.pool.workers) || (g.tileM <= 32 && g.tileN <= 32) {
			return g
		}
		if g.tileM > g.tileN {
			g.tileM = roundUp(g.tileM/2, kernel.rows)
		} else {
			g.tileN = roundUp(g.tileN/2, kernel.columns)
		}
	}
}

// tile returns tile i.
func (g *grid) tile(i int) tile {
	var t tile
	t.m0, t.n0 = i/g.countN*g.tileM, i%g.countN*g.tileN
	t.m, t.n = min(g.tileM, g.m-t.m0), min(g.tileN, g.n-t.n0)
	return t
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(a, b int) int { return ceilDiv(a, b) * b }

// A matrix is an operand in memory whose rows are the elements of all its
// dimensions but the last.
type matrix struct {
	*view
	rows    space // without the last dimension
	strides strides
	stride  int // of the last dimension
}

// newMatrix returns the matrix of an operand.
func newMatrix(v *view) matrix {
	last := len(v.shape) - 1
	m := matrix{view: v, stride: v.strides[last]}
	copy(m.strides[:], v.strides[:last])
	m.rows = join(v.shape[:last], []*strides{&m.strides})
	return m
}

// plain returns the matrix whose element (i, j) is at i·rowStride +
// j·stride.
func plain(v *view, rowStride, stride int) matrix {
	m := matrix{view: v, stride: stride}
	m.rows.rank, m.strides[0] = 1, rowStride
	return m
}

func (m *matrix) pack(w *worker, dst []float32, base, from, n, k0, k, r int) {
	base += k0 * m.stride
	var offsets [maxPanel]int
	for ; n > 0; n, from, dst = n-r, from+r, dst[k*r:] {
		full := min(n, r)
		beside := m.stride != 1 // whether the rows of the panel are neighbours in memory
		for i := range full {
			offsets[i] = base + m.rows.locate(from+i, &m.strides)
			beside = beside && offsets[i] == offsets[0]+i
		}
		panel := dst[:k*r]
		if full < r {
			clear(panel)
		}
		if beside {
			m.packBeside(panel, offsets[0], full, r)
			continue
		}
		i := 0
		for ; i+8 <= full; i += 8 {
			m.packEight(w, panel[i:], (*[8]int)(offsets[i:]), k, r)
		}
		for ; i < full; i++ {
			row := m.slice(w.line[:], offsets[i], m.stride, k)
			for j, at := 0, i; j < len(row) && at < len(panel); j, at = j+1, at+r {
				panel[at] = row[j]
			}
		}
	}
}

// packEight packs eight rows at once, so that whole pieces of the panel's
// lines are written.
func (m *matrix) packEight(w *worker, panel []float32, offsets *[8]int, k, r int) {
	var rows [8][]float32
	for i, off := range offsets {
		rows[i] = m.slice(w.lines[i/4][i%4*blockK:][:blockK], off, m.stride, k)[:k]
	}
	r0, r1, r2, r3, r4, r5, r6, r7 := rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7]
	for j := range r0 {
		to := (*[8]float32)(panel[j*r:])
		to[0], to[1], to[2], to[3] = r0[j], r1[j], r2[j], r3[j]
		to[4], to[5], to[6], to[7] = r4[j], r5[j], r6[j], r7[j]
	}
}

// packBeside packs a panel of n rows that are neighbours in memory.
func (m *matrix) packBeside(panel []float32, off, n, r int) {
	for ; len(panel) > 0; panel, off = panel[r:], off+m.stride {
		m.read(panel[:n], off, 1)
	}
}
