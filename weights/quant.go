package weights

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/hadamard"
)

// A Quant says what the numbers q[N,K] that a file stores mean as a weight
// W[N,K]: row n of q times Scale[n], each group of Rotation columns rotated,
// and column k times Smooth[k].
type Quant struct {
	// Format is the name that ComfyUI has for it.
	Format string
	// Scale is one number or one a row; nil stands for 1.
	Scale *Ref
	// Rotation is the length of the groups that package hadamard rotates; 0 is
	// none.
	Rotation int
	// Smooth has a number for each column, by which the layer's input can be
	// multiplied instead; nil stands for 1.
	Smooth *Ref
	// Padded says that the file may have more rows and columns than the weight,
	// which [Set.Shaped] leaves out.
	Padded bool

	// blocks makes the bytes of the tensor from several others. It is nil if
	// they lie in the file.
	blocks blockMaker
}

// ScaleOf and SmoothOf are the names under which a [Set] finds parts of a
// quantized weight.
func ScaleOf(weight string) string  { return weight + scaleSuffix }
func SmoothOf(weight string) string { return weight + smoothSuffix }

// No name in a checkpoint has a space.
const (
	scaleSuffix  = " scale"
	smoothSuffix = " smoothing"
)

// partOf returns the part of a quantized weight that has a name, or nil.
func (s *Set) partOf(name string) *Ref {
	if weight, ok := strings.CutSuffix(name, scaleSuffix); ok && s.refs[weight].Quant != nil {
		return s.refs[weight].Quant.Scale
	}
	if weight, ok := strings.CutSuffix(name, smoothSuffix); ok && s.refs[weight].Quant != nil {
		return s.refs[weight].Quant.Smooth
	}
	return nil
}

// A blockMaker makes the blocks of a tensor whose values and scales are tensors
// of their own.
type blockMaker interface {
	// readAt fills p with the bytes of blocks from off on.
	readAt(ctx context.Context, p []byte, off int64) error
	// files are those that it reads.
	files() []*File
}

// Mapped reports whether the tensor's bytes lie in its file one after the other,
// so that Bytes, Load and Drop may be called. The bytes of others are made when
// ReadAt asks for them.
func (r Ref) Mapped() bool { return r.Quant == nil || r.Quant.blocks == nil }

// Files returns the files that the tensor's bytes come from.
func (r Ref) Files() []*File {
	if r.Mapped() {
		return []*File{r.File}
	}
	return r.Quant.blocks.files()
}

// Rows are rows of a tensor in float32. Its memory is used again by the next
// read. The zero value is ready to use.
type Rows struct {
	// Values are the rows one after the other, until the next read.
	Values []float32

	raw    []byte    // the stored blocks that have the rows
	stored []float32 // their elements
	factor []float32 // of rows or columns
}

// Read reads n rows of a tensor from one on: elements of all dimensions but the
// first. What is quantized becomes what it stands for.
func (b *Rows) Read(ctx context.Context, r Ref, from, n int) error {
	columns := 1
	for _, d := range r.Shape[min(1, len(r.Shape)):] {
		columns *= d
	}
	elems, bytes := r.DType.Block()
	first, end := from*columns, (from+n)*columns
	skip := first % elems
	blocks := (end - first + skip + elems - 1) / elems
	b.raw = slices.Grow(b.raw[:0], blocks*bytes)[:blocks*bytes]
	if err := r.ReadAt(ctx, b.raw, int64(first/elems)*int64(bytes)); err != nil {
		return err
	}
	b.stored = slices.Grow(b.stored[:0], blocks*elems)[:blocks*elems]
	dtype.ToF32(b.stored, b.raw, r.DType)
	b.Values = b.stored[skip : skip+end-first]
	if r.Quant == nil {
		return nil
	}
	return b.decode(ctx, r.Quant, from, n, columns)
}

// decode turns stored numbers into what they stand for.
func (b *Rows) decode(ctx context.Context, q *Quant, from, n, columns int) error {
	if q.Scale != nil {
		if err := b.read(ctx, *q.Scale, from, n); err != nil {
			return err
		}
		for i := range n {
			by := b.factor[min(i, len(b.factor)-1)]
			for j := range b.Values[i*columns:][:columns] {
				b.Values[i*columns+j] *= by
			}
		}
	}
	if q.Rotation > 0 {
		hadamard.Rotate(b.Values, q.Rotation)
	}
	if q.Smooth != nil {
		if err := b.read(ctx, *q.Smooth, 0, columns); err != nil {
			return err
		}
		for i := range n {
			for j, by := range b.factor {
				b.Values[i*columns+j] *= by
			}
		}
	}
	return nil
}

// read reads n factors from one on, or the only one.
func (b *Rows) read(ctx context.Context, r Ref, from, n int) error {
	if r.Elements() == 1 {
		from, n = 0, 1
	}
	size := r.DType.Size()
	raw := make([]byte, n*size)
	if err := r.ReadAt(ctx, raw, int64(from*size)); err != nil {
		return err
	}
	b.factor = slices.Grow(b.factor[:0], n)[:n]
	dtype.ToF32(b.factor, raw, r.DType)
	return nil
}

// readBlocks reads bytes that are made of several tensors.
func (r Ref) readBlocks(ctx context.Context, p []byte, off int64) error {
	if err := r.Quant.blocks.readAt(ctx, p, off); err != nil {
		return fmt.Errorf("tensor %s: %w", quote(r.Name), err)
	}
	return nil
}
