package media

import (
	"image"
	"image/color"
)

// rowsOf returns what writes row y of a decoded picture to dst: red, green,
// blue and opacity of 8 bits, where colours are not scaled by opacity.
func rowsOf(picture image.Image, format string) func(y int, dst []uint8) {
	bounds := picture.Bounds()
	at := func(y, pixel int, pix []uint8, stride int) []uint8 { return pix[y*stride:][:bounds.Dx()*pixel] }
	switch p := picture.(type) {
	case *image.NRGBA:
		return func(y int, dst []uint8) { copy(dst, at(y, 4, p.Pix, p.Stride)) }
	case *image.NRGBA64:
		return func(y int, dst []uint8) { upper(dst, at(y, 8, p.Pix, p.Stride)) }
	case *image.RGBA:
		if p.Opaque() {
			return func(y int, dst []uint8) { copy(dst, at(y, 4, p.Pix, p.Stride)) }
		}
	case *image.RGBA64:
		if p.Opaque() {
			return func(y int, dst []uint8) { upper(dst, at(y, 8, p.Pix, p.Stride)) }
		}
	case *image.Gray:
		return func(y int, dst []uint8) {
			for x, v := range at(y, 1, p.Pix, p.Stride) {
				setPixel(dst[4*x:], v, v, v, 255)
			}
		}
	case *image.Gray16:
		return func(y int, dst []uint8) {
			line := at(y, 2, p.Pix, p.Stride)
			for x := range bounds.Dx() {
				v := line[2*x]
				setPixel(dst[4*x:], v, v, v, 255)
			}
		}
	case *image.Paletted:
		var palette [256]color.NRGBA
		for i, c := range p.Palette {
			palette[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		return func(y int, dst []uint8) {
			for x, v := range at(y, 1, p.Pix, p.Stride) {
				c := palette[v]
				setPixel(dst[4*x:], c.R, c.G, c.B, c.A)
			}
		}
	case *image.YCbCr:
		return rowsOfYCbCr(p, format)
	case *image.NYCbCrA:
		colours := rowsOfYCbCr(&p.YCbCr, format)
		return func(y int, dst []uint8) {
			colours(y, dst)
			for x, a := range at(y, 1, p.A, p.AStride) {
				dst[4*x+3] = a
			}
		}
	case *image.CMYK:
		return func(y int, dst []uint8) {
			line := at(y, 4, p.Pix, p.Stride)
			for x := range bounds.Dx() {
				c := line[4*x:][:4]
				light := 255 - c[3]
				setPixel(dst[4*x:], light-scale(c[0], light), light-scale(c[1], light), light-scale(c[2], light), 255)
			}
		}
	}
	return func(y int, dst []uint8) {
		for x := range bounds.Dx() {
			c := color.NRGBAModel.Convert(picture.At(bounds.Min.X+x, bounds.Min.Y+y)).(color.NRGBA)
			setPixel(dst[4*x:], c.R, c.G, c.B, c.A)
		}
	}
}

func setPixel(dst []uint8, r, g, b, a uint8) {
	_ = dst[3]
	dst[0], dst[1], dst[2], dst[3] = r, g, b, a
}

// upper takes the upper bytes of 16 bits, as Pillow does.
func upper(dst, src []uint8) {
	for i := range dst {
		dst[i] = src[2*i]
	}
}

// scale returns a times b, where 255 stands for 1.
func scale(a, b uint8) uint8 {
	t := uint32(a)*uint32(b) + 128
	return uint8((t>>8 + t) >> 8)
}

// rowsOfYCbCr converts brightness and colour differences by ITU-R BT.601: in
// a JPEG they use all of a byte's values, in a WebP brightness is 16 to 235 and
// the differences are 16 to 240.
func rowsOfYCbCr(p *image.YCbCr, format string) func(y int, dst []uint8) {
	cb, cr := newEnlarger(p, p.Cb, format), newEnlarger(p, p.Cr, format)
	return func(y int, dst []uint8) {
		cb.row(y)
		cr.row(y)
		line := p.Y[y*p.YStride:][:p.Rect.Dx()]
		if format == "webp" {
			for x, l := range line {
				// libwebp's arithmetic, in 1/64: 255/219 for brightness, and for the
				// differences 255/224 times 2(1-Kr), 2(1-Kb) and their shares in green,
				// with Kr = 0.299 and Kb = 0.114.
				light, u, v := high(l, 19077), cb.out[x], cr.out[x]
				setPixel(dst[4*x:], clamp(light+high(v, 26149)-14234), clamp(light-high(u, 6419)-high(v, 13320)+8708), clamp(light+high(u, 33050)-17685), 255)
			}
			return
		}
		for x, l := range line {
			r, g, b := color.YCbCrToRGB(l, cb.out[x], cr.out[x])
			setPixel(dst[4*x:], r, g, b, 255)
		}
	}
}

func high(v uint8, factor int) int { return int(v) * factor >> 8 }

// clamp returns a value in 1/64 as a byte.
func clamp(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }

// An enlarger makes rows of a plane of colour differences at the picture's
// width. Where a value stands for two pixels, a pixel is three quarters of the
// nearer value and one of the next, rounded as libjpeg and libwebp do it; other
// ratios, which are rare, repeat values.
type enlarger struct {
	plane     []uint8
	stride    int
	fx, fy    int // pixels that a value stands for
	rows      int
	webp      bool
	near, far []int // the values of the nearer row and of the next
	out       []uint8
}

func newEnlarger(p *image.YCbCr, plane []uint8, format string) *enlarger {
	fx, fy := ratio(p.SubsampleRatio)
	width, height := p.Rect.Dx(), p.Rect.Dy()
	columns := (width + fx - 1) / fx
	return &enlarger{plane, p.CStride, fx, fy, (height + fy - 1) / fy, format == "webp", make([]int, columns), make([]int, columns), make([]uint8, width)}
}

// row makes row y, which is in out until the next call.
func (e *enlarger) row(y int) {
	near, far := neighbours(y, e.fy, e.rows)
	a, b := e.plane[near*e.stride:], e.plane[far*e.stride:]
	for x := range e.near {
		e.near[x], e.far[x] = int(a[x]), int(b[x])
	}
	for x := range e.out {
		near, far := neighbours(x, e.fx, len(e.near))
		v := e.near[near]
		if e.webp {
			e.out[x] = uint8(webpBetween(v, e.near[far], e.far[near], e.far[far], x == 0 || x%2 == 1 && x == len(e.out)-1))
			continue
		}
		if e.fy == 2 {
			v = 3*v + e.far[near]
		}
		switch {
		case e.fx == 2 && e.fy == 2: // in sixteenths; half up and half down in turn
			v = (3*v + 3*e.near[far] + e.far[far] + 8 - x%2) >> 4
		case e.fx == 2:
			v = (3*v + e.near[far] + 1 + x%2) >> 2
		case e.fy == 2:
			v = (v + 1 + y%2) >> 2
		}
		e.out[x] = uint8(v)
	}
}

// webpBetween returns what libwebp makes of the nearest value, the next beside
// it, the next above or below, and the one across; at the sides of a picture of
// the two that there are.
func webpBetween(v, beside, above, across int, side bool) int {
	if side {
		return (3*v + above + 2) >> 2
	}
	return ((v+beside+above+across+8+2*(beside+above))>>3 + v) >> 1
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
