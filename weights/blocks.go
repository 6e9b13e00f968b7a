package weights

import (
	"context"
	"slices"

	"github.com/weir-run/weir/dtype"
)

// A rowMaker makes the bytes of a matrix, of which several tensors have a part,
// row by row. It is a blockMaker.
type rowMaker struct {
	rowBytes int
	rows     makeRows
	from     []Ref // what it reads
}

// A makeRows fills dst with n rows from one on, at most band of them.
type makeRows func(ctx context.Context, s *rowScratch, dst []byte, from, n int) error

// A rowScratch is the memory that rows are made in, band after band.
type rowScratch struct {
	values, scales, tiles []byte
	numbers               []float32
}

// grown returns n elements of memory, which is made anew if it is too small.
func grown[T any](memory *[]T, n int) []T {
	if cap(*memory) < n {
		*memory = make([]T, n)
	}
	return (*memory)[:n]
}

// band is how many rows are made at a time. Those of a band that begins at a
// multiple have their scales together in the order of cuBLAS.
const band = 128

func (m *rowMaker) files() []*File {
	var files []*File
	for _, r := range m.from {
		if !slices.Contains(files, r.File) {
			files = append(files, r.File)
		}
	}
	return files
}

// scratch counts the values and scales of a band, which are read before rows are
// made of them, and their numbers in float32 where they are made of those.
func (m *rowMaker) scratch() int64 {
	n := int64(m.rowBytes)
	for _, r := range m.from {
		n += 5 * band * (r.Length/int64(r.Shape[0]) + tileColumns)
	}
	return n
}

func (m *rowMaker) readAt(ctx context.Context, p []byte, off int64) error {
	var s rowScratch
	for len(p) > 0 {
		row, within := int(off/int64(m.rowBytes)), int(off%int64(m.rowBytes))
		if n := min(len(p)/m.rowBytes, band-row%band); within == 0 && n > 0 {
			if err := m.rows(ctx, &s, p[:n*m.rowBytes], row, n); err != nil {
				return err
			}
			p, off = p[n*m.rowBytes:], off+int64(n*m.rowBytes)
			continue
		}
		whole := make([]byte, m.rowBytes)
		if err := m.rows(ctx, &s, whole, row, 1); err != nil {
			return err
		}
		n := copy(p, whole[within:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// made makes a weight one that is made row by row. Its shape is set; the values
// and scales lie in tensors.
func (r *Ref) made(dt dtype.DType, rows makeRows, from ...Ref) {
	r.DType = dt
	r.Quant.blocks = &rowMaker{int(dt.Bytes(int64(r.Shape[1]))), rows, from}
	r.Length = int64(r.Shape[0]) * dt.Bytes(int64(r.Shape[1]))
}

// A grid is the scales of a matrix, each for some neighbours in a row.
type grid struct {
	Ref
	columns int  // scales of a row
	cublas  bool // whether they are in the order of cuBLAS, or else row by row
}

// A tile in the order of cuBLAS is 128 rows of 4 scales, in 512 bytes:
// https://docs.nvidia.com/cuda/cublas/#d-block-scaling-factors-layout. Row r is at
// r%32·16 + r/32·4.
const (
	tileRows, tileColumns = band, 4
	tileBytes             = tileRows * tileColumns
)

// tiles returns how many tiles are beside each other.
func (g *grid) tiles() int { return (g.columns + tileColumns - 1) / tileColumns }

// bytes returns how many bytes the scales of a number of rows take.
func (g *grid) bytes(rows int) int64 {
	if g.cublas {
		return int64((rows+tileRows-1)/tileRows) * int64(g.tiles()) * tileBytes
	}
	return int64(rows) * int64(g.columns)
}

// read returns the scales of n rows of a band, a row after the other.
func (g *grid) read(ctx context.Context, s *rowScratch, from, n int) ([]byte, error) {
	scales := grown(&s.scales, n*g.columns)
	if !g.cublas {
		return scales, g.ReadAt(ctx, scales, int64(from)*int64(g.columns))
	}
	tiles := grown(&s.tiles, g.tiles()*tileBytes)
	if err := g.ReadAt(ctx, tiles, int64(from/tileRows)*int64(len(tiles))); err != nil {
		return nil, err
	}
	for i := range n {
		row := (from + i) % tileRows
		at := row%32*16 + row/32*tileColumns
		for c := range g.columns {
			scales[i*g.columns+c] = tiles[c/tileColumns*tileBytes+at+c%tileColumns]
		}
	}
	return scales, nil
}

// interleaved returns the function that makes rows of blocks, each a scale and
// then values, for values of so many bytes a row. A scale of the grid is that of
// one block or of several.
func interleaved(values Ref, rowBytes int, scales grid, dt dtype.DType) makeRows {
	_, size := dt.Block()
	return func(ctx context.Context, s *rowScratch, dst []byte, from, n int) error {
		raw := grown(&s.values, n*rowBytes)
		if err := values.ReadAt(ctx, raw, int64(from)*int64(rowBytes)); err != nil {
			return err
		}
		grid, err := scales.read(ctx, s, from, n)
		if err != nil {
			return err
		}
		blocks := rowBytes / (size - 1)
		shared := blocks / scales.columns
		for i := range n {
			for b := range blocks {
				block := dst[(i*blocks+b)*size:][:size]
				block[0] = grid[i*scales.columns+b/shared]
				copy(block[1:], raw[i*rowBytes+b*(size-1):])
			}
		}
		return nil
	}
}

// cropped returns a weight whose file has more rows and columns than the network
// as one of the network's shape. Rows that then end within a block become
// BF16, which holds what E2M1 and F8_E4M3 are with their scales.
func (r Ref) cropped(shape []int) Ref {
	q := *r.Quant
	q.Padded = false
	whole := r
	r.Quant, r.Shape = &q, slices.Clone(shape)
	if columns := shape[1]; columns < whole.Shape[1] {
		r.made(dtype.BF16, func(ctx context.Context, s *rowScratch, dst []byte, from, n int) error {
			stored := grown(&s.numbers, n*whole.Shape[1])
			raw := grown(&s.values, int(whole.DType.Bytes(int64(len(stored)))))
			if err := whole.Quant.blocks.readAt(ctx, raw, int64(from)*whole.DType.Bytes(int64(whole.Shape[1]))); err != nil {
				return err
			}
			dtype.ToF32(stored, raw, whole.DType)
			for i := range n {
				dtype.FromF32(dst[i*columns*2:][:columns*2], stored[i*whole.Shape[1]:][:columns], dtype.BF16)
			}
			return nil
		}, whole.Quant.blocks.(*rowMaker).from...)
		return r
	}
	r.Length = int64(shape[0]) * r.DType.Bytes(int64(shape[1]))
	return r
}
