package media

import (
	"image"
	"image/color"
	"image/draw"
)

// flatten returns a decoded picture as 8 bits a channel whose colours are not
// scaled by opacity, with its upper left corner at 0, 0.
func flatten(picture image.Image, format string) *image.NRGBA {
	bounds := picture.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, bounds.Dx(), bounds.Dy()))
	switch p := picture.(type) {
	case *image.NRGBA64:
		// The upper bytes, as Pillow has it.
		each(out, func(x, y int) color.NRGBA {
			c := p.NRGBA64At(bounds.Min.X+x, bounds.Min.Y+y)
			return color.NRGBA{uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8), uint8(c.A >> 8)}
		})
	case *image.Paletted:
		var palette [256]color.NRGBA
		for i, c := range p.Palette {
			palette[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		each(out, func(x, y int) color.NRGBA { return palette[p.Pix[y*p.Stride+x]] })
	case *image.YCbCr:
		flattenYCbCr(out, p, format)
	case *image.NYCbCrA:
		flattenYCbCr(out, &p.YCbCr, format)
		for y := range out.Rect.Dy() {
			for x := range out.Rect.Dx() {
				out.Pix[y*out.Stride+4*x+3] = p.A[y*p.AStride+x]
			}
		}
	default:
		draw.Draw(out, out.Rect, picture, bounds.Min, draw.Src)
	}
	return out
}

// each sets every pixel.
func each(m *image.NRGBA, pixel func(x, y int) color.NRGBA) {
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			m.SetNRGBA(x, y, pixel(x, y))
		}
	}
}

// flattenYCbCr converts brightness and colour differences by ITU-R BT.601: in
// a JPEG they use all of a byte's values, in a WebP brightness is 16 to 235 and
// the differences are 16 to 240.
func flattenYCbCr(out *image.NRGBA, p *image.YCbCr, format string) {
	cb, cr := enlarge(p, p.Cb), enlarge(p, p.Cr)
	each(out, func(x, y int) color.NRGBA {
		l, b, r := p.Y[y*p.YStride+x], cb[y*out.Rect.Dx()+x], cr[y*out.Rect.Dx()+x]
		if format != "webp" {
			r, g, b := color.YCbCrToRGB(l, b, r)
			return color.NRGBA{r, g, b, 255}
		}
		// In 1/65536: 255/219 for brightness, and for the differences 255/224
		// times 2(1-Kr), 2(1-Kb) and their shares in green, with Kr = 0.299 and
		// Kb = 0.114.
		light, blue, red := 76309*(int(l)-16)+1<<15, int(b)-128, int(r)-128
		return color.NRGBA{clamp(light + 104597*red), clamp(light - 25675*blue - 53279*red), clamp(light + 132201*blue), 255}
	})
}

// clamp returns a value in 1/65536 as a byte.
func clamp(v int) uint8 { return uint8(min(max(v>>16, 0), 255)) }

// enlarge returns a plane of colour differences at the picture's size. Where a
// value stands for two pixels, a pixel is three quarters of the nearer value
// and one of the next, as libjpeg and libwebp do it; other ratios, which are
// rare, repeat values.
func enlarge(p *image.YCbCr, plane []uint8) []uint8 {
	fx, fy := ratio(p.SubsampleRatio)
	width, height := p.Rect.Dx(), p.Rect.Dy()
	columns, rows := (width+fx-1)/fx, (height+fy-1)/fy
	out := make([]uint8, width*height)
	line := make([]int, columns)
	for y := range height {
		near, far := neighbours(y, fy, rows)
		a, b := plane[near*p.CStride:], plane[far*p.CStride:]
		for x := range line {
			line[x] = int(a[x])
			if fy == 2 {
				line[x] = 3*int(a[x]) + int(b[x])
			}
		}
		for x := range width {
			near, far := neighbours(x, fx, columns)
			v := line[near]
			switch {
			case fx == 2 && fy == 2: // in sixteenths; half up and half down in turn
				v = (3*v + line[far] + 8 - x%2) >> 4
			case fx == 2:
				v = (3*v + line[far] + 1 + x%2) >> 2
			case fy == 2:
				v = (v + 1 + y%2) >> 2
			}
			out[y*width+x] = uint8(v)
		}
	}
	return out
}

// neighbours returns the value that a pixel lies in and the next nearest one.
func neighbours(at, factor, n int) (near, far int) {
	near = at / factor
	if at%factor == 0 {
		return near, max(near-1, 0)
	}
	return near, min(near+1, n-1)
}

// ratio returns how many pixels a value stands for in each direction.
func ratio(r image.YCbCrSubsampleRatio) (x, y int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// transparent reports whether a picture has opacity, even if all of it is
// opaque.
func transparent(picture image.Image, format string) bool {
	if p, ok := picture.(interface{ Opaque() bool }); ok && !p.Opaque() {
		return true
	}
	switch p := picture.(type) {
	case *image.NRGBA, *image.NRGBA64:
		return format != "webp" // whose decoder gives opacity to all pictures
	case *image.Paletted:
		for _, c := range p.Palette {
			if _, _, _, a := c.RGBA(); a != 0xffff {
				return true
			}
		}
	}
	return false
}

// split returns the colours of a picture and, if it is transparent, where.
func split(p *image.NRGBA, transparent bool) (*Image, *Mask) {
	m := &Image{newRaster(1, p.Rect.Dy(), p.Rect.Dx(), 3, inBytes)}
	for i := range m.Height * m.Width {
		copy(m.bytes[3*i:3*i+3], p.Pix[4*i:])
	}
	if !transparent {
		return m, nil
	}
	mask := &Mask{newRaster(1, m.Height, m.Width, 1, inNegatives)}
	for i := range mask.bytes {
		mask.bytes[i] = p.Pix[4*i+3]
	}
	return m, mask
}
