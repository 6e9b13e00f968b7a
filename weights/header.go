package weights

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
)

const (
	// maxHeader is the length of a header's JSON that safetensors permits.
	maxHeader = 100_000_000
	// maxFile is more data than any file has; with a header before it, its offsets still fit an int64.
	maxFile = math.MaxInt64 - maxHeader - 8
	// maxRank is more dimensions than PyTorch and NumPy can give a tensor.
	maxRank = 64
	// metadataKey is the name in a header that stands for the file's metadata and not for a tensor.
	metadataKey = "__metadata__"
)

// header is what a safetensors file says about itself before its data. Its refs are ordered by offset and name no File.
type header struct {
	metadata map[string]string
	arrays   map[string]Array
	refs     []Ref
	byName   map[string]int
}

// entry is a tensor's description in a header.
type entry struct {
	DType   *string       `json:"dtype"`
	Shape   short[int]    `json:"shape"`
	Offsets short[uint64] `json:"data_offsets"`
}

// short is a list of numbers that a file may make of any length: one that is
// longer than any shape is refused before it takes memory.
type short[T int | uint64] []T

func (s *short[T]) UnmarshalJSON(text []byte) error {
	if n := bytes.Count(text, []byte(",")) + 1; n > maxRank {
		return fmt.Errorf("%d dimensions, at most %d are possible", n, maxRank)
	}
	return json.Unmarshal(text, (*[]T)(s))
}

// readHeader reads and checks the header of a safetensors file of the given size: the length of the header's JSON in
// eight bytes, and the JSON. It reads nothing behind them. It accepts what the reference implementation accepts, with the
// exception of names that occur twice.
//
// Cancelling the context ends it, also within a long header.
func readHeader(ctx context.Context, r io.ReaderAt, size int64) (*header, error) {
	text, err := readHeaderText(interruptible{ctx, r}, size)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(io.NewSectionReader(interruptible{ctx, bytes.NewReader(text)}, 0, int64(len(text))))
	if err != nil {
		return nil, err
	}
	return h, h.place(int64(8+len(text)), size)
}

// readHeaderText returns a header's JSON.
func readHeaderText(r io.ReaderAt, size int64) ([]byte, error) {
	start := make([]byte, min(size, sniffLength))
	if err := readFull(r, start, 0); err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	if len(start) < 9 {
		return nil, foreign(start, fmt.Errorf("not a safetensors file: it has only %d bytes", size))
	}
	n := binary.LittleEndian.Uint64(start)
	switch {
	case n > maxHeader:
		return nil, foreign(start, fmt.Errorf("not a safetensors file: its first 8 bytes claim a header of %d bytes, the format permits %d", n, maxHeader))
	case int64(n) > size-8:
		return nil, foreign(start, fmt.Errorf("the file is truncated within its header: the header takes %d bytes, the file has %d; download or copy it again", 8+n, size))
	case start[8] != '{':
		return nil, foreign(start, fmt.Errorf("not a safetensors file: its header begins with %q, expected %q", start[8], '{'))
	}
	text := make([]byte, n)
	if err := readFull(r, text, 8); err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	if !utf8.Valid(text) {
		return nil, errors.New("the header is not valid UTF-8")
	}
	return text, nil
}

// readFull fills p from r at off.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseHeader reads a header's JSON. The offsets in the refs are still relative to the data.
func parseHeader(text io.Reader) (*header, error) {
	dec := json.NewDecoder(text)
	if _, err := dec.Token(); err != nil { // readHeaderText has seen that it is {
		return nil, fmt.Errorf("the header is not JSON: %w", jsonError(err))
	}
	h := &header{byName: map[string]int{}}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("the header is not JSON: %w", jsonError(err))
		}
		name := token.(string) // a decoder gives no other key
		if name == metadataKey {
			if h.metadata != nil {
				return nil, fmt.Errorf("%s occurs twice in the header", metadataKey)
			}
			if err := dec.Decode(&h.metadata); err != nil {
				return nil, fmt.Errorf("%s: expected strings by name: %w", metadataKey, jsonError(err))
			}
			continue
		}
		if _, twice := h.byName[name]; twice {
			return nil, fmt.Errorf("tensor %s occurs twice in the header", quote(name))
		}
		var e entry
		if err := dec.Decode(&e); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", quote(name), jsonError(err))
		}
		ref, err := e.ref(name)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", quote(name), err)
		}
		h.byName[name] = len(h.refs)
		h.refs = append(h.refs, ref)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("the header is not JSON: %w", jsonError(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("the header is not JSON: there is more after its closing brace")
	}
	return h, nil
}

// packedTypes are types of safetensors that hold parts of quantized weights, with
// the formats that use them.
var packedTypes = map[string]string{
	"F4": "NVFP4 or MXFP4", "F6_E2M3": "MXFP6", "F6_E3M2": "MXFP6",
	"F8_E4M3FNUZ": "FP8 on AMD's MI300", "F8_E5M2FNUZ": "FP8 on AMD's MI300",
}

// exponents is the type of the scales of MXFP8, powers of two, which are read as
// the bytes that they are: nothing reads them as numbers but that format.
const exponents = "F8_E8M0"

// maxDType is how many bytes of an unknown type errors show.
const maxDType = 40

// ref checks that a tensor's description agrees with itself.
func (e *entry) ref(name string) (Ref, error) {
	switch {
	case name == "":
		return Ref{}, errors.New("a tensor must have a name")
	case e.DType == nil:
		return Ref{}, errors.New("no dtype")
	case e.Shape == nil:
		return Ref{}, errors.New("no shape")
	case len(e.Offsets) != 2:
		return Ref{}, fmt.Errorf("data_offsets: expected begin and end, found %d numbers", len(e.Offsets))
	}
	if format := packedTypes[*e.DType]; format != "" {
		return Ref{}, fmt.Errorf("it has the dtype %s, which %s uses and which is not supported yet; use a file in F16, BF16, plain FP8 or GGUF", *e.DType, format)
	}
	if *e.DType == exponents {
		*e.DType = dtype.U8.String()
	}
	dt, err := dtype.Parse(fault.Cut(*e.DType, maxDType))
	if err != nil {
		return Ref{}, err
	}
	want, err := byteLength(dt, e.Shape)
	if err != nil {
		return Ref{}, err
	}
	begin, end := e.Offsets[0], e.Offsets[1]
	if end < begin || end > maxFile {
		return Ref{}, fmt.Errorf("data_offsets: %d to %d is no range of a file", begin, end)
	}
	if end-begin != uint64(want) {
		return Ref{}, fmt.Errorf("shape %v of %v takes %d bytes, data_offsets %d to %d have %d", e.Shape, dt, want, begin, end, end-begin)
	}
	return Ref{Name: name, DType: dt, Shape: e.Shape, Offset: int64(begin), Length: want}, nil
}

// byteLength returns how many bytes a tensor takes.
func byteLength(dt dtype.DType, shape []int) (int64, error) {
	block, size := dt.Block()
	if block == 0 {
		return 0, fmt.Errorf("%v is no type", dt)
	}
	n, err := elements(shape)
	if err != nil {
		return 0, err
	}
	if n/int64(block) > maxFile/int64(size) {
		return 0, fmt.Errorf("shape %v of %v is larger than any file", shape, dt)
	}
	return dt.Bytes(n), nil
}

// elements returns how many elements a shape has, which are fewer than a file has bytes.
func elements(shape []int) (int64, error) {
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%d dimensions, at most %d are possible", len(shape), maxRank)
	}
	for i, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v: dimension %d is negative", shape, i)
		}
	}
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	n := uint64(1)
	for _, d := range shape {
		over, product := bits.Mul64(n, uint64(d))
		if over != 0 || product > maxFile {
			return 0, fmt.Errorf("shape %v is larger than any file", shape)
		}
		n = product
	}
	return int64(n), nil
}

// place orders the refs by offset, makes their offsets those in the file, whose data begins at start, and checks that
// they cover the data without gap or overlap.
func (h *header) place(start, size int64) error {
	slices.SortFunc(h.refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length), cmp.Compare(a.Name, b.Name))
	})
	end := start
	before := func(i int) string { // what ends where tensor i should begin
		if i == 0 {
			return "the header"
		}
		return "tensor " + quote(h.refs[i-1].Name)
	}
	for i := range h.refs {
		r := &h.refs[i]
		h.byName[r.Name] = i
		r.Offset += start
		switch {
		case r.Offset < end:
			return fmt.Errorf("tensor %s begins at byte %d, within %s, which ends at byte %d", quote(r.Name), r.Offset, before(i), end)
		case r.Offset > end:
			return fmt.Errorf("tensor %s begins at byte %d, but %s ends at byte %d: the %d bytes between belong to no tensor", quote(r.Name), r.Offset, before(i), end, r.Offset-end)
		}
		end = r.Offset + r.Length
	}
	if end > size {
		cut := h.refs[slices.IndexFunc(h.refs, func(r Ref) bool { return r.Offset+r.Length > size })]
		return fmt.Errorf("the file is truncated: its header describes %d bytes, the file has %d; the first tensor cut off is %s, %v %v, bytes %d to %d; download or copy the file again",
			end, size, quote(cut.Name), cut.DType, cut.Shape, cut.Offset, cut.Offset+cut.Length)
	}
	if end < size {
		return fmt.Errorf("the header describes %d bytes, the file has %d: the %d bytes after %s belong to no tensor; download or copy the file again", end, size, size-end, before(len(h.refs)))
	}
	return nil
}

// jsonError says in the terms of a file what the decoder says in those of a stream.
func jsonError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("it ends too early")
	}
	const limit = 300 // a number of any length is part of the text
	if len(err.Error()) > limit {
		return errors.New(fault.Cut(err.Error(), limit))
	}
	return err
}

// quote quotes a name, of which a file may choose any length, for an error.
func quote(name string) string {
	const limit = 200
	if len(name) <= limit {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q...", name[:limit])
}
