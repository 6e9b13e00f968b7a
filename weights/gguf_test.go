package weights

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/gguf"
)

const goldenGGUF = "../testdata/golden/gguf_file.gguf"

// TestGoldenGGUF opens a file that the reference library wrote.
func TestGoldenGGUF(t *testing.T) {
	f, err := Open(t.Context(), goldenGGUF)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if diff := cmp.Diff(map[string]string{
		"general.architecture": "sd1", "note": "line\nbreak",
		"u8": "200", "i8": "-3", "u16": "60000", "i16": "-300", "u32": "4000000000", "i32": "-70000", "f32": "0.1",
		"bool": "true", "u64": "9223372036854775808", "i64": "-1099511627776", "f64": "0.1",
	}, f.Metadata()); diff != "" {
		t.Errorf("metadata: %s", diff)
	}
	whole, halves := []float32{0, 1, 2, 3, 4, 5}, []float32{0.5, 1.5, 2.5, 3.5, 4.5, 5.5}
	saw := make([]float32, 3*64)
	for i := range saw {
		saw[i] = float32(i%16 - 8)
	}
	kernel := make([]float32, 384)
	for i := range kernel {
		kernel[i] = float32(i%128 - 1)
	}
	want := map[string]struct {
		dt     dtype.DType
		shape  []int
		values []float32
		off    float32 // how far off values may be
	}{
		"f32": {dtype.F32, []int{2, 3}, halves, 0}, "f16": {dtype.F16, []int{2, 3}, halves, 0},
		"bf16": {dtype.BF16, []int{2, 3}, halves, 0}, "f64": {dtype.F64, []int{2, 3}, halves, 0},
		"i8": {dtype.I8, []int{2, 3}, whole, 0}, "i16": {dtype.I16, []int{2, 3}, whole, 0},
		"i32": {dtype.I32, []int{2, 3}, whole, 0}, "i64": {dtype.I64, []int{2, 3}, whole, 0},
		"Q4_0": {dtype.Q4_0, []int{3, 64}, saw, 0}, "Q4_1": {dtype.Q4_1, []int{3, 64}, saw, 0},
		"Q5_0": {dtype.Q5_0, []int{3, 64}, saw, 0}, "Q5_1": {dtype.Q5_1, []int{3, 64}, saw, 0.25},
		"Q8_0":   {dtype.Q8_0, []int{3, 64}, saw, 0.04},
		"kernel": {dtype.Q8_0, []int{2, 16, 3, 4}, kernel, 0.5},
	}
	if len(f.Refs()) != len(want) {
		t.Errorf("%d tensors, want %d", len(f.Refs()), len(want))
	}
	for name, w := range want {
		r, ok := f.Lookup(name)
		if !ok || r.DType != w.dt || !slices.Equal(r.Shape, w.shape) || r.Elements() != int64(len(w.values)) {
			t.Errorf("%s: found %v, want %v %v", name, r, w.dt, w.shape)
			continue
		}
		got, err := r.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if d := v - w.values[i]; d > w.off || d < -w.off {
				t.Errorf("%s: element %d is %v, want %v", name, i, v, w.values[i])
				break
			}
		}
	}
}

// cells is a file with one tensor of four Q8_0 blocks, in pieces that tests change: the numbers of tensors and metadata,
// a key with its value, and the tensor's name, dimensions, type and offset.
type cells struct {
	version        uint32
	tensors, pairs uint64
	pair, tensor   []byte
	data           int
}

func (c cells) file() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("GGUF"), c.version)
	b = le.AppendUint64(le.AppendUint64(b, c.tensors), c.pairs)
	b = append(append(b, c.pair...), c.tensor...)
	return append(append(b, make([]byte, -len(b)&31)...), make([]byte, c.data)...)
}

// join encodes strings with their lengths, uint32s, uint64s and bytes.
func join(parts ...any) (b []byte) {
	le := binary.LittleEndian
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			b = append(le.AppendUint64(b, uint64(len(v))), v...)
		case uint32:
			b = le.AppendUint32(b, v)
		case uint64:
			b = le.AppendUint64(b, v)
		case []byte:
			b = append(b, v...)
		}
	}
	return b
}

type (
	d = uint32
	q = uint64
)

var badGGUF = []struct {
	name   string
	change func(*cells)
	want   string
}{
	{"version 1", func(c *cells) { c.version = 1 }, "version 1 of the format, expected 2 or 3"},
	{"version 0", func(c *cells) { c.version = 0 }, "version 0 of the format, expected 2 or 3"},
	{"big endian", func(c *cells) { c.version = 3 << 24 }, "the file is big-endian"},
	{"many tensors", func(c *cells) { c.tensors = 1 << 62 }, "tensor"},
	{"many pairs", func(c *cells) { c.pairs = 1 << 63 }, "metadata"},
	{"long key", func(c *cells) { c.pair = join(q(1)<<60, []byte("key")) }, "key of metadata: a string of 1152921504606846976 bytes"},
	{"no key", func(c *cells) { c.pair = join("", d(4), d(1)) }, "key of metadata: it is empty"},
	{"unknown value", func(c *cells) { c.pair = join("key", d(77), d(1)) }, `metadata "key": a value of unknown type 77`},
	{"key twice", func(c *cells) { c.pairs, c.pair = 2, join("key", d(4), d(1), "key", d(4), d(1)) }, `metadata "key": it occurs twice`},
	{"bad UTF-8", func(c *cells) { c.pair = join("key", d(8), "\xff") }, `metadata "key": "\xff" is not valid UTF-8`},
	{"long value", func(c *cells) { c.pair = join("key", d(8), q(1)<<40) }, `metadata "key": a string of 1099511627776 bytes`},
	{"long array", func(c *cells) { c.pair = join("key", d(9), d(4), q(1)<<62) }, `metadata "key": an array of 4611686018427387904 elements of 4 bytes`},
	{"array of nothing", func(c *cells) { c.pair = join("key", d(9), d(99), q(1)) }, `metadata "key": an array of unknown type 99`},
	{"many texts", func(c *cells) { c.pair = join("key", d(9), d(8), q(1)<<62, "a") }, `metadata "key": `},
	{"deep arrays", func(c *cells) {
		c.pair = join("key", d(9), bytes.Repeat(join(d(9), q(1)), 20))
	}, `metadata "key": arrays within arrays, more than 8 deep`},
	{"alignment 24", func(c *cells) { c.pair = join("general.alignment", d(4), d(24)) }, `an alignment of "24" bytes, expected a power of 2`},
	{"alignment 0", func(c *cells) { c.pair = join("general.alignment", d(4), d(0)) }, `an alignment of "0" bytes`},
	{"alignment in words", func(c *cells) { c.pair = join("general.alignment", d(8), "32") }, `an alignment of type 8, expected a number of 32 bits`},
	{"alignment as an array", func(c *cells) {
		c.pair = join("general.alignment", d(4), d(64))
		c.tensor = join("a", d(1), q(128), d(8), q(32))
	}, `tensor "a": its offset 32 is no multiple of 64`},
	{"shape in words", func(c *cells) { c.pair = join("comfy.gguf.orig_shape.a", d(8), "2 64") }, `a shape of type 8, expected an array`},
	{"shape of floats", func(c *cells) { c.pair = join("comfy.gguf.orig_shape.a", d(9), d(6), q(1), d(0)) }, `a shape of 1 numbers of type 6`},
	{"long shape", func(c *cells) { c.pair = join("comfy.gguf.orig_shape.a", d(9), d(5), q(1)<<50) }, `a shape of 1125899906842624 numbers`},
	{"negative shape", func(c *cells) { c.pair = join("comfy.gguf.orig_shape.a", d(9), d(5), q(1), d(1<<32-1)) }, `dimension 0 of a shape is -1`},
	{"another shape", func(c *cells) { c.pair = join("comfy.gguf.orig_shape.a", d(9), d(5), q(2), d(2), d(63)) }, `tensor "a": the metadata comfy.gguf.orig_shape.a have the shape [2 63], and the tensor has [2 64]`},
	{"overflowing shape", func(c *cells) {
		c.pair = join("comfy.gguf.orig_shape.a", d(9), d(10), q(4), q(1)<<62, q(1)<<62, q(1)<<62, q(1)<<62)
	}, `have the shape [4611686018427387904 4611686018427387904`},
	{"no name", func(c *cells) { c.tensor = join("", d(1), q(128), d(8), q(0)) }, "name of a tensor: it is empty"},
	{"name twice", func(c *cells) {
		c.tensors, c.tensor = 2, join("a", d(1), q(32), d(8), q(0), "a", d(1), q(32), d(8), q(64))
	}, `tensor "a" occurs twice`},
	{"long name", func(c *cells) { c.tensor = join(q(1)<<33, []byte("a")) }, "name of a tensor: a string of 8589934592 bytes"},
	{"many dimensions", func(c *cells) { c.tensor = join("a", d(1<<31)) }, `tensor "a": 2147483648 dimensions, at most 64 are possible`},
	{"large dimension", func(c *cells) { c.tensor = join("a", d(1), q(1)<<63, d(8), q(0)) }, `tensor "a": a dimension of 9223372036854775808 is larger than any file`},
	{"overflow", func(c *cells) { c.tensor = join("a", d(2), q(1)<<40, q(1)<<40, d(8), q(0)) }, `tensor "a": shape [1099511627776 1099511627776] is larger than any file`},
	{"overflow in bytes", func(c *cells) { c.tensor = join("a", d(1), q(1)<<62, d(28), q(0)) }, `tensor "a": shape [4611686018427387904] of F64 is larger than any file`},
	{"NVFP4", func(c *cells) { c.tensor = join("a", d(1), q(256), d(40), q(0)) }, `tensor "a": it is quantized as NVFP4, which is not supported; use a file with another type, such as Q8_0 or Q4_K`},
	{"unknown type", func(c *cells) { c.tensor = join("a", d(1), q(256), d(4), q(0)) }, `tensor "a": it has the unknown type 4`},
	{"half a block", func(c *cells) { c.tensor = join("a", d(2), q(48), q(2), d(8), q(0)) }, `tensor "a": shape [2 48] of Q8_0: the last dimension must be a multiple of its blocks of 32 elements`},
	{"scalar block", func(c *cells) { c.tensor = join("a", d(0), d(8), q(0)) }, `tensor "a": shape [] of Q8_0`},
	{"unaligned", func(c *cells) { c.tensor = join("a", d(1), q(32), d(8), q(8)) }, `tensor "a": its offset 8 is no multiple of 32`},
	{"huge offset", func(c *cells) { c.tensor = join("a", d(1), q(32), d(8), ^q(31)) }, `tensor "a": its offset`},
	{"offset behind the end", func(c *cells) { c.tensor = join("a", d(1), q(32), d(8), q(1)<<62) }, `the file is truncated: it has 232 bytes, and the first tensor cut off is "a", Q8_0 [32], 34 bytes at byte 4611686018427387904 of the data`},
	{"overlap", func(c *cells) {
		c.tensors, c.tensor = 2, join("a", d(1), q(64), d(8), q(0), "b", d(1), q(32), d(8), q(64))
	}, `tensor "b" begins at byte 192, within tensor "a", which ends at byte 196`},
	{"alignment of an array", func(c *cells) { c.pair = join("general.alignment", d(9), d(4), q(1), d(64)) }, "an alignment of type 9"},
	{"alignment of 64 bits", func(c *cells) { c.pair = join("general.alignment", d(10), q(64)) }, "an alignment of type 10"},
	{"truncated", func(c *cells) { c.data = 135 }, `the file is truncated: it has 231 bytes, and the first tensor cut off is "a", Q8_0 [2 64], 136 bytes at byte 0`},
}

func goodCells() cells {
	return cells{3, 1, 1, join("key", d(8), "value"), join("a", d(2), q(64), q(2), d(8), q(0)), 136}
}

func TestBadGGUF(t *testing.T) {
	good := goodCells().file()
	if h, err := readGGUF(t.Context(), bytes.NewReader(good), int64(len(good))); err != nil || len(h.refs) != 1 || h.metadata["key"] != "value" {
		t.Fatalf("the good file: %+v, %v", h, err)
	}
	path := filepath.Join(t.TempDir(), "bad.gguf")
	for _, bad := range badGGUF {
		t.Run(bad.name, func(t *testing.T) {
			c := goodCells()
			bad.change(&c)
			if err := os.WriteFile(path, c.file(), 0o666); err != nil {
				t.Fatal(err)
			}
			f, err := Open(t.Context(), path)
			if err == nil {
				f.Close()
				t.Fatalf("opened, want the error %q", bad.want)
			}
			if !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("error %q\nwant  %q", err, bad.want)
			}
		})
	}
	// A header that ends anywhere, with data or without.
	for n := 4; n < len(good)-136; n++ {
		if _, err := readGGUF(t.Context(), bytes.NewReader(good[:n]), int64(n)); err == nil || !strings.Contains(err.Error(), "truncated") {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// TestOpensBothFormats makes one namespace of a file of each format.
func TestOpensBothFormats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.bin") // the name does not count
	raw := gguf.Encode(nil, []gguf.Tensor{{Name: "q", DType: dtype.Q8_0, Shape: []int{2, 32}, Data: make([]byte, 68)}})
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSet(t.Context(), goldenFile, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, _ := s.Lookup("q")
	b, err := r.Bytes()
	if err != nil || len(b) != 68 || r.DType != dtype.Q8_0 {
		t.Errorf("%v: %d bytes, %v", r, len(b), err)
	}
	if _, ok := s.Lookup("bf16"); !ok {
		t.Error("the tensors of the safetensors file are not there")
	}
}

func TestNoQuantizedSafetensors(t *testing.T) {
	err := Write(t.Context(), filepath.Join(t.TempDir(), "x.safetensors"), nil, []Tensor{{Name: "a", DType: dtype.Q4_K, Shape: []int{256}, Write: Bytes(make([]byte, 144))}})
	if err == nil || !strings.Contains(err.Error(), `tensor "a": safetensors has no type Q4_K`) {
		t.Errorf("got %v", err)
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(goodCells().file())
	for _, bad := range badGGUF {
		c := goodCells()
		bad.change(&c)
		f.Add(c.file())
	}
	golden, err := os.ReadFile(goldenGGUF)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	r := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		broken := slices.Clone(golden)
		broken[r.IntN(1024)] ^= byte(1 << r.IntN(8))
		f.Add(broken)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		size := int64(len(file))
		h, err := readGGUF(t.Context(), bytes.NewReader(file), size)
		if err != nil {
			if len(err.Error()) > maxError {
				t.Errorf("an error of %d bytes: %.200s", len(err.Error()), err.Error())
			}
			return
		}
		end := int64(0)
		for i, r := range h.refs {
			n, err := elements(r.Shape)
			if err != nil || n != r.Elements() || r.Length != r.DType.Bytes(n) || r.Offset < end || h.byName[r.Name] != i {
				t.Fatalf("tensor %d: %q %v %v at %d, %d bytes; the one before it ends at %d; %v", i, r.Name, r.DType, r.Shape, r.Offset, r.Length, end, err)
			}
			end = r.Offset + r.Length
		}
		if end > size || len(h.byName) != len(h.refs) {
			t.Fatalf("tensors end at %d of %d; %d names of %d tensors", end, size, len(h.byName), len(h.refs))
		}
	})
}
