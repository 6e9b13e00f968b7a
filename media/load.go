package media

import (
	"bytes"
	"errors"
	"fmt"
	"image"
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
// turned as its EXIF data says. The image has three channels, the colours as
// they are without opacity (in a GIF what is transparent is black); the mask is
// what is transparent, 1 - opacity, or nil for a picture without transparency.
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
	m, mask := split(flatten(picture, format), transparent(picture, format))
	o := orientation(data, format)
	m.raster = m.oriented(o)
	if mask != nil {
		mask.raster = mask.oriented(o)
	}
	return m, mask, nil
}
