package weights

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-run/weir/atomicfile"
	"github.com/weir-run/weir/dtype"
)

// dataAlignment is the alignment of the data in files that Weir writes: a cache line, so that kernels can use mapped
// weights in place. The format itself asks for none.
const dataAlignment = 64

// Tensor is a tensor to be written.
type Tensor struct {
	Name  string
	DType dtype.DType
	Shape []int
	// Write writes the tensor's elements in row-major order, little endian: exactly as many bytes as they take.
	Write func(w io.Writer) error
	// Zeros says that all elements are zeros, which take no place on file systems with holes. Write is not called.
	Zeros bool
}

// Bytes returns a function for [Tensor.Write] that writes p.
func Bytes(p []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(p)
		return err
	}
}

// F32 returns the tensor of those values, stored as dt.
func F32(name string, dt dtype.DType, shape []int, values []float32) Tensor {
	return Tensor{Name: name, DType: dt, Shape: shape, Write: func(w io.Writer) error {
		const chunk = 64 << 10
		buf := make([]byte, min(chunk, len(values))*dt.Size())
		for part := range slices.Chunk(values, chunk) {
			p := buf[:len(part)*dt.Size()]
			dtype.FromF32(p, part, dt)
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Write writes a safetensors file, streaming the tensors one after the other. Their order in the file is the one given,
// but with larger elements first, as the reference implementation has it: so all are aligned. The file appears at path
// when it is complete, in place of what was there; when Write fails or ctx ends, nothing has changed.
func Write(ctx context.Context, path string, metadata map[string]string, tensors []Tensor) (err error) {
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, func(a, b Tensor) int { return b.DType.Size() - a.DType.Size() })
	head, lengths, err := marshalHeader(metadata, tensors)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	f, err := atomicfile.Replacing(path)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := f.Finish(writeAll(ctx, f, head, tensors, lengths)); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func writeAll(ctx context.Context, f *atomicfile.File, head []byte, tensors []Tensor, lengths []int64) error {
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(head); err != nil {
		return err
	}
	for i, t := range tensors {
		if t.Zeros {
			if err := errors.Join(w.Flush(), f.Skip(lengths[i])); err != nil {
				return fmt.Errorf("tensor %s: %w", quote(t.Name), err)
			}
			continue
		}
		tw := &tensorWriter{ctx: ctx, w: w, left: lengths[i]}
		if err := t.Write(tw); err != nil {
			return fmt.Errorf("tensor %s: %w", quote(t.Name), err)
		}
		if tw.left > 0 {
			return fmt.Errorf("tensor %s, %v %v: expected %d bytes, got %d", quote(t.Name), t.DType, t.Shape, lengths[i], lengths[i]-tw.left)
		}
	}
	return w.Flush()
}

// tensorWriter lets through as many bytes as a tensor has, until its context ends.
type tensorWriter struct {
	ctx  context.Context
	w    io.Writer
	left int64
}

func (t *tensorWriter) Write(p []byte) (n int, err error) {
	if int64(len(p)) > t.left {
		return 0, fmt.Errorf("%d bytes more than the tensor has", int64(len(p))-t.left)
	}
	for len(p) > 0 {
		if err := t.ctx.Err(); err != nil {
			return n, err
		}
		k, err := t.w.Write(p[:min(len(p), readChunk)])
		n, p, t.left = n+k, p[k:], t.left-int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// marshalHeader returns the bytes before the data, and the tensors' lengths.
func marshalHeader(metadata map[string]string, tensors []Tensor) (head []byte, lengths []int64, err error) {
	var text strings.Builder
	text.WriteByte('{')
	if len(metadata) > 0 {
		m, err := json.Marshal(metadata)
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintf(&text, "%q:%s", metadataKey, m)
	}
	seen := map[string]bool{metadataKey: true, "": true}
	offset := int64(0)
	for _, t := range tensors {
		if seen[t.Name] || !utf8.ValidString(t.Name) {
			return nil, nil, fmt.Errorf("tensor %s: the name is empty, reserved, another tensor's or not valid UTF-8", quote(t.Name))
		}
		seen[t.Name] = true
		if t.DType.IsQuantized() {
			return nil, nil, fmt.Errorf("tensor %s: safetensors has no type %v", quote(t.Name), t.DType)
		}
		length, err := byteLength(t.DType, t.Shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", quote(t.Name), err)
		}
		if length > maxFile-offset {
			return nil, nil, fmt.Errorf("tensor %s: the tensors up to it are larger than any file", quote(t.Name))
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, nil, err
		}
		shape, err := json.Marshal(append([]int{}, t.Shape...)) // null for no dimensions otherwise
		if err != nil {
			return nil, nil, err
		}
		if text.Len() > 1 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `%s:{"dtype":"%v","shape":%s,"data_offsets":[%d,%d]}`, name, t.DType, shape, offset, offset+length)
		offset += length
		lengths = append(lengths, length)
	}
	text.WriteByte('}')
	text.WriteString(strings.Repeat(" ", (dataAlignment-(8+text.Len())%dataAlignment)%dataAlignment))
	if text.Len() > maxHeader {
		return nil, nil, fmt.Errorf("the header of %d tensors takes %d bytes, the format permits %d", len(tensors), text.Len(), maxHeader)
	}
	head = binary.LittleEndian.AppendUint64(nil, uint64(text.Len()))
	return append(head, text.String()...), lengths, nil
}
