package media

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"

	"github.com/weir-run/weir/resample"
)

// EncodePNG writes the first picture of a batch as a PNG with 8 bits a channel
// and with texts, in their order, as ComfyUI does. It takes memory for a few
// rows, and stops with an error when ctx ends.
func EncodePNG(ctx context.Context, w io.Writer, m *Image, texts []Text) error {
	return encodePNG(ctx, w, m, newRows(m), texts)
}

// EncodePNG16 is EncodePNG with 16 bits a channel.
func EncodePNG16(ctx context.Context, w io.Writer, m *Image, texts []Text) error {
	return encodePNG(ctx, w, m, &deepRows{rows: newRows(m)}, texts)
}

func encodePNG(ctx context.Context, w io.Writer, m *Image, rows image.Image, texts []Text) error {
	if m.Batch < 1 || m.Channels < 3 || m.Channels > 4 {
		return fmt.Errorf("a picture of %d channels cannot be a PNG: expected 3 or 4", m.Channels)
	}
	for _, t := range texts {
		if err := t.check(); err != nil {
			return err
		}
	}
	encoder := png.Encoder{CompressionLevel: png.DefaultCompression}
	return encoder.Encode(&pngWriter{ctx: ctx, w: w, texts: texts}, rows)
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

// deepRows are rows of 16 bits a channel.
type deepRows struct{ *rows }

// ColorModel returns that of 16 bits a channel.
func (r *deepRows) ColorModel() color.Model { return color.NRGBA64Model }

// At returns a colour: values are cut to 0..1 and, times 65535, to whole numbers.
func (r *deepRows) At(x, y int) color.Color {
	if y != r.y {
		r.m.Row(r.values, 0, y)
		r.y = y
	}
	p := [4]uint16{3: math.MaxUint16}
	for i, v := range r.values[x*r.m.Channels:][:r.m.Channels] {
		p[i] = uint16(min(max(v*math.MaxUint16, 0), math.MaxUint16))
	}
	return color.NRGBA64{p[0], p[1], p[2], p[3]}
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
