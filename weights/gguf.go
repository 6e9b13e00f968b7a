package weights

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-run/weir/dtype"
)

// The format of GGUF is described in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file begins with a
// magic, a version and the numbers of tensors and of metadata; then come the metadata, a description of each tensor, and
// the tensors' bytes, each at a multiple of an alignment.
const (
	magicGGUF = "GGUF"
	// alignmentKey is the metadata that gives the alignment where it is not the usual one.
	alignmentKey     = "general.alignment"
	usualAlignment   = 32
	maxNestedArrays  = 8
	maxNameGGUF      = 1 << 16 // bytes of the name of a tensor or of metadata
	originalShapeKey = "comfy.gguf.orig_shape."
)

// The types of metadata.
const (
	ggufU8 = iota
	ggufI8
	ggufU16
	ggufI16
	ggufU32
	ggufI32
	ggufF32
	ggufBool
	ggufString
	ggufArray
	ggufU64
	ggufI64
	ggufF64
	ggufTypes
)

var ggufWidths = [ggufTypes]int64{
	ggufU8: 1, ggufI8: 1, ggufU16: 2, ggufI16: 2, ggufU32: 4, ggufI32: 4, ggufF32: 4, ggufBool: 1,
	ggufU64: 8, ggufI64: 8, ggufF64: 8,
}

// ggmlTypes are ggml's numbers of the element types.
var ggmlTypes = map[uint32]dtype.DType{
	0: dtype.F32, 1: dtype.F16, 30: dtype.BF16, 28: dtype.F64,
	24: dtype.I8, 25: dtype.I16, 26: dtype.I32, 27: dtype.I64,
	2: dtype.Q4_0, 3: dtype.Q4_1, 6: dtype.Q5_0, 7: dtype.Q5_1, 8: dtype.Q8_0,
	10: dtype.Q2_K, 11: dtype.Q3_K, 12: dtype.Q4_K, 13: dtype.Q5_K, 14: dtype.Q6_K,
	19: dtype.IQ1_S, 29: dtype.IQ1_M, 16: dtype.IQ2_XXS, 17: dtype.IQ2_XS, 22: dtype.IQ2_S, 18: dtype.IQ3_XXS, 21: dtype.IQ3_S,
	20: dtype.IQ4_NL, 23: dtype.IQ4_XS, 34: dtype.TQ1_0, 35: dtype.TQ2_0, 39: dtype.MXFP4,
}

// otherTypes are the names of those that Weir does not read.
var otherTypes = map[uint32]string{
	9: "Q8_1", 15: "Q8_K", 40: "NVFP4",
}

// begins reports whether a file begins with four bytes.
func begins(r io.ReaderAt, magic string) bool {
	var start [4]byte
	return readFull(r, start[:], 0) == nil && string(start[:]) == magic
}

// readGGUF reads and checks the header of a GGUF file of the given size, and nothing behind it. Shapes have the slowest
// dimension first, as everywhere in Weir; GGUF has the fastest first. The metadata are strings: numbers are written out,
// and of arrays it is kept where they are.
func readGGUF(ctx context.Context, r io.ReaderAt, size int64) (*header, error) {
	g := &ggufReader{
		buf: bufio.NewReaderSize(io.NewSectionReader(interruptible{ctx, r}, 0, min(size, maxHeader)), 64<<10), size: size,
		alignment: usualAlignment, metadata: map[string]string{}, arrays: map[string]Array{}, shapes: map[string][]int{},
	}
	h, err := g.header()
	switch {
	case err == nil:
		return h, g.place(h)
	case errors.Is(err, io.ErrUnexpectedEOF) && size > maxHeader:
		return nil, fmt.Errorf("the GGUF header is longer than %d bytes", maxHeader)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the file is truncated within its GGUF header, at byte %d of %d: %w; download or copy it again", g.at, size, err)
	}
	return nil, fmt.Errorf("GGUF header, at byte %d: %w", g.at, err)
}

// A ggufReader reads a header from its beginning to its end.
type ggufReader struct {
	buf       *bufio.Reader
	size, at  int64 // of the file; how much was read
	alignment int64
	metadata  map[string]string
	arrays    map[string]Array
	shapes    map[string][]int // by tensor, of those that were reshaped when the file was made
	word      [8]byte
}

// header reads all of it. The offsets in the refs are still relative to the data.
func (g *ggufReader) header() (*header, error) {
	if _, err := g.bytes(int64(len(magicGGUF))); err != nil {
		return nil, err
	}
	version, err := g.u32()
	if err != nil {
		return nil, err
	}
	switch {
	case version == 2, version == 3:
	case version != 0 && version&0xffff == 0:
		return nil, errors.New("the file is big-endian; use a little-endian one")
	default:
		return nil, fmt.Errorf("the file has version %d of the format, expected 2 or 3; convert the model again with a current tool", version)
	}
	tensors, err := g.u64()
	if err != nil {
		return nil, err
	}
	pairs, err := g.u64()
	if err != nil {
		return nil, err
	}
	// The numbers are claims: nothing is allocated by them, and a file that has fewer ends too early.
	for range pairs {
		if err := g.pair(); err != nil {
			return nil, err
		}
	}
	h := &header{metadata: g.metadata, arrays: g.arrays, byName: map[string]int{}}
	for range tensors {
		ref, err := g.tensor()
		if err != nil {
			return nil, err
		}
		if _, twice := h.byName[ref.Name]; twice {
			return nil, fmt.Errorf("tensor %s occurs twice", quote(ref.Name))
		}
		h.byName[ref.Name] = len(h.refs)
		h.refs = append(h.refs, ref)
	}
	return h, nil
}

// pair reads a key of the metadata with its value.
func (g *ggufReader) pair() error {
	key, err := g.name()
	if err != nil {
		return fmt.Errorf("key of metadata: %w", err)
	}
	kind, err := g.u32()
	if err == nil {
		err = g.value(key, kind)
	}
	if err != nil {
		return fmt.Errorf("metadata %s: %w", quote(key), err)
	}
	return nil
}

func (g *ggufReader) value(key string, kind uint32) error {
	if _, twice := g.metadata[key]; twice {
		return errors.New("it occurs twice")
	}
	if tensor, ok := strings.CutPrefix(key, originalShapeKey); ok {
		return g.shape(tensor, kind)
	}
	if kind == ggufArray && key != alignmentKey {
		return g.array(key)
	}
	if key == alignmentKey && kind != ggufU32 {
		return fmt.Errorf("an alignment of type %d, expected a number of 32 bits (type %d)", kind, ggufU32)
	}
	text, err := g.scalar(kind)
	if err != nil {
		return err
	}
	g.metadata[key] = text
	if key != alignmentKey {
		return nil
	}
	g.alignment, err = strconv.ParseInt(text, 10, 64)
	if err != nil || g.alignment < 1 || g.alignment&(g.alignment-1) != 0 {
		return fmt.Errorf("an alignment of %s bytes, expected a power of 2", quote(text))
	}
	return nil
}

// scalar reads a value that is no array and writes it as text.
func (g *ggufReader) scalar(kind uint32) (string, error) {
	if kind == ggufString {
		return g.text(maxHeader)
	}
	if kind >= ggufTypes || ggufWidths[kind] == 0 {
		return "", fmt.Errorf("a value of unknown type %d", kind)
	}
	clear(g.word[:])
	if err := g.fill(g.word[:ggufWidths[kind]]); err != nil {
		return "", err
	}
	u := binary.LittleEndian.Uint64(g.word[:])
	switch kind {
	case ggufBool:
		return strconv.FormatBool(u != 0), nil
	case ggufI8:
		return strconv.Itoa(int(int8(u))), nil
	case ggufI16:
		return strconv.Itoa(int(int16(u))), nil
	case ggufI32:
		return strconv.Itoa(int(int32(u))), nil
	case ggufI64:
		return strconv.FormatInt(int64(u), 10), nil
	case ggufF32:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(u))), 'g', -1, 32), nil
	case ggufF64:
		return strconv.FormatFloat(math.Float64frombits(u), 'g', -1, 64), nil
	}
	return strconv.FormatUint(u, 10), nil
}

// skipArray reads past an array within others.
func (g *ggufReader) skipArray(depth int) error {
	if depth == maxNestedArrays {
		return fmt.Errorf("arrays within arrays, more than %d deep", maxNestedArrays)
	}
	kind, n, err := g.arrayHead()
	if err != nil {
		return err
	}
	return g.skipElements(kind, n, depth)
}

// skipElements reads past the elements of an array, which may be arrays.
func (g *ggufReader) skipElements(kind uint32, n uint64, depth int) (err error) {
	if width := ggufWidths[kind]; width > 0 {
		if n > uint64(g.size/width) {
			return fmt.Errorf("an array of %d elements of %d bytes, the file has %d: %w", n, width, g.size, io.ErrUnexpectedEOF)
		}
		return g.skip(int64(n) * width)
	}
	for range n {
		if kind == ggufArray {
			err = g.skipArray(depth + 1)
		} else {
			err = g.skipText()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *ggufReader) skipText() error {
	n, err := g.length(maxHeader)
	if err != nil {
		return err
	}
	return g.skip(n)
}

func (g *ggufReader) arrayHead() (kind uint32, n uint64, err error) {
	if kind, err = g.u32(); err != nil {
		return 0, 0, err
	}
	if kind >= ggufTypes {
		return 0, 0, fmt.Errorf("an array of unknown type %d", kind)
	}
	n, err = g.u64()
	return kind, n, err
}

// shape reads the shape that a tensor had before a tool reshaped it into rows of whole blocks.
func (g *ggufReader) shape(tensor string, kind uint32) error {
	if _, twice := g.shapes[tensor]; twice {
		return errors.New("it occurs twice")
	}
	if kind != ggufArray {
		return fmt.Errorf("a shape of type %d, expected an array", kind)
	}
	kind, n, err := g.arrayHead()
	if err != nil {
		return err
	}
	if n > maxRank || (kind != ggufI32 && kind != ggufU32 && kind != ggufI64 && kind != ggufU64) {
		return fmt.Errorf("a shape of %d numbers of type %d, expected at most %d integers", n, kind, maxRank)
	}
	shape := make([]int, n)
	for i := range shape {
		text, err := g.scalar(kind)
		if err != nil {
			return err
		}
		if shape[i], err = strconv.Atoi(text); err != nil || shape[i] < 0 {
			return fmt.Errorf("dimension %d of a shape is %s", i, text)
		}
	}
	g.shapes[tensor] = shape
	return nil
}

// tensor reads the description of a tensor.
func (g *ggufReader) tensor() (Ref, error) {
	name, err := g.name()
	if err != nil {
		return Ref{}, fmt.Errorf("name of a tensor: %w", err)
	}
	ref, err := g.describe(name)
	if err != nil {
		return Ref{}, fmt.Errorf("tensor %s: %w", quote(name), err)
	}
	return ref, nil
}

func (g *ggufReader) describe(name string) (Ref, error) {
	rank, err := g.u32()
	if err != nil {
		return Ref{}, err
	}
	if rank > maxRank {
		return Ref{}, fmt.Errorf("%d dimensions, at most %d are possible", rank, maxRank)
	}
	shape := make([]int, rank)
	for i := range shape {
		n, err := g.u64()
		if err != nil {
			return Ref{}, err
		}
		if n > maxFile {
			return Ref{}, fmt.Errorf("a dimension of %d is larger than any file", n)
		}
		shape[len(shape)-1-i] = int(n)
	}
	kind, err := g.u32()
	if err != nil {
		return Ref{}, err
	}
	offset, err := g.u64()
	if err != nil {
		return Ref{}, err
	}
	dt, ok := ggmlTypes[kind]
	if other := otherTypes[kind]; !ok && other != "" {
		return Ref{}, fmt.Errorf("it is quantized as %s, which is not supported; use a file with another type, such as Q8_0 or Q4_K", other)
	} else if !ok {
		return Ref{}, fmt.Errorf("it has the unknown type %d", kind)
	}
	if elems, _ := dt.Block(); elems > 1 && (rank == 0 || shape[rank-1]%elems != 0) {
		return Ref{}, fmt.Errorf("shape %v of %v: the last dimension must be a multiple of its blocks of %d elements", shape, dt, elems)
	}
	length, err := byteLength(dt, shape)
	if err != nil {
		return Ref{}, err
	}
	if offset > maxFile || int64(offset)%g.alignment != 0 {
		return Ref{}, fmt.Errorf("its offset %d is no multiple of %d within a file", offset, g.alignment)
	}
	if original, ok := g.shapes[name]; ok {
		n, err := elements(original)
		if want, _ := elements(shape); err != nil || n != want {
			return Ref{}, fmt.Errorf("the metadata %s have the shape %v, and the tensor has %v", originalShapeKey+name, original, shape)
		}
		shape = original
	}
	return Ref{Name: name, DType: dt, Shape: shape, Offset: int64(offset), Length: length}, nil
}

// place orders the refs by offset, makes their offsets those in the file, and checks that they lie within it and apart.
func (g *ggufReader) place(h *header) error {
	start := (g.at + g.alignment - 1) / g.alignment * g.alignment
	slices.SortFunc(h.refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length), cmp.Compare(a.Name, b.Name))
	})
	end := start
	for i := range h.refs {
		r := &h.refs[i]
		h.byName[r.Name] = i
		if left := g.size - start - r.Offset; left < r.Length {
			return fmt.Errorf("the file is truncated: it has %d bytes, and the first tensor cut off is %s, %v %v, %d bytes at byte %d of the data, which begins at byte %d; download or copy the file again",
				g.size, quote(r.Name), r.DType, r.Shape, r.Length, r.Offset, start)
		}
		r.Offset += start
		if r.Offset < end {
			return fmt.Errorf("tensor %s begins at byte %d, within tensor %s, which ends at byte %d", quote(r.Name), r.Offset, quote(h.refs[i-1].Name), end)
		}
		end = r.Offset + r.Length
	}
	return nil
}

// name reads the name of a tensor or of metadata.
func (g *ggufReader) name() (string, error) {
	s, err := g.text(maxNameGGUF)
	if err == nil && s == "" {
		err = errors.New("it is empty")
	}
	return s, err
}

// text reads a string of at most limit bytes.
func (g *ggufReader) text(limit int64) (string, error) {
	n, err := g.length(limit)
	if err != nil {
		return "", err
	}
	raw, err := g.bytes(n)
	if err == nil && !utf8.Valid(raw) {
		err = fmt.Errorf("%s is not valid UTF-8", quote(string(raw)))
	}
	return string(raw), err
}

// length reads the length of a string, of which the file must have as many bytes.
func (g *ggufReader) length(limit int64) (int64, error) {
	n, err := g.u64()
	switch {
	case err != nil:
		return 0, err
	case n > uint64(min(g.size, maxHeader)-g.at):
		return 0, fmt.Errorf("a string of %d bytes, the file has %d: %w", n, g.size, io.ErrUnexpectedEOF)
	case n > uint64(limit):
		return 0, fmt.Errorf("a string of %d bytes, expected at most %d", n, limit)
	}
	return int64(n), nil
}

func (g *ggufReader) u32() (uint32, error) {
	err := g.fill(g.word[:4])
	return binary.LittleEndian.Uint32(g.word[:]), err
}

func (g *ggufReader) u64() (uint64, error) {
	err := g.fill(g.word[:])
	return binary.LittleEndian.Uint64(g.word[:]), err
}

// bytes reads n bytes, which the caller has found to be no more than the file has.
func (g *ggufReader) bytes(n int64) ([]byte, error) {
	b := make([]byte, n)
	return b, g.fill(b)
}

func (g *ggufReader) fill(b []byte) error {
	k, err := io.ReadFull(g.buf, b)
	g.at += int64(k)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// skip reads past n bytes.
func (g *ggufReader) skip(n int64) error {
	k, err := io.CopyN(io.Discard, g.buf, n)
	g.at += k
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
