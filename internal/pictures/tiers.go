package main

import "fmt"

// tiers draws disk, host's memory and device, with what the pager keeps of a
// model of 24 extents in each.
func tiers() (*canvas, error) {
	const extents, vram, ram = 24, 10, 11
	d, err := decide(extents, vram, ram)
	if err != nil {
		return nil, err
	}
	c := newCanvas(900, 480)
	const (
		left, middle, right = 30.0, 340.0, 650.0
		width, top, bottom  = 220.0, 70.0, 390.0
		cell                = width / 4
		row                 = 44.0
	)
	cells := func(x, bottom float64, n int, fill string) (y float64) {
		for i := range n {
			y = bottom - float64(i/4+1)*row
			c.rect(x+float64(i%4)*cell, y, cell, row, fill)
		}
		return y
	}
	draw := func(x, y float64, text string) {
		c.line(x-14, y, x+width+14, y, mark, `stroke-width="3"`)
		c.text(x+width/2, 418, "middle", ink, text)
	}

	c.title(left+width/2, 30, "middle", "disk: the river")
	c.text(left+width/2, 52, "middle", muted, "the model where it was saved")
	cells(left, bottom-28, extents, faint)
	c.text(left+width/2, 418, "middle", ink, fmt.Sprintf("%d extents", extents))
	c.frame(left, top, width, bottom-top)

	c.title(middle+width/2, 30, "middle", "RAM: a pool")
	c.text(middle+width/2, 52, "middle", muted, "pages of the mapped file")
	kept := cells(middle, bottom, d.host, host)
	y := cells(middle, kept, ram-d.host, streamed)
	c.rect(middle, top, width, y-top, "url(#hatch)")
	c.text(middle+width/2, (top+y)/2-4, "middle", ink, "other programs,")
	c.text(middle+width/2, (top+y)/2+16, "middle", ink, "and headroom for them")
	c.frame(middle, top, width, bottom-top)
	draw(middle, kept, fmt.Sprintf("%d stay below the water mark", d.host))

	c.title(right+width/2, 30, "middle", "VRAM: a pool")
	c.text(right+width/2, 52, "middle", muted, "copies that kernels read")
	kept = cells(right, bottom, d.device, device)
	y = cells(right, kept, vram-d.device, streamed)
	c.rect(right, top, width, y-top, work)
	c.text(right+width/2, (top+y)/2-4, "middle", ink, "activations:")
	c.text(right+width/2, (top+y)/2+16, "middle", ink, "they come first")
	c.frame(right, top, width, bottom-top)
	draw(right, kept, fmt.Sprintf("%d stay below the water mark", d.device))

	const flow = 200.0
	for _, a := range []struct {
		from, to float64
		n        int
		verb     string
	}{{left + width, middle, extents - d.device - d.host, "read"}, {middle + width, right, extents - d.device, "uploaded"}} {
		c.line(a.from+8, flow, a.to-8, flow, ink, arrow)
		c.title((a.from+a.to)/2, flow-12, "middle", fmt.Sprint(a.n))
		c.text((a.from+a.to)/2, flow+24, "middle", ink, a.verb)
		c.text((a.from+a.to)/2, flow+44, "middle", muted, "in a pass")
	}
	x := left
	for _, l := range []struct{ fill, text string }{
		{device, "stays on the device"}, {host, "stays in RAM"}, {streamed, "passes through"},
	} {
		c.rect(x, 447, 24, 16, l.fill)
		c.text(x+32, 460, "start", ink, l.text)
		x += 210
	}
	return c, nil
}
