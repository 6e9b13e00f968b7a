package media

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/regular"
	"github.com/weir-run/weir/resample"
)

// A Text is a text that a PNG carries under a key, such as the workflow that
// made it.
type Text struct{ Key, Value string }

// EncodePNG writes the first picture of a batch as a PNG with 8 bits a channel
// and with texts, in their order, as ComfyUI does. It takes memory for a few
// rows, and stops with an error when ctx ends.
func EncodePNG(ctx context.Context, w io.Writer, m *Image, texts []Text) error {
	if m.Batch < 1 || m.Channels < 3 || m.Channels > 4 {
		return fmt.Errorf("a picture of %d channels cannot be a PNG: expected 3 or 4", m.Channels)
	}
	for _, t := range texts {
		if err := t.check(); err != nil {
			return err
		}
	}
	encoder := png.Encoder{CompressionLevel: png.DefaultCompression}
	return encoder.Encode(&pngWriter{ctx: ctx, w: w, texts: texts}, newRows(m))
}

// A pngWriter writes texts behind the header of a PNG, where Pillow has them,
// until its context ends.
type pngWriter struct {
	ctx   context.Context
	w     io.Writer
	texts []Text
	n     int // bytes of the header that are written
}

func (p *pngWriter) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	const header = len(pngMagic) + 12 + 13
	head := min(len(b), header-p.n)
	if head == 0 {
		return p.w.Write(b)
	}
	n, err := p.w.Write(b[:head])
	if p.n += n; err != nil || p.n < header {
		return n, err
	}
	for _, t := range p.texts {
		if _, err := p.w.Write(appendChunk(nil, "tEXt", append([]byte(t.Key+"\x00"), t.Value...))); err != nil {
			return n, err
		}
	}
	rest, err := p.w.Write(b[head:])
	return n + rest, err
}

// rows are the bytes of a picture, made a row at a time as they are asked for.
// They are those of ComfyUI: values are cut to 0..1 and, times 255, to whole
// numbers.
type rows struct {
	m      *Image
	y      int // the row that is made
	values []float32
	bytes  []uint8
	pixel  opaque
}

func newRows(m *Image) *rows {
	n := m.Width * m.Channels
	return &rows{m: m, y: -1, values: make([]float32, n), bytes: make([]uint8, n)}
}

func (r *rows) ColorModel() color.Model { return color.NRGBAModel }

func (r *rows) Bounds() image.Rectangle { return image.Rect(0, 0, r.m.Width, r.m.Height) }

// Opaque reports whether there is no channel of opacity.
func (r *rows) Opaque() bool { return r.m.Channels == 3 }

// At returns a colour that is valid until the next call.
func (r *rows) At(x, y int) color.Color {
	if y != r.y {
		r.m.Row(r.values, 0, y)
		for i, v := range r.values {
			r.bytes[i] = resample.ToByte(v)
		}
		r.y = y
	}
	if r.m.Channels == 3 {
		r.pixel = opaque(r.bytes[3*x:])
		return &r.pixel
	}
	b := r.bytes[4*x:][:4]
	return color.NRGBA{b[0], b[1], b[2], b[3]}
}

// opaque is a colour without opacity.
type opaque [3]uint8

func (c *opaque) RGBA() (r, g, b, a uint32) {
	return uint32(c[0]) * 0x101, uint32(c[1]) * 0x101, uint32(c[2]) * 0x101, 0xffff
}

// check reports whether a text can be stored as it is. JSON is always ASCII
// here, so nothing needs another encoding.
func (t Text) check() error {
	if len(t.Key) < 1 || len(t.Key) > 79 {
		return fmt.Errorf("the key %q of a PNG's text must have 1 to 79 characters", t.Key)
	}
	for _, r := range t.Key + t.Value {
		if r == 0 || r > 126 {
			return fmt.Errorf("the text %s has the character %q: only ASCII can be stored", t.Key, r)
		}
	}
	return nil
}

const pngMagic = "\x89PNG\r\n\x1a\n"

func appendChunk(out []byte, kind string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	start := len(out)
	out = append(append(out, kind...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// maxText is how many bytes of text are read of one PNG.
const maxText = 64 << 20

// ReadText returns the texts that a PNG carries, whatever their encoding and
// compression, without decoding the picture.
func ReadText(path string) ([]Text, error) {
	f, _, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	texts, err := readText(f)
	if err != nil {
		return nil, fault.New(fault.Workflow, "%s: %w", path, err)
	}
	return texts, nil
}

func readText(r io.ReadSeeker) ([]Text, error) {
	var magic [len(pngMagic)]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:]) != pngMagic {
		return nil, errors.New("this is not a PNG")
	}
	var texts []Text
	budget := int64(maxText)
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return texts, nil // cut off, as after a broken download: what there is counts
		}
		n, kind := int64(binary.BigEndian.Uint32(head[:4])), string(head[4:])
		if kind == "IEND" {
			return texts, nil
		}
		if kind != "tEXt" && kind != "zTXt" && kind != "iTXt" {
			if _, err := r.Seek(n+4, io.SeekCurrent); err != nil {
				return texts, nil
			}
			continue
		}
		if budget -= n; budget < 0 {
			return nil, fmt.Errorf("the PNG carries more than %d bytes of text", maxText)
		}
		// What the chunk claims is read only as far as there is something.
		data, err := io.ReadAll(io.LimitReader(r, n))
		if err != nil || int64(len(data)) < n {
			return texts, nil
		}
		text, err := parseText(kind, data, &budget)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
		if _, err := r.Seek(4, io.SeekCurrent); err != nil {
			return texts, nil
		}
	}
}

// parseText reads a chunk of text. What it inflates counts against the budget.
func parseText(kind string, data []byte, budget *int64) (Text, error) {
	key, rest, ok := bytes.Cut(data, []byte{0})
	if !ok {
		return Text{}, fmt.Errorf("a %s chunk has no key", kind)
	}
	compressed := false
	switch kind {
	case "tEXt":
		return Text{string(key), latin1(rest)}, nil
	case "zTXt":
		if len(rest) < 1 {
			return Text{}, fmt.Errorf("the chunk zTXt %s is cut off", key)
		}
		compressed, rest = true, rest[1:]
	case "iTXt":
		if len(rest) < 2 {
			return Text{}, fmt.Errorf("the chunk iTXt %s is cut off", key)
		}
		compressed, rest = rest[0] == 1, rest[2:]
		for range 2 { // language and translated key
			if _, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
				return Text{}, fmt.Errorf("the chunk iTXt %s is cut off", key)
			}
		}
	}
	if compressed {
		z, err := zlib.NewReader(bytes.NewReader(rest))
		if err != nil {
			return Text{}, fmt.Errorf("the text %s: %w", key, err)
		}
		if rest, err = io.ReadAll(io.LimitReader(z, *budget+1)); err != nil {
			return Text{}, fmt.Errorf("the text %s: %w", key, err)
		}
		if *budget -= int64(len(rest)); *budget < 0 {
			return Text{}, fmt.Errorf("the PNG carries more than %d bytes of text", maxText)
		}
	}
	if kind == "iTXt" {
		return Text{string(key), strings.ToValidUTF8(string(rest), "\uFFFD")}, nil
	}
	return Text{string(key), latin1(rest)}, nil
}

// latin1 returns text of ISO 8859-1 as UTF-8. Texts that are UTF-8 already,
// against the letter of the standard, are left as they are.
func latin1(b []byte) string {
	if s := string(b); strings.ToValidUTF8(s, "") == s {
		return s
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
