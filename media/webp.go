package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// A webpFrame is one picture of an animated WebP.
type webpFrame struct {
	rect
	clear bool // it is cleared before the next
	over  bool // it is blended with what was there
	alpha bool
	at, n int64 // its chunks
}

// full reports whether a frame covers a canvas.
func (w webpFrame) full(c *canvas) bool { return w.rect == c.all() }

// webpFrames composes the frames of an animated WebP as libwebp does.
func (f *file) webpFrames(info Info, b *batch) error {
	c := newCanvas(b.width, b.height)
	below := newCanvas(b.width, b.height) // the canvas of the last frame, what is cleared is
	var last webpFrame
	lastKey := false
	var failed error
	err := f.chunks("webp", func(k chunk) bool {
		if k.kind != "ANMF" {
			return true
		}
		var frame webpFrame
		if frame, failed = f.webpFrame(k); failed != nil {
			return false
		}
		if !c.contains(frame.rect) {
			failed = fmt.Errorf("frame %d lies outside of the picture", b.n+1)
			return false
		}
		// A key frame needs nothing of what was there.
		key := b.n == 0 || (!frame.over || !frame.alpha) && frame.full(c) || last.clear && (last.full(c) || lastKey)
		if key {
			clear(c.pixels)
		} else {
			copy(c.pixels, below.pixels)
		}
		if failed = f.drawWebP(c, frame); failed != nil {
			failed = fmt.Errorf("frame %d: %w", b.n+1, failed)
			return false
		}
		if frame.over && !key {
			for y := frame.y; y < frame.y+frame.height; y++ {
				for x := frame.x; x < frame.x+frame.width; x++ {
					if p := c.at(x, y); p[3] != 255 && !(last.clear && last.has(x, y)) {
						*p = blendWebP(*p, *below.at(x, y))
					}
				}
			}
		}
		failed = b.add(f.ctx, c.width, c.height, c.row)
		copy(below.pixels, c.pixels)
		if frame.clear {
			below.fill(frame.rect, pixel{})
		}
		last, lastKey = frame, key
		return failed == nil && !b.full()
	})
	if failed == nil {
		failed = err
	}
	if failed == nil && !b.full() {
		failed = errCut
	}
	return failed
}

// has reports whether a point lies in a part.
func (r rect) has(x, y int) bool {
	return x >= r.x && x < r.x+r.width && y >= r.y && y < r.y+r.height
}

// blendWebP is libwebp's arithmetic of a pixel over another.
func blendWebP(p, below pixel) pixel {
	a := uint32(p[3])
	if a == 0 {
		return below
	}
	b := uint32(below[3]) * (256 - a) >> 8
	scale := uint32(1<<24) / (a + b)
	for i := range 3 {
		p[i] = uint8((uint32(p[i])*a + uint32(below[i])*b) * scale >> 24)
	}
	p[3] = uint8(a + b)
	return p
}

// webpFrame reads the header of a frame.
func (f *file) webpFrame(k chunk) (webpFrame, error) {
	head, err := f.peek(k.at, 16)
	if err != nil {
		return webpFrame{}, err
	}
	w := webpFrame{
		rect:  rect{2 * uint24(head), 2 * uint24(head[3:]), 1 + uint24(head[6:]), 1 + uint24(head[9:])},
		clear: head[15]&1 != 0, over: head[15]&2 == 0,
		at: k.at + 16, n: k.n - 16,
	}
	inner := newFile(f.ctx, f.section(w.at, w.n).SectionReader, w.n)
	if head, err := inner.peek(0, 8); err == nil {
		w.alpha = string(head[:4]) == "ALPH" || string(head[:4]) == "VP8L" && inner.losslessAlpha(8)
	}
	return w, nil
}

// losslessAlpha reports whether the data of a lossless picture has opacity.
func (f *file) losslessAlpha(at int64) bool {
	head, err := f.peek(at, 5)
	return err == nil && head[0] == 0x2f && head[4]>>4&1 != 0
}

// drawWebP decodes a frame, which becomes a WebP of its own, into its place.
func (f *file) drawWebP(c *canvas, w webpFrame) error {
	kind, err := f.peek(w.at, 4)
	if err != nil {
		return err
	}
	var head []byte
	if string(kind) == "ALPH" {
		const opacity = 0x10
		head = binary.LittleEndian.AppendUint32([]byte("VP8X"), 10)
		head = append(head, opacity, 0, 0, 0)
		for _, n := range []int{w.width - 1, w.height - 1} {
			head = append(head, uint8(n), uint8(n>>8), uint8(n>>16))
		}
	}
	riff := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+int64(len(head))+w.n))
	riff = append(append(riff, "WEBP"...), head...)
	picture, err := decodePicture(f.ctx, io.MultiReader(bytes.NewReader(riff), f.section(w.at, w.n)))
	if err != nil {
		return err
	}
	if picture.Bounds().Dx() != w.width || picture.Bounds().Dy() != w.height {
		return fmt.Errorf("it has %d×%d pixels, its header says %d×%d", picture.Bounds().Dx(), picture.Bounds().Dy(), w.width, w.height)
	}
	rows := rowsOf(picture, "webp")
	row := make([]uint8, 4*w.width)
	for y := range w.height {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		rows(y, row)
		to := c.part(w.rect, y)
		for x := range to {
			to[x] = pixel(row[4*x:])
		}
	}
	return nil
}
