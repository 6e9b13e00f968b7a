package media

import (
	"context"
	"fmt"
	"image"

	_ "image/gif"  // the formats that image.Decode knows
	_ "image/jpeg" //
	_ "image/png"  //

	_ "golang.org/x/image/bmp"  //
	_ "golang.org/x/image/tiff" //
	_ "golang.org/x/image/webp" //

	"github.com/weir-run/weir/fault"
)

// perByte bounds the pixels that a header claims: no format packs more into a
// byte of the file, but for pictures of a single colour.
const perByte = 8 << 10

// Load reads a picture: PNG, JPEG, WebP, BMP, TIFF, or the first of a GIF,
// turned as its EXIF data says. The image has three channels, the colours as
// they are without opacity (in a GIF what is transparent is black); the mask is
// what is transparent, 1 - opacity, or nil for a picture without transparency.
//
// A picture that takes more bytes of memory than limit, by [Info.Memory], is an
// error of the kind [fault.Memory]. A limit of 0 is none.
func Load(ctx context.Context, path string, limit int64) (*Image, *Mask, error) {
	f, closer, err := open(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	defer closer.Close()
	m, mask, err := f.decode(limit)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, mask, nil
}

func (f *file) decode(limit int64) (*Image, *Mask, error) {
	info, err := f.measure()
	if err != nil {
		return nil, nil, err
	}
	if n := info.Memory(); limit > 0 && n > limit {
		return nil, nil, fault.New(fault.Memory, "%d pictures of %d×%d pixels take %d MiB to read, and %d MiB are left for them", info.Frames, info.Width, info.Height, n>>20, limit>>20)
	}
	if saturate(info.pixels(), int64(info.Frames)) > saturate(perByte, f.size) {
		return nil, nil, fault.New(fault.Workflow, "the picture claims %d×%d pixels in a file of %d bytes: it is broken", info.Width, info.Height, f.size)
	}
	picture, format, err := image.Decode(f.all())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", info.Format, err)
	}
	m, mask := split(flatten(picture, format), transparent(picture, format))
	o, err := f.orientation(format)
	if err != nil {
		return nil, nil, err
	}
	m.raster = m.oriented(o)
	if mask != nil {
		mask.raster = mask.oriented(o)
	}
	return m, mask, nil
}
