package main

import "fmt"

// A span is something that takes place between two times, for an extent.
type span struct {
	from, to float64
	extent   int
}

// simulate runs a cyclic scan of extents, each of which is worked with for
// one unit of time. Those that are streamed are transferred in the order of
// use, each in so many units, as far ahead as room for so many allows. It
// returns what the link and the processor do in a pass that is like the one
// before it, whose time begins at 0, and how long it takes.
func simulate(streamed []bool, room int, transfer float64) (link, uses []span, period float64) {
	const passes = 12
	var released []float64 // when the room of each transfer was given back
	var begins [passes]float64
	idle, now := 0.0, 0.0 // from when the link and the processor have nothing to do
	for pass := range passes {
		begins[pass] = now
		for i, s := range streamed {
			if s {
				from := idle
				if n := len(released); n >= room {
					from = max(from, released[n-room])
				}
				idle = from + transfer
				link = append(link, span{from, idle, i})
				now = max(now, idle)
			}
			uses = append(uses, span{now, now + 1, i})
			now++
			if s {
				released = append(released, now)
			}
		}
	}
	from, to := begins[passes-2], begins[passes-1]
	within := func(all []span) (out []span) {
		for _, s := range all {
			if s.to > from && s.from < to {
				out = append(out, span{max(s.from, from) - from, min(s.to, to) - from, s.extent})
			}
		}
		return out
	}
	return within(link), within(uses), to - from
}

// timeline draws what the link and the processor do in a step, for three ways
// to choose what stays in a memory for 11 of 16 extents.
func timeline() (*canvas, error) {
	const extents, vram, transfer = 16, 11, 1.9
	d, err := decide(extents, vram, 100)
	if err != nil {
		return nil, err
	}
	spread, prefix, all := make([]bool, extents), make([]bool, extents), make([]bool, extents)
	for i := range extents {
		spread[i] = !d.keeps[i]
		prefix[i] = i >= d.device
		all[i] = true
	}
	c := newCanvas(900, 560)
	const left, unit = 130.0, 23.0
	c.title(20, 32, "start", fmt.Sprintf("A step of %d layers, memory for %d; a transfer takes %.1f times as long as computing", extents, vram, transfer))
	for k, way := range []struct {
		name     string
		streamed []bool
		room     int
	}{
		{fmt.Sprintf("Spread evenly (what the pager does): %d stay, the streamed ones lie between them", d.device), spread, vram - d.device},
		{fmt.Sprintf("A fixed prefix: the first %d stay, the link has nothing to do while they compute", d.device), prefix, vram - d.device},
		{"Least recently used: each layer has been evicted before it is used again", all, vram},
	} {
		y := 66 + float64(k)*150
		link, uses, period := simulate(way.streamed, way.room, transfer)
		c.text(20, y+4, "start", ink, way.name)
		c.text(left-12, y+40, "end", muted, "computing")
		c.text(left-12, y+76, "end", muted, "link")
		c.rect(left, y+18, period*unit, 32, "url(#hatch)")
		c.rect(left, y+54, period*unit, 32, "url(#hatch)")
		for _, s := range uses {
			fill := device
			if way.streamed[s.extent] {
				fill = streamed
			}
			c.rect(left+s.from*unit, y+18, (s.to-s.from)*unit, 32, fill)
		}
		for _, s := range link {
			c.rect(left+s.from*unit, y+54, (s.to-s.from)*unit, 32, streamed)
		}
		c.line(left+period*unit, y+14, left+period*unit, y+90, ink, `stroke-width="2"`)
		c.text(left+period*unit, y+108, "middle", ink, fmt.Sprintf("step: %.1f", period))
	}
	legend := 535.0
	x := 20.0
	for _, l := range []struct{ fill, text string }{
		{device, "a layer that stays"}, {streamed, "a layer that is streamed"}, {"url(#hatch)", "nothing to do"},
	} {
		c.rect(x, legend-13, 24, 16, l.fill)
		c.text(x+32, legend, "start", ink, l.text)
		x += 225
	}
	c.text(880, legend, "end", muted, "time of a layer = 1")
	return c, nil
}
