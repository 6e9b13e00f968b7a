package main

import (
	"bytes"
	"fmt"
	"html"
)

// Colours that can be told apart on white, in grey too.
const (
	ink      = "#1f2328"
	muted    = "#57606a"
	faint    = "#d0d7de"
	device   = "#2f6fbf" // kept on the device
	host     = "#63a375" // kept in the host's memory
	streamed = "#e8973a"
	work     = "#b9a7d6" // activations
	mark     = "#0b8a94" // water marks
)

// A canvas is an SVG picture on white, which is legible on any page.
type canvas struct {
	width, height int
	body          bytes.Buffer
}

func newCanvas(width, height int) *canvas { return &canvas{width: width, height: height} }

// svg returns the whole file.
func (c *canvas) svg() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="14">
<defs>
<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="%s"/></marker>
<pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V8" stroke="%s" stroke-width="3"/></pattern>
</defs>
<rect width="%d" height="%d" rx="8" fill="white"/>
`, c.width, c.height, c.width, c.height, ink, faint, c.width, c.height)
	out.Write(c.body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// rect draws a rectangle with an outline of the colour of the paper.
func (c *canvas) rect(x, y, w, h float64, fill string) {
	fmt.Fprintf(&c.body, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" fill="%s" stroke="white"/>`+"\n", x, y, w, h, fill)
}

// frame draws an outline.
func (c *canvas) frame(x, y, w, h float64) {
	fmt.Fprintf(&c.body, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="4" fill="none" stroke="%s" stroke-width="2"/>`+"\n", x, y, w, h, ink)
}

// line draws a line; attributes are SVG's, such as a marker at its end.
func (c *canvas) line(x1, y1, x2, y2 float64, colour, attributes string) {
	fmt.Fprintf(&c.body, `<path d="M%.1f %.1fL%.1f %.1f" fill="none" stroke="%s" %s/>`+"\n", x1, y1, x2, y2, colour, attributes)
}

const (
	arrow  = `stroke-width="2" marker-end="url(#tip)"`
	dashed = `stroke-dasharray="6 4"`
)

// curve draws a line through points.
func (c *canvas) curve(points [][2]float64, colour, attributes string) {
	fmt.Fprintf(&c.body, `<polyline points="`)
	for _, p := range points {
		fmt.Fprintf(&c.body, "%.1f,%.1f ", p[0], p[1])
	}
	fmt.Fprintf(&c.body, `" fill="none" stroke="%s" stroke-width="3" stroke-linejoin="round" %s/>`+"\n", colour, attributes)
}

// text writes a line of text whose anchor is start, middle or end.
func (c *canvas) text(x, y float64, anchor, colour, text string) {
	fmt.Fprintf(&c.body, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, colour, html.EscapeString(text))
}

// title writes a line of bold text.
func (c *canvas) title(x, y float64, anchor, text string) {
	fmt.Fprintf(&c.body, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" font-size="16" font-weight="bold">%s</text>`+"\n", x, y, anchor, ink, html.EscapeString(text))
}
