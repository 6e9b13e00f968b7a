package weights

import (
	"context"
	"fmt"
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
	// scratch bounds the bytes that readAt takes beside those it fills.
	scratch() int64
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

// Decode turns n rows of the tensor from one on, whose elements are converted to
// float32, into what they stand for: nothing changes if it is not quantized.
func (r Ref) Decode(ctx context.Context, values []float32, from, n int) error {
	q := r.Quant
	if q == nil || n == 0 {
		return nil
	}
	columns := len(values) / n
	if q.Scale != nil {
		by, err := q.Scale.factors(ctx, from, n)
		if err != nil {
			return err
		}
		for i := range n {
			scale, row := by[min(i, len(by)-1)], values[i*columns:][:columns]
			for j := range row {
				row[j] *= scale
			}
		}
	}
	if q.Rotation > 0 {
		hadamard.Rotate(values, q.Rotation)
	}
	if q.Smooth != nil {
		by, err := q.Smooth.factors(ctx, 0, columns)
		if err != nil {
			return err
		}
		for i := range n {
			row := values[i*columns:][:columns]
			for j, smooth := range by {
				row[j] *= smooth
			}
		}
	}
	return nil
}

// factors reads n numbers from one on, or the only one.
func (r Ref) factors(ctx context.Context, from, n int) ([]float32, error) {
	if r.Elements() == 1 {
		from, n = 0, 1
	}
	size := r.DType.Size()
	raw, by := make([]byte, n*size), make([]float32, n)
	if err := r.ReadAt(ctx, raw, int64(from*size)); err != nil {
		return nil, err
	}
	dtype.ToF32(by, raw, r.DType)
	return by, nil
}

// Scratch bounds the bytes that ReadAt and Decode take for so many rows, beside
// those that they fill.
func (r Ref) Scratch(rows int) int64 {
	if r.Quant == nil {
		return 0
	}
	n := int64(8 * (rows + r.Shape[len(r.Shape)-1]))
	if !r.Mapped() {
		n += r.Quant.blocks.scratch()
	}
	return n
}

// readBlocks reads bytes that are made of several tensors.
func (r Ref) readBlocks(ctx context.Context, p []byte, off int64) error {
	if err := r.Quant.blocks.readAt(ctx, p, off); err != nil {
		return fmt.Errorf("tensor %s: %w", quote(r.Name), err)
	}
	return nil
}
