package cpu

import (
	"math"

	"github.com/weir-run/weir/ir"
)

// statRows is how many rows a task of a norm or softmax takes at once.
const statRows = 16

// moments are sums over elements: double precision makes the variance exact
// to float32 even where the mean is large.
type moments struct {
	sum, squares float64
}

func (m *moments) add(x []float32) {
	var s0, s1, q0, q1 float64
	for len(x) >= 2 {
		a, b := float64(x[0]), float64(x[1])
		s0 += a
		s1 += b
		q0 += a * a
		q1 += b * b
		x = x[2:]
	}
	if len(x) > 0 {
		a := float64(x[0])
		s0 += a
		q0 += a * a
	}
	m.sum += s0 + s1
	m.squares += q0 + q1
}

// normal returns what is subtracted from n elements and what they are then
// multiplied with to have mean 0 and variance 1.
func (m *moments) normal(n int, epsilon float32) (mean, factor float32) {
	mu := m.sum / float64(n)
	variance := max(m.squares/float64(n)-mu*mu, 0)
	return float32(mu), float32(1 / math.Sqrt(variance+float64(epsilon)))
}

// rowNorm is LayerNorm and RMSNorm.
func (d *Device) rowNorm(c *call) error {
	operands := 1
	if c.attrs.HasWeight {
		operands++
	}
	if c.attrs.HasBias && c.kind == ir.LayerNorm {
		operands++
	}
	if err := c.layouts(operands); err != nil {
		return err
	}
	x := &c.in[0]
	rank := len(x.shape)
	if rank == 0 || !x.is(c.out.shape...) {
		return c.shapes(operands)
	}
	n := x.shape[rank-1]
	var weight, bias *view
	for i := 1; i < operands; i++ {
		if !c.in[i].is(n) {
			return c.shapes(operands)
		}
		if i == 1 && c.attrs.HasWeight {
			weight = &c.in[i]
		} else {
			bias = &c.in[i]
		}
	}
	m := newMatrix(x)
	rows := c.out.elems() / n
	return d.pool.run(ceilDiv(rows, statRows), func(w *worker, i int) error {
		first, end := i*statRows, min((i+1)*statRows, rows)
		for row := first; row < end; row++ {
			s := moments{}
			off := m.rows.locate(row, &m.strides)
			for at := 0; at < n; at += lineLen {
				s.add(x.slice(w.lines[0][:], off+at, 1, min(lineLen, n-at)))
			}
			w.stats[row-first] = s
		}
		for at := 0; at < n; at += lineLen {
			length := min(lineLen, n-at)
			var scales, shifts []float32
			if weight != nil {
				scales = weight.slice(w.lines[1][:], at, 1, length)
			}
			if bias != nil {
				shifts = bias.slice(w.lines[2][:], at, 1, length)
			}
			for row := first; row < end; row++ {
				var mean, factor float32
				if s := w.stats[row-first]; c.kind == ir.LayerNorm {
					mean, factor = s.normal(n, c.attrs.Epsilon)
				} else {
					factor = float32(1 / math.Sqrt(s.squares/float64(n)+float64(c.attrs.Epsilon)))
				}
				y := w.lines[3][:length]
				x.read(y, m.rows.locate(row, &m.strides)+at, 1)
				normalize(y, mean, factor, scales, shifts)
				c.store(w, y, row*n+at)
			}
		}
		return nil
	})
}

func normalize(y []float32, mean, factor float32, scales, shifts []float32) {
	for i, v := range y {
		y[i] = (v - mean) * factor
	}
	if scales != nil {
		applyBinary(ir.Mul, y, scales)
	}
	if shifts != nil {
		applyBinary(ir.Add, y, shifts)
	}
}

// groupSegment is the number of elements that a task of groupNorm takes. It
// does not depend on the number of threads, so neither do the sums.
const groupSegment = 16 * lineLen

// groupNorm sums segments of the groups, then normalizes them, so that it can
// be its own output.
func (d *Device) groupNorm(c *call) error {
	operands := 1
	if c.attrs.HasWeight {
		operands++
	}
	if c.attrs.HasBias {
		operands++
	}
	if err := c.layouts(operands); err != nil {
		return err
	}
	x, groups := &c.in[0], c.attrs.Groups
	if len(x.shape) < 2 || !x.is(c.out.shape...) || groups < 1 || x.shape[1]%groups != 0 {
		return c.shapes(operands)
	}
	channels := x.shape[1]
	var weight, bias *view
	for i := 1; i < operands; i++ {
		if !c.in[i].is(channels) {
			return c.shapes(operands)
		}
		if i == 1 && c.attrs.HasWeight {
			weight = &c.in[i]
		} else {
			bias = &c.in[i]
		}
	}
	all := x.shape[0] * groups
	n := c.out.elems() / all // elements of a group
	places := n / (channels / groups)
	segments := ceilDiv(n, groupSegment)
	if cap(d.sums) < all*segments {
		d.sums = make([]moments, all*segments)
	}
	sums := d.sums[:all*segments]
	err := d.pool.run(all*segments, func(w *worker, i int) error {
		from := i % segments * groupSegment
		length := min(groupSegment, n-from)
		sums[i] = moments{}
		for at := 0; at < length; at += lineLen {
			sums[i].add(x.slice(w.lines[0][:], i/segments*n+from+at, 1, min(lineLen, length-at)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.pool.run(all*segments, func(w *worker, i int) error {
		group := i / segments
		var s moments
		for _, part := range sums[group*segments:][:segments] {
			s.sum += part.sum
			s.squares += part.squares
		}
		mean, factor := s.normal(n, c.attrs.Epsilon)
		from := i % segments * groupSegment
		for at, end := from, min(from+groupSegment, n); at < end; {
			// Up to the end of a channel.
			length := min(lineLen, end-at, places-at%places)
			channel := group%groups*(channels/groups) + at/places
			multiplier, shift := factor, float32(0)
			if weight != nil {
				multiplier *= weight.at(channel)
			}
			if bias != nil {
				shift = bias.at(channel)
			}
			y := w.lines[0][:length]
			for j, v := range x.slice(w.lines[1][:], group*n+at, 1, length) {
				y[j] = (v-mean)*multiplier + shift
			}
			c.store(w, y, group*n+at)
			at += length
		}
		return nil
	})
}

// softmax reads each row three times, for its maximum, its sum and its
// results, so that it can be its own output.
func (d *Device) softmax(c *call) error {
	if err := c.layouts(1); err != nil {
		return err
	}
	x := &c.in[0]
	rank := len(x.shape)
	if rank == 0 || !x.is(c.out.shape...) {
		return c.shapes(1)
	}
	n := x.shape[rank-1]
	m := newMatrix(x)
	rows := c.out.elems() / n
	return d.pool.run(ceilDiv(rows, statRows), func(w *worker, i int) error {
		for row := i * statRows; row < min((i+1)*statRows, rows); row++ {
			off := m.rows.locate(row, &m.strides)
			peak := float32(math.Inf(-1))
			for at := 0; at < n; at += lineLen {
				peak = max(peak, maximum(x.slice(w.lines[0][:], off+at, 1, min(lineLen, n-at))))
			}
			total := 0.0
			y := w.lines[0][:]
			for at := 0; at < n; at += lineLen {
				y = y[:min(lineLen, n-at)]
				x.read(y, off+at, 1)
				total += float64(exponentials(y, peak))
			}
			y = w.lines[0][:]
			for at := 0; at < n; at += lineLen {
				y = y[:min(lineLen, n-at)]
				x.read(y, off+at, 1)
				exponentials(y, peak)
				scale(y, float32(1/total))
				c.store(w, y, row*n+at)
			}
		}
		return nil
	})
}
