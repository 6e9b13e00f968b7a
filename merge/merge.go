// Package merge computes weights with the changes of LoRA files merged into
// them, as they are read. Any rows can be read by themselves, and come out the
// same bits whichever others are read with them; nothing is kept but what a
// DoRA must know of a whole weight.
package merge

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/weights"
)

// A Change is one of a LoRA file on a weight that it fits, as lora.Map has
// checked, with the user's strength.
type Change struct {
	lora.Change
	Set      *weights.Set // the file
	Strength float32
}

// DType returns the dtype in which a tensor is kept once something is merged
// into it: its own, or F16 for quantized ones. To quantize again would round
// most of a small change away, and F16 holds every dequantized value more
// exactly than the stored numbers did.
func DType(tensor weights.Ref) dtype.DType {
	if tensor.Quant != nil || tensor.DType.IsQuantized() {
		return dtype.F16
	}
	return tensor.DType
}

// A Weight is a tensor of a checkpoint with changes merged into it. It has the
// tensor's shape, and the dtype that DType returns. It may be read by several
// goroutines.
type Weight struct {
	base    weights.Ref
	dtype   dtype.DType
	changes []Change
	threads int
	columns int // of the matrix that the weight is: the elements of a row
	height  int // its rows
	room    int64
	rows    int // of a block, if no rotation needs more
	norms   norms
}

// New returns a weight with changes, which are merged in their order by so
// many goroutines at once; 0 means as many as there are cores. The less room
// they have together, in bytes, the smaller are the blocks they work on, and the
// fewer they are at last. It reads nothing.
func New(base weights.Ref, changes []Change, threads int, room int64) *Weight {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	w := &Weight{base: base, dtype: DType(base), changes: changes, threads: threads, columns: 1, height: 1, norms: newNorms(), room: room}
	for i, n := range base.Shape {
		if i == 0 {
			w.height = n
		} else {
			w.columns *= n
		}
	}
	w.rows = w.blockRows()
	for w.rows > 1 && w.roomBytes(w.largestBlock())*int64(threads) > room {
		w.rows /= 2
	}
	return w
}

// Bytes returns the size of the merged tensor.
func (w *Weight) Bytes() int64 { return w.dtype.Bytes(w.base.Elements()) }

// Signature tells what is merged from anything else that may be merged into
// the same tensor.
func (w *Weight) Signature() string {
	var s strings.Builder
	for _, c := range w.changes {
		for _, f := range c.Set.Files() {
			fmt.Fprintf(&s, "%d ", f.ID())
		}
		fmt.Fprintf(&s, "%#v %v ", c.Change, c.Strength)
	}
	return s.String()
}

// Files returns the files that are read besides the tensor's own.
func (w *Weight) Files() []*weights.File {
	var files []*weights.File
	for _, c := range w.changes {
		for _, f := range c.Set.Files() {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files
}

// ReadAt fills p with the bytes of the merged tensor from off on, which must
// lie within it. Errors name the file and the tensor.
func (w *Weight) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off > w.Bytes() || int64(len(p)) > w.Bytes()-off {
		return fmt.Errorf("%v: bytes %d to %d are outside its %d bytes", w.base, off, off+int64(len(p)), w.Bytes())
	}
	if len(p) == 0 {
		return ctx.Err()
	}
	size := int64(w.columns * w.dtype.Size())
	from, to := int(off/size), int((off+int64(len(p))+size-1)/size)
	r := w.reading()
	loaded, err := r.load(ctx)
	if err != nil {
		return err
	}
	return r.each(ctx, w.bounds(from, to, w.rows), func(b *block, _ int) error {
		if err := b.apply(ctx, loaded); err != nil {
			return err
		}
		// A block may begin before the bytes that are wanted, and end behind them.
		at := int64(b.from)*size - off
		first, end := max(-at, 0), min(int64(b.n)*size, int64(len(p))-at)
		if first%size == 0 && end%size == 0 {
			dtype.FromF32(p[at+first:at+end], b.values[first/size*int64(w.columns):end/size*int64(w.columns)], w.dtype)
			return nil
		}
		raw := sized(&b.raw, b.n*int(size), w.rawBytes(b.most))
		dtype.FromF32(raw, b.values, w.dtype)
		copy(p[at+first:at+end], raw[first:end])
		return nil
	})
}

// load reads what is needed of all changes.
func (r *reading) load(ctx context.Context) ([]loaded, error) {
	var all []loaded
	for i, c := range r.changes {
		d, err := c.load(ctx)
		if err != nil {
			return nil, err
		}
		next := loaded{&r.changes[i], d, nil}
		if c.Magnitude != "" {
			if next.lengths, err = r.lengths(ctx, i, append(all, next)); err != nil {
				return nil, err
			}
		}
		all = append(all, next)
	}
	return all, nil
}

// A loaded change is one with its factors in memory.
type loaded struct {
	*Change
	delta
	// lengths are those of a DoRA of rows or, of columns, what each is multiplied
	// by.
	lengths []float32
}

// apply merges changes into the block, one after the other.
func (b *block) apply(ctx context.Context, changes []loaded) error {
	for _, c := range changes {
		rows, from, values := b.under(c.Change)
		if rows == 0 {
			continue
		}
		change := sized(&b.change, len(values), b.most)
		if err := c.rows(ctx, &b.room, change, values, from, rows); err != nil {
			return err
		}
		switch {
		case c.Product == lora.Replacement:
			copy(values, change)
		case c.Magnitude == "":
			for j, v := range change {
				values[j] += c.Strength * c.Scale * v
			}
		case c.Columns:
			c.scaleColumns(values, change, rows)
		default:
			c.scaleRows(values, change, from, rows)
		}
	}
	return nil
}

// under returns how many rows of a change are in the block, the first of them,
// and the values of the weight there.
func (b *block) under(c *Change) (rows, from int, values []float32) {
	first, end := c.span(b.from, b.from+b.n)
	if first >= end {
		return 0, 0, nil
	}
	columns := len(b.values) / b.n
	return end - first, first - c.From, b.values[(first-b.from)*columns : (end-b.from)*columns]
}

// span returns the rows among from..to that the change is on.
func (c *Change) span(from, to int) (int, int) {
	if c.Rows > 0 {
		return max(from, c.From), min(to, c.From+c.Rows)
	}
	return from, to
}
