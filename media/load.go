package media

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"io"

	_ "image/jpeg" // the formats that image.Decode knows
	_ "image/png"  //

	_ "golang.org/x/image/bmp"  //
	_ "golang.org/x/image/webp" //

	"golang.org/x/image/tiff"

	"github.com/weir-run/weir/fault"
)

// perByte bounds the pixels that a header claims: PNG, GIF, JPEG and BMP pack no
// more into a byte of the file. WebP and TIFF do, of a single colour.
const perByte = 16 << 10

// Load reads a picture as ComfyUI's LoadImage does: PNG, JPEG, WebP, BMP, TIFF
// or GIF, turned as its EXIF data says. Those of an animation, and the pages of
// a TIFF, are a batch. The image has three channels, the colours as they are
// without opacity; the mask is what is transparent, 1 - opacity, or nil for a
// picture that has no channel of opacity, nor a palette with one.
//
// A picture that takes more bytes of memory than limit, by [Info.Memory], is an
// error of the kind [fault.Memory]. A limit of 0 is none.
func Load(ctx context.Context, path string, limit int64) (*Image, *Mask, error) {
	return load(ctx, path, decoding{limit: limit})
}

// LoadChannel reads a channel of a picture as a mask, as ComfyUI's
// LoadImageMask does: 0, 1 and 2 are red, green and blue, 3 is what is
// transparent. A colour that a PNG declares transparent is. Of an animation it
// is the first picture.
func LoadChannel(ctx context.Context, path string, channel int, limit int64) (*Mask, error) {
	m, mask, err := load(ctx, path, decoding{limit: limit, first: true, keyed: channel == 3})
	switch {
	case err != nil:
		return nil, err
	case channel < 3:
		return m.Channel(channel), nil
	case mask == nil:
		return NewMask(1, m.Height, m.Width, nil), nil
	}
	return mask, nil
}

func load(ctx context.Context, path string, d decoding) (*Image, *Mask, error) {
	f, closer, err := open(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	defer closer.Close()
	m, mask, err := f.decode(d)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, mask, nil
}

// A decoding says what is read of a picture.
type decoding struct {
	limit int64 // of the memory, or 0
	first bool  // only the first of an animation
	keyed bool  // a PNG's transparent colour counts
}

func (f *file) decode(d decoding) (*Image, *Mask, error) {
	info, err := f.measure()
	if err != nil {
		return nil, nil, err
	}
	if d.first {
		info.Frames = 1
	}
	if n := info.Memory(); d.limit > 0 && n > d.limit {
		return nil, nil, fault.New(fault.Memory, "%d pictures of %d×%d pixels take %d MiB to read, and %d MiB are left for them", info.Frames, info.Width, info.Height, n>>20, d.limit>>20)
	}
	if info.pixels() > saturate(perByte, f.size) && info.Format != "webp" && info.Format != "tiff" {
		return nil, nil, fault.New(fault.Workflow, "the picture claims %d×%d pixels in a file of %d bytes: it is broken", info.Width, info.Height, f.size)
	}
	o, err := f.orientation(info.Format)
	if err != nil {
		return nil, nil, err
	}
	b := newBatch(info, o, info.opacity || d.keyed && info.keyed)
	if err := f.frames(info, b); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", info.Format, err)
	}
	return b.image, b.mask, nil
}

// frames decodes the frames of a picture into a batch.
func (f *file) frames(info Info, b *batch) error {
	switch {
	case info.Format == "gif":
		return f.gifFrames(b)
	case info.Format == "png" && info.Frames > 1:
		return f.pngFrames(info, b)
	case info.Format == "webp" && info.animated:
		return f.webpFrames(info, b)
	case info.Format == "tiff":
		return f.tiffFrames(b)
	}
	picture, err := decodePicture(f.ctx, f.all())
	if err != nil {
		return err
	}
	return b.addPicture(f.ctx, picture, info.Format)
}

// addPicture adds a picture that is a frame by itself.
func (b *batch) addPicture(ctx context.Context, picture image.Image, format string) error {
	return b.add(ctx, picture.Bounds().Dx(), picture.Bounds().Dy(), rowsOf(picture, format))
}

// tiffFrames decodes the pages of a TIFF, each by a header that leads to it.
func (f *file) tiffFrames(b *batch) error {
	pages, err := f.pages()
	if err != nil {
		return err
	}
	head, err := f.bytes(0, 8)
	if err != nil {
		return err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	if len(pages) < b.image.Batch {
		return errCut
	}
	for _, page := range pages[:b.image.Batch] {
		order.PutUint32(head[4:], uint32(page))
		picture, err := inBackground(f.ctx, func() (image.Image, error) { return tiff.Decode(&headed{f.all(), head}) })
		if err != nil {
			return err
		}
		if b.n == 0 && hasOpacity(picture) {
			b.addMask()
		}
		if err := b.addPicture(f.ctx, picture, "tiff"); err != nil {
			return err
		}
	}
	return nil
}

// A headed reads a file with other first bytes.
type headed struct {
	*contextReader
	head []byte
}

func (h *headed) ReadAt(p []byte, at int64) (int, error) {
	n, err := h.contextReader.ReadAt(p, at)
	if at < int64(len(h.head)) {
		copy(p[:n], h.head[at:])
	}
	return n, err
}

// hasOpacity reports whether a picture has opacity, even if all of it is opaque.
func hasOpacity(picture image.Image) bool {
	switch p := picture.(type) {
	case *image.NRGBA, *image.NRGBA64:
		return true
	case interface{ Opaque() bool }:
		return !p.Opaque()
	}
	return false
}

// decodePicture decodes one picture.
func decodePicture(ctx context.Context, r io.Reader) (image.Image, error) {
	return inBackground(ctx, func() (image.Image, error) {
		picture, _, err := image.Decode(r)
		return picture, err
	})
}

// inBackground decodes until ctx ends, then it returns at once. The decoder
// stops when it reads on, which may be some time after a large part.
func inBackground(ctx context.Context, decode func() (image.Image, error)) (image.Image, error) {
	type result struct {
		picture image.Image
		err     error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil { // by a decoder that a file misleads
				r.err = fmt.Errorf("the picture cannot be decoded: %v", p)
			}
			done <- r
		}()
		r.picture, r.err = decode()
	}()
	select {
	case got := <-done:
		return got.picture, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A batch is a picture's frames as they are decoded.
type batch struct {
	image       *Image
	mask        *Mask // or nil
	orientation int
	width       int // before it is turned
	height      int
	n           int // frames that are there
	row         []uint8
}

func newBatch(info Info, orientation int, opacity bool) *batch {
	b := &batch{orientation: orientation, width: info.Width, height: info.Height}
	if orientation >= 5 {
		b.width, b.height = info.Height, info.Width
	}
	b.row = make([]uint8, 4*b.width)
	b.image = &Image{newRaster(info.Frames, info.Height, info.Width, 3, inBytes)}
	if opacity {
		b.addMask()
	}
	return b
}

func (b *batch) addMask() {
	b.mask = &Mask{newRaster(b.image.Batch, b.image.Height, b.image.Width, 1, inNegatives)}
}

// full reports whether all frames are there.
func (b *batch) full() bool { return b.n == b.image.Batch }

// add adds a frame, of which rows writes a row of red, green, blue and opacity.
func (b *batch) add(ctx context.Context, width, height int, rows func(y int, dst []uint8)) error {
	if width != b.width || height != b.height {
		return fmt.Errorf("a picture of %d×%d pixels is in the file, its header says %d×%d", width, height, b.width, b.height)
	}
	start := b.n * b.height * b.width
	for y := range height {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows(y, b.row)
		at, step := b.place(y)
		for x := range width {
			i := start + at + x*step
			copy(b.image.bytes[3*i:3*i+3], b.row[4*x:])
			if b.mask != nil {
				b.mask.bytes[i] = b.row[4*x+3]
			}
		}
	}
	b.n++
	return nil
}

// place returns where the first pixel of a row is when the picture is turned
// and mirrored by its EXIF orientation, and how far the next pixels are.
func (b *batch) place(y int) (at, step int) {
	w, h := b.width, b.height
	switch b.orientation {
	case 2:
		return y*w + w - 1, -1
	case 3:
		return (h-1-y)*w + w - 1, -1
	case 4:
		return (h - 1 - y) * w, 1
	case 5: // columns become rows of h pixels
		return y, h
	case 6:
		return h - 1 - y, h
	case 7:
		return (w-1)*h + h - 1 - y, -h
	case 8:
		return (w-1)*h + y, -h
	}
	return y * w, 1
}
