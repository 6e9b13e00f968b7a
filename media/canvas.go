package media

// A pixel is red, green, blue and opacity; colours are not scaled by opacity.
type pixel [4]uint8

// A rect is a part of a canvas.
type rect struct{ x, y, width, height int }

// A canvas is what the frames of an animation are drawn on.
type canvas struct {
	width, height int
	pixels        []pixel
}

// newCanvas returns a canvas of zeros.
func newCanvas(width, height int) *canvas {
	return &canvas{width, height, make([]pixel, width*height)}
}

func (c *canvas) at(x, y int) *pixel { return &c.pixels[y*c.width+x] }

// row writes a row of pixels.
func (c *canvas) row(y int, dst []uint8) {
	for x, p := range c.pixels[y*c.width:][:c.width] {
		copy(dst[4*x:4*x+4], p[:])
	}
}

// part returns a row of a part, which lies on the canvas.
func (c *canvas) part(r rect, y int) []pixel { return c.pixels[(r.y+y)*c.width+r.x:][:r.width] }

// fill paints a part.
func (c *canvas) fill(r rect, p pixel) {
	for y := range r.height {
		row := c.part(r, y)
		for x := range row {
			row[x] = p
		}
	}
}

// copy takes a part of another canvas of the size.
func (c *canvas) copy(from *canvas, r rect) {
	for y := range r.height {
		copy(c.part(r, y), from.part(r, y))
	}
}

// all is the whole canvas.
func (c *canvas) all() rect { return rect{0, 0, c.width, c.height} }

// restore returns what brings a part back as it is now.
func (c *canvas) restore(r rect) func() {
	saved := make([]pixel, 0, r.width*r.height)
	for y := range r.height {
		saved = append(saved, c.part(r, y)...)
	}
	return func() {
		for y := range r.height {
			copy(c.part(r, y), saved[y*r.width:])
		}
	}
}

// contains reports whether a part lies on the canvas.
func (c *canvas) contains(r rect) bool {
	return r.x >= 0 && r.y >= 0 && r.width >= 0 && r.height >= 0 && r.x+r.width <= c.width && r.y+r.height <= c.height
}
