package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/weir-run/weir/regular"
)

// A file is the bytes of a picture. Headers are read from it a block at a time,
// so that small reads one after the other are cheap.
type file struct {
	ctx  context.Context
	r    io.ReaderAt
	size int64

	block []byte // what the file holds from at on
	at    int64
}

// blockSize bounds what peek returns.
const blockSize = 4 << 10

func newFile(ctx context.Context, r io.ReaderAt, size int64) *file {
	return &file{ctx: ctx, r: r, size: size}
}

// open opens a file that is a picture or may be one. The caller closes it.
func open(ctx context.Context, path string) (*file, io.Closer, error) {
	f, info, err := regular.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return newFile(ctx, f, info.Size()), f, nil
}

// errCut is the error of a file that ends too early.
var errCut = errors.New("the file is cut off")

// peek returns n bytes from a place, which are valid until the next call. n is
// at most blockSize.
func (f *file) peek(at int64, n int) ([]byte, error) {
	if at < 0 || at > f.size-int64(n) {
		return nil, errCut
	}
	if at < f.at || at+int64(n) > f.at+int64(len(f.block)) {
		if err := f.ctx.Err(); err != nil {
			return nil, err
		}
		if f.block == nil {
			f.block = make([]byte, 0, blockSize)
		}
		block := f.block[:min(blockSize, f.size-at)]
		got, err := f.r.ReadAt(block, at)
		f.block, f.at = block[:got], at
		if got < n {
			return nil, errors.Join(errCut, notEOF(err))
		}
	}
	return f.block[at-f.at:][:n], nil
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// bytes returns n bytes from a place.
func (f *file) bytes(at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || at > f.size-n {
		return nil, errCut
	}
	out := make([]byte, n)
	if _, err := io.ReadFull(f.section(at, n), out); err != nil {
		return nil, errors.Join(errCut, notEOF(err))
	}
	return out, nil
}

// section returns a reader of n bytes from a place, as far as there are as
// many. It fails when the context ends.
func (f *file) section(at, n int64) *contextReader {
	return &contextReader{f.ctx, io.NewSectionReader(f.r, at, n)}
}

// all returns a reader of the whole file.
func (f *file) all() *contextReader { return f.section(0, f.size) }

// A contextReader fails when its context ends.
type contextReader struct {
	ctx context.Context
	*io.SectionReader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.SectionReader.Read(p)
}

func (r *contextReader) ReadAt(p []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.SectionReader.ReadAt(p, at)
}

// format tells the format of a picture by its first bytes, or returns "".
func (f *file) format() string {
	head, err := f.peek(0, int(min(f.size, 12)))
	if err != nil {
		return ""
	}
	for _, m := range []struct{ format, magic string }{
		{"png", pngMagic}, {"jpeg", "\xff\xd8\xff"}, {"gif", "GIF87a"}, {"gif", "GIF89a"},
		{"tiff", "II*\x00"}, {"tiff", "MM\x00*"}, {"webm", "\x1a\x45\xdf\xa3"}, {"psd", "8BPS"},
		{"jxl", "\xff\x0a"}, {"jxl", "\x00\x00\x00\x0cJXL "},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.format
		}
	}
	if len(head) == 12 && string(head[:2]) == "BM" && string(head[6:10]) == "\x00\x00\x00\x00" {
		return "bmp"
	}
	if len(head) == 12 && string(head[:4]) == "RIFF" && string(head[8:]) == "WEBP" {
		return "webp"
	}
	if len(head) == 12 && string(head[4:8]) == "ftyp" {
		switch string(head[8:]) {
		case "avif", "avis":
			return "avif"
		case "heic", "heix", "mif1", "msf1":
			return "heic"
		}
		return "mp4"
	}
	return ""
}

// A chunk is a named part of a PNG or a WebP.
type chunk struct {
	kind  string
	at, n int64 // its data
	cut   bool  // the file ends before
}

// chunks passes the chunks of a PNG or a WebP to f until f returns false. A
// chunk that is cut off is passed with as many bytes as there are.
func (f *file) chunks(format string, each func(chunk) bool) error {
	at := int64(12)
	if format == "png" {
		at = int64(len(pngMagic))
	}
	for at < f.size {
		head, err := f.peek(at, 8)
		if errors.Is(err, errCut) {
			return nil
		}
		if err != nil {
			return err
		}
		c, next := chunk{at: at + 8}, int64(0)
		if format == "png" { // length, name, data, sum
			c.kind, c.n = string(head[4:]), int64(binary.BigEndian.Uint32(head))
			next = c.at + c.n + 4
		} else { // name, length, data of an even length
			c.kind, c.n = string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
			next = c.at + c.n + c.n%2
		}
		if c.n > f.size-c.at {
			c.n, c.cut = f.size-c.at, true
		}
		if !each(c) {
			return nil
		}
		at = next
	}
	return nil
}

// saturate returns a product of sizes, or the largest number.
func saturate(sizes ...int64) int64 {
	product := int64(1)
	for _, n := range sizes {
		if n != 0 && product > math.MaxInt64/n {
			return math.MaxInt64
		}
		product *= n
	}
	return product
}
