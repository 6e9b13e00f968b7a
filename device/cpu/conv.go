package cpu

import "fmt"

// rows returns which of all rows of a weight are given, as the attributes say
// and its number of rows confirms.
func (c *call) rows(given, all int) (from, to int, err error) {
	from, to = c.attrs.RowFrom, c.attrs.RowTo
	if to == 0 {
		from, to = 0, all
	}
	if from < 0 || from >= to || to > all || to-from != given {
		return 0, 0, fmt.Errorf("the weight %s has %d rows, expected the rows %d to %d of %d", c.in[1].name, given, from, to, all)
	}
	return from, to, nil
}

// conv is a product of the weight, a row a channel of the output, with the
// patches of the input, a column a place of the output.
func (d *Device) conv(c *call) error {
	p, err := newPatches(c)
	if err != nil {
		return err
	}
	weight := &c.in[1]
	batches, channels := c.out.shape[0], c.out.shape[1]
	from, to, err := c.rows(weight.shape[0], channels)
	if err != nil {
		return err
	}
	groups := c.attrs.Groups
	perGroup := channels / groups // channels of the output
	places, depth := volume(p.out), p.channels*volume(p.window)
	rows := plain(weight, depth, 1)
	var columns packer = p
	if p.pointwise() {
		m := plain(p.view, 1, places)
		columns = &m
	}
	image := groups * p.channels * volume(p.in)

	g := d.newGrid(perGroup, places, batches*groups)
	return d.pool.run(batches*groups*g.all, func(w *worker, i int) error {
		batch, group := i/g.all/groups, i/g.all%groups
		t := g.tile(i % g.all)
		// The tile's channels of the output, of which only some may be given.
		first, end := max(group*perGroup+t.m0, from), min(group*perGroup+t.m0+t.m, to)
		if first >= end {
			return nil
		}
		t.m0, t.m = first-from, end-first
		t.baseB = batch*image + group*p.channels*volume(p.in)
		if err := w.multiply(&rows, columns, t, depth); err != nil {
			return err
		}
		for row := range t.m {
			c.store(w, w.c[row*blockN:][:t.n], (batch*channels+first+row)*places+t.n0)
		}
		return nil
	})
}

// patches are the windows of a convolution's input as columns of a matrix: an
// element a channel and place in the window. Sizes have three dimensions, the
// first of which are 1 for fewer.
type patches struct {
	*view
	channels                    int // of the input, in a group
	in, out, window             [3]int
	stride, dilation, padBefore [3]int
}

// newPatches checks the operands of a convolution.
func newPatches(c *call) (*patches, error) {
	if err := c.layouts(2); err != nil {
		return nil, err
	}
	x, weight, a := &c.in[0], &c.in[1], &c.attrs
	dims := len(x.shape) - 2
	if dims < 1 || dims > 3 || len(weight.shape) != dims+2 || len(c.out.shape) != dims+2 || a.Groups < 1 ||
		x.shape[0] != c.out.shape[0] || x.shape[1] != weight.shape[1]*a.Groups || c.out.shape[1]%a.Groups != 0 ||
		len(a.Stride) != dims || len(a.Dilation) != dims || len(a.PadBefore) != dims || len(a.PadAfter) != dims {
		return nil, c.shapes(2)
	}
	p := &patches{view: x, channels: weight.shape[1]}
	for i := range 3 {
		p.in[i], p.out[i], p.window[i], p.stride[i], p.dilation[i] = 1, 1, 1, 1, 1
	}
	for i := range dims {
		at := 3 - dims + i
		p.in[at], p.out[at], p.window[at] = x.shape[2+i], c.out.shape[2+i], weight.shape[2+i]
		p.stride[at], p.dilation[at], p.padBefore[at] = a.Stride[i], a.Dilation[i], a.PadBefore[i]
		padded := p.in[at] + a.PadBefore[i] + a.PadAfter[i]
		reach := (p.window[at]-1)*a.Dilation[i] + 1
		if a.Stride[i] < 1 || a.Dilation[i] < 1 || a.PadBefore[i] < 0 || a.PadAfter[i] < 0 || padded < reach ||
			(padded-reach)/a.Stride[i]+1 != p.out[at] {
			return nil, c.shapes(2)
		}
	}
	return p, nil
}

func volume(size [3]int) int { return size[0] * size[1] * size[2] }

// pointwise reports whether the columns are the input itself.
func (p *patches) pointwise() bool {
	return volume(p.window) == 1 && p.in == p.out && p.stride == [3]int{1, 1, 1}
}

func (p *patches) pack(w *worker, dst []float32, base, from, n, k0, k, r int) {
	line := w.lines[0][:roundUp(n, r)]
	clear(line[n:])
	for i := range k {
		element := k0 + i
		x := element % p.window[2]
		y := element / p.window[2] % p.window[1]
		z := element / (p.window[2] * p.window[1]) % p.window[0]
		channel := element / volume(p.window)
		p.read(line[:n], base+channel*volume(p.in), from, [3]int{z, y, x})
		to := dst[i*r:]
		for at := 0; at < len(line); at += r {
			copy(to[:r], line[at:][:r])
			if at+r < len(line) {
				to = to[k*r:]
			}
		}
	}
}

// read reads what the windows of the places from.. of the output have at one
// place in the window.
func (p *patches) read(line []float32, channel, from int, at [3]int) {
	oz, oy, ox := from/(p.out[1]*p.out[2]), from/p.out[2]%p.out[1], from%p.out[2]
	// The places of a row of the output whose window lies in the input here.
	shift := at[2]*p.dilation[2] - p.padBefore[2]
	low := min(max(ceilDiv(max(-shift, 0), p.stride[2]), 0), p.out[2])
	high := p.in[2] - 1 - shift
	if high < 0 {
		high = 0
	} else {
		high = min(high/p.stride[2]+1, p.out[2])
	}
	high = max(high, low)
	for len(line) > 0 {
		n := min(len(line), p.out[2]-ox)
		z, y := oz*p.stride[0]-p.padBefore[0]+at[0]*p.dilation[0], oy*p.stride[1]-p.padBefore[1]+at[1]*p.dilation[1]
		if z < 0 || z >= p.in[0] || y < 0 || y >= p.in[1] {
			clear(line[:n])
		} else {
			l, h := min(max(low, ox), ox+n), max(min(high, ox+n), ox)
			h = max(h, l)
			clear(line[:l-ox])
			if h > l {
				p.view.read(line[l-ox:h-ox], channel+(z*p.in[1]+y)*p.in[2]+l*p.stride[2]+shift, p.stride[2])
			}
			clear(line[h-ox : n])
		}
		line, ox = line[n:], 0
		if oy++; oy == p.out[1] {
			oy, oz = 0, oz+1
		}
	}
}
