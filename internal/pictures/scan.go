package main

import (
	"fmt"
	"slices"
)

// leastRecentlyUsed returns how many of n extents, used one after another
// again and again, are found in a memory for so many, in a pass that is like
// the one before it.
func leastRecentlyUsed(n, room int) (hits int) {
	var memory []int // least recently used first
	for range 3 {
		hits = 0
		for i := range n {
			if k := slices.Index(memory, i); k >= 0 {
				hits++
				memory = slices.Delete(memory, k, k+1)
			} else if len(memory) == room {
				memory = memory[1:]
			}
			memory = append(memory, i)
		}
	}
	return hits
}

// scan draws what of a model is found in memory in each pass, as the memory
// grows.
func scan() (*canvas, error) {
	const extents = 40
	c := newCanvas(900, 470)
	const left, right, top, bottom = 90.0, 650.0, 70.0, 400.0
	at := func(room, hits float64) [2]float64 {
		return [2]float64{left + (right-left)*room/(1.1*extents), bottom - (bottom-top)*hits/extents}
	}
	var fixed, lru [][2]float64
	for room := 1; room <= extents+extents/10; room++ {
		d, err := decide(extents, room, 100)
		if err != nil {
			return nil, err
		}
		fixed = append(fixed, at(float64(room), float64(d.device)))
		lru = append(lru, at(float64(room), float64(leastRecentlyUsed(extents, room))))
	}
	c.title(20, 32, "start", "Weights that a pass finds in memory and need not be moved")
	for i := range 5 {
		p := at(0, float64(i)*extents/4)
		c.line(left, p[1], right, p[1], faint, "")
		c.text(left-10, p[1]+5, "end", muted, fmt.Sprintf("%d %%", 25*i))
		p = at(float64(i)*extents/4, 0)
		c.line(p[0], bottom, p[0], bottom+6, ink, "")
		c.text(p[0], bottom+24, "middle", muted, fmt.Sprintf("%d %%", 25*i))
	}
	c.line(left, bottom, right, bottom, ink, "")
	c.text((left+right)/2, bottom+52, "middle", ink, "memory for weights, of the model's size")
	bound := [][2]float64{at(0, 0), at(extents, extents), at(1.1*extents, extents)}
	c.curve(bound, muted, dashed)
	c.curve(fixed, device, "")
	c.curve(lru, streamed, "")
	for i, l := range []struct{ colour, first, second string }{
		{muted, "the bound:", "no policy finds more"},
		{device, "Weir: a fixed part,", "less room for streaming"},
		{streamed, "least recently used:", "nothing, until all fits"},
	} {
		y := top + 40 + float64(i)*90
		c.line(right+20, y-5, right+44, y-5, l.colour, `stroke-width="4"`)
		c.text(right+54, y, "start", ink, l.first)
		c.text(right+54, y+20, "start", ink, l.second)
	}
	return c, nil
}
