package merge

import (
	"github.com/weir-run/weir/model/lora"
)

// A room is the memory that a goroutine merges one block after another in. Each
// part of it is made when it is first needed, for the largest block.
type room struct {
	most           int       // elements of the largest block
	raw            []byte    // the stored blocks that have the rows, or what they become
	stored         []float32 // their elements
	change, second []float32 // the elements of a change and of one of its factors
	part           []byte    // the stored elements of a factor
	vectors        []float32 // rows that a change multiplies one by one
	mixed          []float32 // columns of the rows that a rotation mixes
	rotation       []float32
	cayley         [2][]float64
}

// sized returns n elements of memory that is made once, for at least most.
func sized[T any](memory *[]T, n, most int) []T {
	if cap(*memory) < n {
		*memory = make([]T, max(n, most))
	}
	return (*memory)[:n]
}

// Scratch bounds the bytes that ReadAt takes beside those it fills, whatever rows
// it reads: the factors of the changes and the rooms of its goroutines.
func (w *Weight) Scratch() int64 {
	var n int64
	for i := range w.changes {
		n += w.loading(&w.changes[i])
	}
	return n + int64(w.workers())*w.roomBytes(w.largestBlock())
}

// workers returns how many goroutines work at once at most.
func (w *Weight) workers() int {
	blocks := (w.height + w.rows - 1) / w.rows
	return min(w.threads, blocks, max(1, int(w.room/w.roomBytes(w.largestBlock()))))
}

// largestBlock bounds the rows of a block. One ends where no rotation is cut: as
// many rows later as lie between two such places.
func (w *Weight) largestBlock() int {
	gap, last := 1, 0
	for row := 1; row <= w.height && w.grouped(); row++ {
		if w.uncut(row, -1) == row {
			gap, last = max(gap, row-last), row
		}
	}
	return min(w.height, w.rows+gap-1)
}

// grouped reports whether a change mixes rows.
func (w *Weight) grouped() bool {
	for _, c := range w.changes {
		if c.Group > 1 {
			return true
		}
	}
	return false
}

// rawBytes bounds the bytes that so many elements take as they are stored, where
// they may begin and end within a block, and merged.
func (w *Weight) rawBytes(elements int) int {
	elems, bytes := w.base.DType.Block()
	return max((elements/elems+2)*bytes, elements*w.dtype.Size())
}

// roomBytes bounds the room of a goroutine for blocks of so many rows.
func (w *Weight) roomBytes(rows int) int64 {
	most := int64(rows * w.columns)
	elems, _ := w.base.DType.Block()
	n := int64(w.rawBytes(int(most))) + 4*(most+2*int64(elems)) + 4*most
	var factors, vectors, mixed, matrices int64
	for i := range w.changes {
		c := &w.changes[i]
		if !c.Transposed {
			factors = max(factors, c.factorRoom()*most)
		}
		switch c.Product {
		case lora.Generalized:
			rank, k := c.dims(c.Second.B)
			vectors = max(vectors, 4*(rank+2*k))
		case lora.Rotation, lora.Butterfly:
			size := c.blockSize()
			mixed = max(mixed, 4*size*int64(min(w.columns, mixedColumns)))
			matrices = max(matrices, (4+8+8)*size*size)
		}
	}
	return n + factors + vectors + mixed + matrices + w.base.Scratch(rows)
}

// loading bounds the bytes that load takes for a change.
func (w *Weight) loading(c *Change) int64 {
	n := c.loadBytes(c.First) + c.loadBytes(c.Second)
	switch c.Product {
	case lora.Kronecker:
		n += c.wholeBytes(c.First) + c.wholeBytes(c.Second)
	case lora.Rotation, lora.Butterfly:
		n += c.matrixBytes(c.First.Whole) + c.matrixBytes(c.Second.Whole)
	}
	if c.Transposed { // once as it is made and once as it is kept
		n += 2*4*w.base.Elements() + c.factorRoom()*min(w.base.Elements(), max(blockElements, int64(w.height)))
	}
	if c.Magnitude != "" {
		n += c.matrixBytes(c.Magnitude)
	}
	if c.Columns {
		n += int64(w.columns) * (8*(squareRuns+1) + 4)
	}
	return n
}

// matrixBytes returns the bytes that loadMatrix takes.
func (c *Change) matrixBytes(name string) int64 {
	ref, ok := c.Set.Lookup(name)
	if !ok {
		return 0
	}
	return ref.Length + 4*ref.Elements()
}

// loadBytes returns the bytes that loadFactor takes.
func (c *Change) loadBytes(f lora.Factor) int64 {
	if f.Whole != "" {
		return 0
	}
	n := c.matrixBytes(f.A) + c.matrixBytes(f.B)
	if f.Transposed {
		rows, columns := c.dims(f.A)
		n += 4 * rows * columns
	}
	if f.Core != "" {
		rows, columns := c.productDims(f)
		n += c.matrixBytes(f.Core) + 4*rows*columns
	}
	return n
}

// wholeBytes bounds the bytes that a factor takes which is kept as one matrix.
func (c *Change) wholeBytes(f lora.Factor) int64 {
	if ref, ok := c.Set.Lookup(f.Whole); ok {
		_, columns := c.dims(f.Whole)
		return 4*ref.Elements() + int64(ref.DType.Size())*min(ref.Elements(), max(blockElements, columns))
	}
	_, columns := c.productDims(f)
	rows, _ := c.dims(f.A)
	if f.Transposed {
		_, rows = c.dims(f.A)
	}
	return 4 * rows * columns
}

// productDims returns the rows and columns of the second matrix of a product, with
// the core in it if there is one.
func (c *Change) productDims(f lora.Factor) (rows, columns int64) {
	rows, columns = c.dims(f.B)
	if f.Core == "" {
		return rows, columns
	}
	coreRows, coreColumns := c.dims(f.Core)
	return coreRows, columns * coreColumns / max(rows, 1)
}

// dims returns the rows and columns of a tensor of the LoRA.
func (c *Change) dims(name string) (rows, columns int64) {
	ref, ok := c.Set.Lookup(name)
	if !ok || ref.Shape[0] == 0 {
		return 0, 0
	}
	return int64(ref.Shape[0]), ref.Elements() / int64(ref.Shape[0])
}

// blockSize returns the rows that a block of a rotation mixes.
func (c *Change) blockSize() int64 {
	ref, ok := c.Set.Lookup(c.First.Whole)
	if !ok {
		return 0
	}
	return int64(ref.Shape[len(ref.Shape)-1])
}

// factorRoom bounds the bytes that each element of a change takes in the room while
// it is made of factors.
func (c *Change) factorRoom() (n int64) {
	switch c.Product {
	case lora.Kronecker, lora.Rotation, lora.Butterfly:
		return 0
	case lora.Hadamard:
		n = 4
	}
	var stored int64
	for _, f := range []lora.Factor{c.First, c.Second} {
		if ref, ok := c.Set.Lookup(f.Whole); ok {
			stored = max(stored, int64(ref.DType.Size()))
		}
	}
	return n + stored
}
