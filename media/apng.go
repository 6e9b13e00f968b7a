package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// An apngFrame is one picture of an animated PNG.
type apngFrame struct {
	rect
	dispose uint8 // 1 clears it, 2 restores what was there
	over    bool  // it is blended with what was there
	data    []chunk
}

// pngFrames composes the frames of an animated PNG as Pillow does.
func (f *file) pngFrames(info Info, b *batch) error {
	head, frames, err := f.apng(b)
	if err != nil {
		return err
	}
	if len(frames) < info.Frames {
		return errCut
	}
	c := newCanvas(b.width, b.height)
	var before *canvas // the canvas without the last frame
	var last apngFrame
	for i, frame := range frames[:info.Frames] {
		if !c.contains(frame.rect) {
			return fmt.Errorf("frame %d lies outside of the picture", i+1)
		}
		if i > 0 {
			switch {
			case last.dispose == 1:
				c.fill(last.rect, head.background)
			case last.dispose == 2 && before != nil:
				c.copy(before, last.rect)
			}
			if before == nil || before == c {
				before = newCanvas(c.width, c.height)
			}
			copy(before.pixels, c.pixels)
		}
		if before == nil && frame.dispose == 2 {
			frame.dispose = 1
		}
		picture, err := decodePicture(f.ctx, head.reader(f, frame))
		if err != nil {
			return fmt.Errorf("frame %d: %w", i+1, err)
		}
		rows := rowsOf(picture, "png")
		row := make([]uint8, 4*frame.width)
		for y := range frame.height {
			if err := f.ctx.Err(); err != nil {
				return err
			}
			rows(y, row)
			for x := range frame.width {
				p := pixel(row[4*x:])
				to := c.at(frame.x+x, frame.y+y)
				if frame.over && before != nil {
					p = mix(*to, p)
				}
				*to = p
			}
		}
		if frame.over && before != nil {
			before = c // which Pillow restores from then on
		}
		if err := b.add(f.ctx, c.width, c.height, c.row); err != nil {
			return err
		}
		last = frame
	}
	return nil
}

// mix blends a pixel with the one beneath, each value by the opacity.
func mix(below, p pixel) pixel {
	a := uint32(p[3])
	for i := range p {
		t := uint32(below[i])*(255-a) + uint32(p[i])*a + 128
		p[i] = uint8((t>>8 + t) >> 8)
	}
	return p
}

// An apngHead is what the frames of an animated PNG have in common.
type apngHead struct {
	ihdr       []uint8
	rest       []uint8 // chunks of the palette and of opacity
	background pixel   // what is cleared becomes
}

// apng reads where the frames are. The picture before the first frame, if there
// is one, is a frame.
func (f *file) apng(b *batch) (head apngHead, frames []apngFrame, err error) {
	var palette, opacity []uint8
	walk := f.chunks("png", func(c chunk) bool {
		switch c.kind {
		case "IHDR":
			head.ihdr, err = f.bytes(c.at, min(c.n, 13))
		case "PLTE", "tRNS":
			var data []uint8
			data, err = f.bytes(c.at, min(c.n, 768))
			head.rest = appendChunk(head.rest, c.kind, data)
			if c.kind == "PLTE" {
				palette = data
			} else {
				opacity = data
			}
		case "fcTL":
			var d []uint8
			if d, err = f.peek(c.at, 26); err == nil {
				u := func(i int) int { return int(binary.BigEndian.Uint32(d[i:])) }
				frames = append(frames, apngFrame{rect: rect{u(12), u(16), u(4), u(8)}, dispose: d[24], over: d[25] == 1})
			}
		case "IDAT":
			if len(frames) == 0 {
				frames = append(frames, apngFrame{rect: rect{0, 0, b.width, b.height}})
			}
			if n := len(frames); n == 1 {
				frames[0].data = append(frames[0].data, c)
			}
		case "fdAT":
			if n := len(frames); n > 0 && c.n >= 4 {
				frames[n-1].data = append(frames[n-1].data, chunk{kind: c.kind, at: c.at + 4, n: c.n - 4})
			}
		}
		return err == nil
	})
	if err = errors.Join(err, walk); err == nil && len(head.ihdr) < 13 {
		err = errNoHeader
	}
	if err == nil && head.ihdr[9] == 3 && len(palette) >= 3 {
		head.background = pixel{palette[0], palette[1], palette[2], 255}
		if len(opacity) > 0 {
			head.background[3] = opacity[0]
		}
	}
	return head, frames, err
}

// reader returns a PNG of one frame.
func (h apngHead) reader(f *file, frame apngFrame) io.Reader {
	ihdr := bytes.Clone(h.ihdr)
	binary.BigEndian.PutUint32(ihdr, uint32(frame.width))
	binary.BigEndian.PutUint32(ihdr[4:], uint32(frame.height))
	readers := []io.Reader{bytes.NewReader(append(appendChunk([]byte(pngMagic), "IHDR", ihdr), h.rest...))}
	const piece = 64 << 10
	for _, c := range frame.data {
		for c.n > 0 {
			n := min(c.n, piece)
			readers = append(readers, &dataReader{f: f, at: c.at, n: n})
			c.at, c.n = c.at+n, c.n-n
		}
	}
	return io.MultiReader(append(readers, bytes.NewReader(appendChunk(nil, "IEND", nil)))...)
}

// A dataReader reads a part of a file as a chunk of a PNG's data.
type dataReader struct {
	f     *file
	at, n int64
	chunk *bytes.Reader
}

func (d *dataReader) Read(p []byte) (int, error) {
	if d.chunk == nil {
		data, err := d.f.bytes(d.at, d.n)
		if err != nil {
			return 0, err
		}
		d.chunk = bytes.NewReader(appendChunk(nil, "IDAT", data))
	}
	n, err := d.chunk.Read(p)
	if err == io.EOF {
		d.chunk = bytes.NewReader(nil)
	}
	return n, err
}
