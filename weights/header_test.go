package weights

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// raw returns a file of that header and so many bytes of data.
func raw(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

// badFiles are files that are no good, and what the errors say behind the path.
var badFiles = []struct {
	name string
	file []byte
	want string
}{
	{"empty file", nil, "the file is empty; download or copy it again"},
	{"few bytes", []byte("abc"), "not a safetensors file: it has only 3 bytes"},
	{"no header", raw("", 0), "not a safetensors file: it has only 8 bytes"},
	{"random", bytes.Repeat([]byte{0xa5}, 600), "not a safetensors file: its first 8 bytes claim a header of 11936128518282651045 bytes, the format permits 100000000"},
	{"zip", []byte("PK\x03\x04\x14\x00\x00\x08archive/data.pkl"), "the file begins as a zip archive, as PyTorch's checkpoints are, and is none: zip: not a valid zip file; download or copy it again"},
	{"pickle", []byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M"), "this is a pickle, as PyTorch saved checkpoints before version 1.6, which is not read; load it with torch.load(path, weights_only=True) and save it again with torch.save or safetensors.torch.save_file"},
	{"lfs", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"), "this is a Git LFS pointer, the file's name in place of the file; run git lfs pull, or download the file itself"},
	{"html", []byte("\n<!DOCTYPE html><html>"), "this is a web page, not a model: a download saved the site's answer (a login or an error) instead of the file; download it again"},
	{"json", []byte(`{"weight_map": {}}`), "this is JSON text, not a safetensors file; an index of a sharded checkpoint must be named *.safetensors.index.json"},
	{"cut header", raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)[:30], "the file is truncated within its header: the header takes 62 bytes, the file has 30; download or copy it again"},
	{"no brace", raw(`["a"]`, 0), `not a safetensors file: its header begins with '[', expected '{'`},
	{"bad utf-8", raw("{\"\xff\":1}", 0), "the header is not valid UTF-8"},
	{"open object", raw(`{"a":{"dtype":"F32"`, 0), `tensor "a": it ends too early`},
	{"open header", raw(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, 0), `the header is not JSON: it ends too early`},
	{"bad syntax", raw(`{"a" 1}`, 0), `tensor "a": expected colon after object key`},
	{"key is no string", raw(`{1:2}`, 0), `the header is not JSON: invalid character '1'`},
	{"text behind", raw(`{} x`, 0), `the header is not JSON: there is more after its closing brace`},
	{"zeros behind", raw("{}\x00\x00", 0), `the header is not JSON: there is more after its closing brace`},
	{"metadata numbers", raw(`{"__metadata__":{"a":1}}`, 0), "__metadata__: expected strings by name: json: cannot unmarshal number into Go value of type string"},
	{"metadata twice", raw(`{"__metadata__":{},"__metadata__":{}}`, 0), "__metadata__ occurs twice in the header"},
	{"name twice", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `tensor "a" occurs twice in the header`},
	{"no name", raw(`{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `tensor "": a tensor must have a name`},
	{"no object", raw(`{"a":7}`, 0), `tensor "a": json: cannot unmarshal number into Go value of type weights.entry`},
	{"no dtype", raw(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), `tensor "a": no dtype`},
	{"no shape", raw(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), `tensor "a": no shape`},
	{"no offsets", raw(`{"a":{"dtype":"U8","shape":[1]}}`, 1), `tensor "a": data_offsets: expected begin and end, found 0 numbers`},
	{"three offsets", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), `tensor "a": data_offsets: expected begin and end, found 3 numbers`},
	{"gzip", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00"), "this is an archive; unpack it and use the .safetensors or .gguf file in it"},
	{"picture", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00"), "this is a picture, not a model"},
	{"packed dtype", raw(`{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}`, 1), `tensor "a": it has the dtype F4, which NVFP4 or MXFP4 uses and which is not supported yet; use a file in F16, BF16, plain FP8 or GGUF`},
	{"long dtype", raw(`{"a":{"dtype":"`+strings.Repeat("F", 1<<20)+`","shape":[2],"data_offsets":[0,1]}}`, 1), `tensor "a": unknown dtype "` + strings.Repeat("F", 40) + `": known are [F32 F16 BF16 F8_E4M3 F8_E5M2 I8 I16 I32 I64 U8 U16 U32 U64 F64 BOOL]`},
	{"long number", raw(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("9", 1<<20)+`],"data_offsets":[0,1]}}`, 1), `tensor "a": json: cannot unmarshal number ` + strings.Repeat("9", 270) + `…`},
	{"unknown dtype", raw(`{"a":{"dtype":"C64","shape":[2],"data_offsets":[0,1]}}`, 1), `tensor "a": unknown dtype "C64": known are [F32 F16 BF16 F8_E4M3 F8_E5M2 I8 I16 I32 I64 U8 U16 U32 U64 F64 BOOL]`},
	{"negative dimension", raw(`{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}`, 1), `tensor "a": shape [-1 -1]: dimension 0 is negative`},
	{"fraction", raw(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}`, 1), `tensor "a": json: cannot unmarshal number 1.5 into Go struct field entry.shape of type int`},
	{"overflow", raw(`{"a":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16]}}`, 16), `tensor "a": shape [4611686018427387905 4] is larger than any file`},
	{"many dimensions", raw(`{"a":{"dtype":"U8","shape":[1`+strings.Repeat(",1", 64)+`],"data_offsets":[0,1]}}`, 1), `tensor "a": 65 dimensions, at most 64 are possible`},
	{"negative offset", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, 1), `tensor "a": json: cannot unmarshal number -1 into Go struct field entry.data_offsets of type uint64`},
	{"end before begin", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,1]}}`, 1), `tensor "a": data_offsets: 2 to 1 is no range of a file`},
	{"huge offsets", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}}`, 1), `tensor "a": data_offsets: 18446744073709551614 to 18446744073709551615 is no range of a file`},
	{"wrong length", raw(`{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,24]}}`, 24), `tensor "a": shape [2 3] of F16 takes 12 bytes, data_offsets 0 to 24 have 24`},
	{"empty tensor with data", raw(`{"a":{"dtype":"F16","shape":[0,3],"data_offsets":[0,6]}}`, 6), `tensor "a": shape [0 3] of F16 takes 0 bytes, data_offsets 0 to 6 have 6`},
	{"overlap", raw(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`, 6), `tensor "b" begins at byte 115, within tensor "a", which ends at byte 117`},
	{"same place", raw(`{"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4), `tensor "b" begins at byte 113, within tensor "a", which ends at byte 117`},
	{"gap", raw(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}}`, 10), `tensor "b" begins at byte 120, but tensor "a" ends at byte 118: the 2 bytes between belong to no tensor`},
	{"truncated", raw(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]}}`, 10), `the file is truncated: its header describes 134 bytes, the file has 128; the first tensor cut off is "b", BF16 [2 3], bytes 122 to 134; download or copy the file again`},
	{"data behind", raw(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 5), `the header describes 65 bytes, the file has 66: the 1 bytes after tensor "a" belong to no tensor; download or copy the file again`},
	{"long name", raw(`{"`+strings.Repeat("x", 300)+`":{}}`, 0), `tensor "` + strings.Repeat("x", 200) + `"...: no dtype`},
}

// maxError is more bytes than any error of a header has: two names that are cut,
// quoted, and what is wrong with them.
const maxError = 3000

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range badFiles {
		t.Run(bad.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(bad.name, " ", "-")+".safetensors")
			if err := os.WriteFile(path, bad.file, 0o666); err != nil {
				t.Fatal(err)
			}
			f, err := Open(t.Context(), path)
			if err == nil {
				f.Close()
				t.Fatalf("opened, want the error %q", bad.want)
			}
			if got, want := err.Error(), path+": "+bad.want; got != want {
				t.Errorf("error %q\nwant  %q", got, want)
			}
		})
	}
}

func TestOpenNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(t.Context(), dir); err == nil || err.Error() != "open "+dir+": this is a folder, expected a file of weights, such as .safetensors, .gguf or .ckpt" {
		t.Errorf("opening a folder: error %v", err)
	}
	absent := filepath.Join(dir, "absent.safetensors")
	if _, err := Open(t.Context(), absent); !os.IsNotExist(err) || !strings.Contains(err.Error(), absent) {
		t.Errorf("opening no file: error %v", err)
	}
}

// TestLiberal opens headers that are unusual but that the reference implementation accepts.
func TestLiberal(t *testing.T) {
	for name, file := range map[string][]byte{
		"no tensors":       raw(`{}`, 0),
		"spaces":           raw("{ } \n\t ", 0),
		"null metadata":    raw(`{"__metadata__":null}`, 0),
		"unknown field":    raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":{"x":[1]}}}`, 1),
		"any order":        raw(`{"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 3),
		"empty in between": raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"z":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2),
		"zero times huge":  raw(`{"a":{"dtype":"U8","shape":[0,9223372036854775807],"data_offsets":[0,0]}}`, 0),
		"unaligned":        raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[],"data_offsets":[1,5]}}`, 5),
	} {
		h, err := readHeader(t.Context(), bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, r := range h.refs {
			if h.byName[r.Name] != i {
				t.Errorf("%s: tensor %q is found at %d, want %d", name, r.Name, h.byName[r.Name], i)
			}
		}
	}
}

// readCounter counts what is read of a file.
type readCounter struct {
	io.ReaderAt
	bytes, end int64
}

func (c *readCounter) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.bytes, c.end = c.bytes+int64(n), max(c.end, off+int64(n))
	return n, err
}

// TestReadsHeaderOnly opens a sparse file of 60 GiB and counts the bytes that are read.
func TestReadsHeaderOnly(t *testing.T) {
	path := writeSparse(t, 2000, 60<<30)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c := &readCounter{ReaderAt: f}
	h, err := readHeader(t.Context(), c, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.refs) != 2000 {
		t.Errorf("%d tensors, want 2000", len(h.refs))
	}
	if data := h.refs[0].Offset; c.end > data || c.bytes > data+sniffLength {
		t.Errorf("read %d bytes, up to byte %d, of a header of %d", c.bytes, c.end, data)
	}
}

// writeSparse makes a file of n tensors that takes no room on the disk.
func writeSparse(t testing.TB, n int, size int64) string {
	t.Helper()
	rows := int(size / int64(n) / 2 / 4096)
	var tensors []Tensor
	for i := range n {
		name := fmt.Sprintf("model.diffusion_model.double_blocks.%d.img_attn.qkv.%d.weight", i/10, i%10)
		tensors = append(tensors, Tensor{Name: name, DType: 1, Shape: []int{rows, 4096}})
	}
	head, lengths, err := marshalHeader(nil, tensors)
	if err != nil {
		t.Fatal(err)
	}
	end := int64(len(head))
	for _, l := range lengths {
		end += l
	}
	path := filepath.Join(t.TempDir(), "sparse.safetensors")
	if err := os.WriteFile(path, head, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, end); err != nil {
		t.Fatal(err)
	}
	return path
}

func FuzzOpen(f *testing.F) {
	for _, bad := range badFiles {
		f.Add(bad.file)
	}
	golden, err := os.ReadFile(goldenFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, file []byte) {
		size := int64(len(file))
		h, err := readHeader(t.Context(), bytes.NewReader(file), size)
		if err != nil {
			if len(err.Error()) > maxError {
				t.Errorf("an error of %d bytes: %.200s", len(err.Error()), err.Error())
			}
			return
		}
		end := int64(8 + binary.LittleEndian.Uint64(file))
		for i, r := range h.refs {
			if r.Offset != end || r.Length < 0 || h.byName[r.Name] != i || r.Length != r.Elements()*int64(r.DType.Size()) {
				t.Fatalf("tensor %d: %q %v %v at %d, %d bytes; the one before it ends at %d", i, r.Name, r.DType, r.Shape, r.Offset, r.Length, end)
			}
			end += r.Length
		}
		if end != size || len(h.byName) != len(h.refs) {
			t.Fatalf("tensors end at %d of %d; %d names of %d tensors", end, size, len(h.byName), len(h.refs))
		}
	})
}

// looked is a context that is cancelled when it has been looked at so often.
type looked struct {
	context.Context
	left int
}

func (c *looked) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestHeaderStops cancels the reading of headers at every look at the context.
func TestHeaderStops(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, `,"%d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, i, i, i+1)
	}
	ggufFile, err := os.ReadFile(goldenGGUF)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file  []byte
		read  func(context.Context, io.ReaderAt, int64) (*header, error)
		looks int // at least
	}{
		"safetensors":   {raw("{"+text.String()[1:]+"}", 20_000), readHeader, 100},
		"one long name": {raw(`{"`+strings.Repeat("x", 4<<20)+`":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), readHeader, 10},
		"GGUF":          {ggufFile, readGGUF, 1},
	} {
		for looks := 0; ; looks = 1 + looks*5/4 {
			ctx := &looked{t.Context(), looks}
			_, err := c.read(ctx, bytes.NewReader(c.file), int64(len(c.file)))
			if err == nil {
				if looks < c.looks {
					t.Errorf("%s: the context is looked at %d times, expected at least %d", name, looks, c.looks)
				}
				break
			}
			if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "truncated") {
				t.Fatalf("%s, cancelled at look %d: %v", name, looks, err)
			}
		}
	}
}
