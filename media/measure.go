package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/weir-run/weir/fault"
)

// An Info is what the headers of a picture say.
type Info struct {
	Format string // png, jpeg, webp, gif, bmp or tiff
	// Width and Height are those of the picture that Load returns, turned as
	// its EXIF data says.
	Width, Height int
	// Frames is how many pictures Load returns: more than 1 if it is animated.
	Frames int
	// perPixel is the memory that decoding takes beside the result, in bytes a
	// pixel.
	perPixel int64
	// opacity says that pictures have a channel of opacity or a palette with one,
	// keyed that one colour is transparent.
	opacity, keyed bool
	animated       bool // by the header
}

// Size returns the most bytes of memory that the pictures and their masks take.
func (i Info) Size() int64 {
	const colours, opacity = 3, 1
	return saturate(colours+opacity, i.pixels(), int64(i.Frames))
}

// Memory returns the most bytes of memory that Load takes, with its result.
func (i Info) Memory() int64 {
	const buffers = 1 << 20
	return sum(i.Size(), saturate(i.perPixel, padded(i.Width), padded(i.Height)), buffers)
}

// padded returns a side as decoders round it up, to whole blocks.
func padded(side int) int64 { return (int64(side) + 31) / 32 * 32 }

func (i Info) pixels() int64 { return saturate(int64(i.Width), int64(i.Height)) }

func sum(sizes ...int64) int64 {
	var total int64
	for _, n := range sizes {
		if total > math.MaxInt64-n {
			return math.MaxInt64
		}
		total += n
	}
	return total
}

// Measure reads the headers of a picture. No memory is taken for what they
// claim.
func Measure(ctx context.Context, path string) (Info, error) {
	f, closer, err := open(ctx, path)
	if err != nil {
		return Info{}, err
	}
	defer closer.Close()
	info, err := f.measure()
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

func (f *file) measure() (Info, error) {
	info := Info{Format: f.format(), Frames: 1}
	err := f.ctx.Err()
	if err != nil {
		return Info{}, err
	}
	switch info.Format {
	case "png":
		err = f.measurePNG(&info)
	case "jpeg":
		err = f.measureJPEG(&info)
	case "gif":
		err = f.measureGIF(&info)
	case "webp":
		err = f.measureWebP(&info)
	case "bmp":
		err = f.measureBMP(&info)
	case "tiff":
		err = f.measureTIFF(&info)
	case "":
		return Info{}, fault.New(fault.Workflow, "this is no picture of a known format: PNG, JPEG, WebP, BMP, TIFF or GIF")
	default:
		return Info{}, fault.New(fault.Workflow, "this is %s, which cannot be read: expected PNG, JPEG, WebP, BMP, TIFF or GIF", names[info.Format])
	}
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", info.Format, err)
	}
	if info.Width < 1 || info.Height < 1 {
		return Info{}, fault.New(fault.Workflow, "%s: the picture has %d×%d pixels", info.Format, info.Width, info.Height)
	}
	o, err := f.orientation(info.Format)
	if err != nil {
		return Info{}, err
	}
	if o >= 5 {
		info.Width, info.Height = info.Height, info.Width
	}
	return info, nil
}

// measurePNG counts the frames of an animation that are there, of which at most
// as many are shown as it claims.
func (f *file) measurePNG(info *Info) error {
	found := errNoHeader
	var claimed, there uint32
	data, hidden := false, false
	var colour uint8
	err := f.chunks("png", func(c chunk) bool {
		switch c.kind {
		case "IHDR":
			head, err := f.peek(c.at, 13)
			if err != nil {
				found = err
				return false
			}
			info.Width, info.Height = int(binary.BigEndian.Uint32(head)), int(binary.BigEndian.Uint32(head[4:]))
			colour = head[9]
			info.perPixel = pngBytes(head[8], colour, head[12] != 0)
			info.opacity = colour >= 4
			found = nil
		case "tRNS":
			info.opacity = info.opacity || colour == 3
			info.keyed = colour == 0 || colour == 2
			if colour == 0 { // decoded with opacity
				info.perPixel *= 4
			}
		case "acTL":
			if n, err := f.peek(c.at, 4); err == nil && !data {
				claimed = binary.BigEndian.Uint32(n)
			}
		case "fcTL":
			there++
		case "IDAT":
			data, hidden = true, hidden || !data && there == 0
			return claimed > 0
		}
		return true
	})
	if n := min(claimed, there); n > 0 {
		info.Frames = int(n)
		if hidden { // of those who show animations; Pillow shows it first
			info.Frames++
		}
		info.perPixel += 4 + 4 // the canvas, and what is restored
	}
	return errors.Join(err, found)
}

var errNoHeader = errors.New("the file has no header")

// pngBytes returns the bytes a pixel of what a PNG is decoded to, twice those of
// an interlaced one, whose passes are decoded first.
func pngBytes(depth, colour uint8, interlaced bool) int64 {
	n := int64(4) // as RGBA
	if colour == 0 || colour == 3 {
		n = 1
	}
	if depth == 16 {
		n *= 2
	}
	if interlaced {
		n *= 2
	}
	return n
}

func (f *file) measureJPEG(info *Info) error {
	found := errNoHeader
	coded := true // as brightness and colour differences
	err := f.segments(func(marker byte, at, n int64) bool {
		const adobe = "Adobe"
		if marker == 0xee && n >= 12 { // of Adobe, which says how colours are coded
			if head, err := f.peek(at, 12); err == nil && string(head[:len(adobe)]) == adobe {
				coded = head[11] != 0
			}
		}
		if marker < 0xc0 || marker > 0xcf || marker == 0xc4 || marker == 0xc8 || marker == 0xcc {
			return true
		}
		head, err := f.peek(at, int(min(n, 15)))
		if err != nil || len(head) < 6 {
			found = errors.Join(errCut, err)
			return false
		}
		info.Height, info.Width = int(binary.BigEndian.Uint16(head[1:])), int(binary.BigEndian.Uint16(head[3:]))
		channels := int64(head[5])
		info.perPixel = channels
		if len(head) == 15 && head[6] == 'R' && head[9] == 'G' && head[12] == 'B' {
			coded = false
		}
		if channels > 3 || channels == 3 && !coded { // converted
			info.perPixel += 4
		}
		if marker == 0xc2 { // the coefficients of a progressive one are kept as int32
			info.perPixel += 4 * channels
		}
		found = nil
		return false
	})
	return errors.Join(err, found)
}

func (f *file) measureBMP(info *Info) error {
	// A header of version 3 or later may have a mask of the bits of opacity.
	const size, bits, masks, opacity = 14, 28, 30, 66
	if head, err := f.peek(0, opacity+4); err == nil {
		info.opacity = binary.LittleEndian.Uint32(head[size:]) >= 56 && binary.LittleEndian.Uint16(head[bits:]) == 32 &&
			binary.LittleEndian.Uint32(head[masks:]) == 3 && binary.LittleEndian.Uint32(head[opacity:]) != 0
	}
	return f.measureBy(info, bmp.DecodeConfig, 4)
}

// measureBy measures by a function that reads a header.
func (f *file) measureBy(info *Info, header func(io.Reader) (image.Config, error), perPixel int64) error {
	config, err := header(f.all())
	if err != nil {
		return err
	}
	info.Width, info.Height, info.perPixel = config.Width, config.Height, perPixel
	return nil
}

// measureWebP counts the frames of an animation. Its canvas is in the header.
func (f *file) measureWebP(info *Info) error {
	frames, extended := 0, false
	err := f.chunks("webp", func(c chunk) bool {
		switch head, err := f.peek(c.at, int(min(c.n, 10))); {
		case err != nil:
		case c.kind == "VP8X" && len(head) == 10:
			const opacity, animation = 0x10, 2
			extended = true
			info.opacity, info.animated = head[0]&opacity != 0, head[0]&animation != 0
			info.Width, info.Height = 1+uint24(head[4:]), 1+uint24(head[7:])
		case c.kind == "VP8L" && !extended:
			info.opacity = f.losslessAlpha(c.at)
		case c.kind == "ANMF":
			frames++
		}
		return extended && info.animated || c.kind == "VP8X"
	})
	if err != nil {
		return err
	}
	const perPixel = 4 + 4 + 1 // of a lossless picture, while it is transformed
	if !info.animated {
		return f.measureBy(info, webp.DecodeConfig, perPixel)
	}
	if frames == 0 {
		return errors.New("there is no picture in the file")
	}
	info.Frames, info.perPixel = frames, perPixel+4+4 // with two canvases
	return nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// measureTIFF counts the pages that have the size of the first.
func (f *file) measureTIFF(info *Info) error {
	// The picture, and its bytes as they grow, which may all be in one strip.
	const grown = 4
	perPixel := int64(4 + 4*grown)
	err := f.measureBy(info, func(r io.Reader) (image.Config, error) {
		config, err := tiff.DecodeConfig(r)
		if m := config.ColorModel; m == color.Gray16Model || m == color.RGBA64Model || m == color.NRGBA64Model {
			perPixel *= 2
		}
		return config, err
	}, 0)
	if err != nil {
		return err
	}
	info.perPixel = perPixel
	pages, err := f.pages()
	info.Frames = max(len(pages), 1)
	return err
}

// maxEntries bounds the tags that the pages of a TIFF have together.
const maxEntries = 1 << 18

// pages returns the places of the directories of a TIFF whose pictures have the
// size of the first.
func (f *file) pages() ([]int64, error) {
	d, ok := f.firstDirectory()
	var out []int64
	var width, height int64
	seen := map[int64]bool{}
	entries := 0
	for ok && !seen[d.at] && entries < maxEntries {
		seen[d.at] = true
		entries += 1 + d.entries
		w, _ := d.number(tagWidth)
		h, _ := d.number(tagHeight)
		if len(out) == 0 {
			width, height = w, h
		}
		if w == width && h == height {
			out = append(out, d.at)
		}
		d, ok = f.directory(d.order, d.next())
	}
	return out, f.ctx.Err()
}
