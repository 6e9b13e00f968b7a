package media

import (
	"compress/lzw"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A gifFrame is one picture of a GIF: where it is on the screen and in the file.
type gifFrame struct {
	x, y, width, height int
	palette             []uint8 // red, green, blue; nil for greys
	transparent         int     // an index, or -1
	disposal            int     // what becomes of it: 2 clears it, 3 restores what was there
	interlaced          bool
	data                int64 // the place of its codes
}

// A gifScreen is what all pictures of a GIF are drawn on.
type gifScreen struct {
	width, height int
	palette       []uint8
	background    uint8
}

// gif passes the frames of a GIF to each until it returns false. The screen
// grows with the first frame, as in Pillow.
func (f *file) gif(each func(*gifScreen, gifFrame) bool) error {
	head, err := f.peek(0, 13)
	if err != nil {
		return err
	}
	s := &gifScreen{width: int(binary.LittleEndian.Uint16(head[6:])), height: int(binary.LittleEndian.Uint16(head[8:]))}
	flags := head[10]
	if flags&0x80 != 0 {
		s.background = head[11]
	}
	if s.palette, err = f.gifPalette(13, flags); err != nil {
		return err
	}
	at := 13 + paletteSize(flags)
	frame := gifFrame{transparent: -1}
	for {
		b, err := f.peek(at, 1)
		if err != nil || b[0] == ';' {
			return f.ctx.Err()
		}
		at++
		switch b[0] {
		case '!':
			at = f.gifExtension(at, &frame)
		case ',':
			head, err := f.peek(at, 9)
			if err != nil {
				return f.ctx.Err()
			}
			frame.x, frame.y = int(binary.LittleEndian.Uint16(head)), int(binary.LittleEndian.Uint16(head[2:]))
			frame.width, frame.height = int(binary.LittleEndian.Uint16(head[4:])), int(binary.LittleEndian.Uint16(head[6:]))
			flags := head[8]
			frame.interlaced, frame.palette = flags&0x40 != 0, s.palette
			at += 9
			if flags&0x80 != 0 {
				if frame.palette, err = f.gifPalette(at, flags); err != nil {
					return f.ctx.Err()
				}
			}
			frame.data = at + paletteSize(flags)
			if !each(s, frame) {
				return nil
			}
			at = f.skipBlocks(frame.data + 1)
			frame.transparent = -1 // the disposal stays
		}
	}
}

// paletteSize returns the bytes of the palette that flags announce.
func paletteSize(flags byte) int64 {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

// gifPalette returns a palette, or nil for none and for one whose indices are
// greys.
func (f *file) gifPalette(at int64, flags byte) ([]uint8, error) {
	palette, err := f.bytes(at, paletteSize(flags))
	for i := range len(palette) / 3 {
		if c := palette[3*i:]; int(c[0]) != i || int(c[1]) != i || int(c[2]) != i {
			return palette, err
		}
	}
	return nil, err
}

// gifExtension reads what is said of the next frame and returns the place
// behind.
func (f *file) gifExtension(at int64, frame *gifFrame) int64 {
	if b, err := f.peek(at, 6); err == nil && b[0] == 0xf9 && b[1] >= 4 {
		if b[2]&1 != 0 {
			frame.transparent = int(b[5])
		}
		if d := int(b[2] >> 2 & 7); d != 0 {
			frame.disposal = d
		}
	}
	return f.skipBlocks(at + 1)
}

// skipBlocks returns the place behind blocks, of which the last is empty.
func (f *file) skipBlocks(at int64) int64 {
	for {
		n, err := f.peek(at, 1)
		if err != nil {
			return f.size
		}
		at += 1 + int64(n[0])
		if n[0] == 0 {
			return at
		}
	}
}

// measureGIF counts the frames of the size of the first.
func (f *file) measureGIF(info *Info) error {
	info.perPixel = 4 + 4 + 1 // the screen, what is restored, and indices
	info.Frames = 0
	err := f.gif(func(s *gifScreen, frame gifFrame) bool {
		right, bottom := frame.x+frame.width, frame.y+frame.height
		if info.Frames == 0 {
			info.Width, info.Height = max(s.width, right), max(s.height, bottom)
			info.opacity = frame.transparent >= 0 && frame.palette != nil
		} else if right > info.Width || bottom > info.Height {
			return false // the screen is larger from here on, and ComfyUI leaves out the rest
		}
		info.Frames++
		return true
	})
	if err == nil && info.Frames == 0 {
		err = errors.New("there is no picture in the file")
	}
	return err
}

// gifFrames composes frames as Pillow does.
func (f *file) gifFrames(b *batch) error {
	c := newCanvas(b.width, b.height)
	var indices []uint8
	var undo func() // what becomes of the frame before
	var failed error
	err := f.gif(func(s *gifScreen, frame gifFrame) bool {
		first := b.n == 0
		if undo != nil {
			undo()
		}
		colour := func(index int) pixel {
			if i := 3 * index; i+3 <= len(frame.palette) {
				return pixel{frame.palette[i], frame.palette[i+1], frame.palette[i+2], 255}
			}
			return pixel{uint8(index), uint8(index), uint8(index), 255}
		}
		clear := colour(int(s.background))
		if frame.transparent >= 0 {
			clear = colour(frame.transparent)
			clear[3] = 0
		}
		r := rect{frame.x, frame.y, frame.width, frame.height}
		undo = nil
		switch {
		case frame.disposal == 2, frame.disposal == 3 && first && frame.transparent >= 0:
			undo = func() { c.fill(r, clear) }
		case frame.disposal == 3 && !first:
			undo = c.restore(r)
		}
		if first {
			outside := clear
			if frame.transparent < 0 {
				outside = colour(0)
			}
			c.fill(c.all(), outside)
		}
		if indices, failed = f.gifIndices(frame, indices); failed != nil {
			return false
		}
		var palette [256]pixel
		for i := range palette {
			palette[i] = colour(i)
		}
		for y := range frame.height {
			if failed = f.ctx.Err(); failed != nil {
				return false
			}
			for x, i := range indices[y*frame.width:][:frame.width] {
				switch {
				case int(i) != frame.transparent:
					*c.at(frame.x+x, frame.y+y) = palette[i]
				case first:
					*c.at(frame.x+x, frame.y+y) = clear
				}
			}
		}
		failed = b.add(f.ctx, c.width, c.height, c.row)
		return failed == nil && !b.full()
	})
	return errors.Join(failed, err)
}

// gifIndices returns the indices of a frame in rows from above, in buffer if it
// is large enough.
func (f *file) gifIndices(frame gifFrame, buffer []uint8) ([]uint8, error) {
	n := frame.width * frame.height
	if cap(buffer) < n {
		buffer = make([]uint8, n)
	}
	buffer = buffer[:n]
	width, err := f.peek(frame.data, 1)
	if err != nil {
		return nil, err
	}
	if width[0] < 2 || width[0] > 8 {
		return nil, fmt.Errorf("codes of %d bits: expected 2 to 8", width[0])
	}
	r := lzw.NewReader(&gifBlocks{f: f, at: frame.data + 1}, lzw.LSB, int(width[0]))
	defer r.Close()
	passes := [][2]int{{0, 1}}
	if frame.interlaced {
		passes = [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	for _, pass := range passes {
		for y := pass[0]; y < frame.height; y += pass[1] {
			if _, err := io.ReadFull(r, buffer[y*frame.width:][:frame.width]); err != nil {
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					err = errCut
				}
				return nil, err
			}
		}
	}
	return buffer, nil
}

// gifBlocks reads what is in blocks, of which the last is empty.
type gifBlocks struct {
	f    *file
	at   int64
	left int
}

func (g *gifBlocks) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := g.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

func (g *gifBlocks) ReadByte() (byte, error) {
	if g.left == 0 {
		n, err := g.f.peek(g.at, 1)
		if err != nil {
			return 0, err
		}
		if n[0] == 0 {
			return 0, io.EOF
		}
		g.left = int(n[0])
		g.at++
	}
	b, err := g.f.peek(g.at, 1)
	if err != nil {
		return 0, err
	}
	g.left--
	g.at++
	return b[0], nil
}
