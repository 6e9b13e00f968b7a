package media

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"os"

	_ "image/gif"  // the formats that image.Decode knows
	_ "image/jpeg" //
	_ "image/png"  //

	_ "golang.org/x/image/bmp"  //
	_ "golang.org/x/image/tiff" //
	_ "golang.org/x/image/webp" //
)

// Limits of what is decoded. Decoders take the memory that the header claims,
// so it must be in proportion to the file: no format packs more pixels than
// perByte into a byte, but for pictures of a single colour.
const (
	maxFile   = 512 << 20
	maxPixels = 256 << 20
	perByte   = 8 << 10
)

// Load reads a picture: PNG, JPEG, WebP, BMP, TIFF, or the first of a GIF,
// turned as its EXIF data says. The image has three channels; the mask is what
// is transparent, 1 - opacity, or nil for a picture without transparency.
func Load(path string) (*Image, *Mask, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	m, mask, err := Decode(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, mask, nil
}

// Decode is Load for a file's contents.
func Decode(data []byte) (*Image, *Mask, error) {
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("the file is larger than %d MiB", maxFile>>20)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if errors.Is(err, image.ErrFormat) {
		return nil, nil, errors.New("this is no picture of a known format: PNG, JPEG, WebP, BMP, TIFF or GIF")
	}
	if err != nil {
		return nil, nil, err
	}
	if config.Width < 1 || config.Height < 1 || config.Width > maxPixels/config.Height {
		return nil, nil, fmt.Errorf("the picture claims %d×%d pixels: at most %d million are read", config.Width, config.Height, maxPixels/1000000)
	}
	if config.Width*config.Height > perByte*len(data) {
		return nil, nil, fmt.Errorf("the picture claims %d×%d pixels in a file of %d bytes: it is broken", config.Width, config.Height, len(data))
	}
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", format, err)
	}
	m, mask := convert(picture, format)
	if format == "jpeg" {
		m = m.oriented(orientation(data))
	}
	return m, mask, nil
}

// convert returns the colours as they are without opacity, and what is
// transparent.
func convert(picture image.Image, format string) (*Image, *Mask) {
	bounds := picture.Bounds()
	m := NewImage(1, bounds.Dy(), bounds.Dx(), 3)
	opaque := false
	if o, ok := picture.(interface{ Opaque() bool }); ok {
		opaque = o.Opaque()
	}
	flat, ok := picture.(*image.NRGBA)
	if !ok || bounds.Min != (image.Point{}) {
		flat = image.NewNRGBA(image.Rect(0, 0, m.Width, m.Height))
		if p, ok := picture.(*image.NRGBA64); ok {
			narrow(flat, p)
		} else {
			draw.Draw(flat, flat.Bounds(), picture, bounds.Min, draw.Src)
		}
	}
	var mask *Mask
	// The decoder of WebP gives opacity to all pictures.
	if !opaque || format != "webp" && hasAlpha(picture) {
		mask = NewMask(1, m.Height, m.Width)
	}
	for y := range m.Height {
		row := flat.Pix[y*flat.Stride:]
		for x := range m.Width {
			i := y*m.Width + x
			for c := range 3 {
				m.Pix[3*i+c] = float32(row[4*x+c]) / 255
			}
			if mask != nil {
				mask.Pix[i] = 1 - float32(row[4*x+3])/255
			}
		}
	}
	return m, mask
}

// hasAlpha reports whether the format of a picture has opacity, even if all
// of it is opaque.
func hasAlpha(picture image.Image) bool {
	switch p := picture.(type) {
	case *image.NRGBA, *image.NRGBA64:
		return true
	case *image.Paletted:
		for _, c := range p.Palette {
			if _, _, _, a := c.RGBA(); a != 0xffff {
				return true
			}
		}
	}
	return false
}

// narrow keeps the upper bytes of 16 bits, as Pillow does.
func narrow(dst *image.NRGBA, src *image.NRGBA64) {
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			c := src.NRGBA64At(src.Rect.Min.X+x, src.Rect.Min.Y+y)
			dst.SetNRGBA(x, y, color.NRGBA{uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8), uint8(c.A >> 8)})
		}
	}
}

// orientation returns the EXIF orientation of a JPEG, 1 for an upright one.
func orientation(data []byte) int {
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		marker, n := data[at+1], int(data[at+2])<<8|int(data[at+3])
		if marker == 0xda || n < 2 || at+2+n > len(data) {
			break
		}
		if segment := data[at+4 : at+2+n]; marker == 0xe1 && bytes.HasPrefix(segment, []byte("Exif\x00\x00")) {
			return tiffOrientation(segment[6:])
		}
		at += 2 + n
	}
	return 1
}

// tiffOrientation reads tag 0x112 of the first directory.
func tiffOrientation(t []byte) int {
	if len(t) < 8 {
		return 1
	}
	get := func(at, n int) (v int) {
		for i := range n {
			shift := 8 * i
			if t[0] == 'M' {
				shift = 8 * (n - 1 - i)
			}
			v |= int(t[at+i]) << shift
		}
		return v
	}
	at := get(4, 4)
	if at < 8 || at+2 > len(t) {
		return 1
	}
	for i := range get(at, 2) {
		entry := at + 2 + 12*i
		if entry+12 > len(t) {
			break
		}
		if v := get(entry+8, 2); get(entry, 2) == 0x112 && v >= 1 && v <= 8 {
			return v
		}
	}
	return 1
}

// oriented turns and mirrors a picture by its EXIF orientation.
func (m *Image) oriented(o int) *Image {
	if o <= 1 {
		return m
	}
	out := NewImage(1, m.Height, m.Width, m.Channels)
	if o >= 5 {
		out.Height, out.Width = m.Width, m.Height
	}
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := x, y
			if o >= 5 { // transposed first
				sx, sy = y, x
			}
			if o == 2 || o == 3 || o == 7 || o == 8 {
				sx = m.Width - 1 - sx
			}
			if o == 3 || o == 4 || o == 6 || o == 7 {
				sy = m.Height - 1 - sy
			}
			copy(out.Pix[(y*out.Width+x)*m.Channels:][:m.Channels], m.Pix[(sy*m.Width+sx)*m.Channels:])
		}
	}
	return out
}
