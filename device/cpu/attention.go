package cpu

import (
	"fmt"
	"math"
)

// maxSum is the number of elements of attention's running sum: a block of
// queries times the features of a value.
const maxSum = blockM * 512

// heads is attention's view of its operands: offsets of a batch and a head.
type heads struct {
	q, k, v    matrix // rows are positions, elements features
	mask       strides
	masked     *view // nil for none
	scale      float32
	causal     bool
	keys       int
	depth      int // features of queries and keys
	valueDepth int // and of values
}

// attention computes each block of queries against blocks of keys, in order,
// keeping a running maximum and sum as in "Online normalizer calculation for
// softmax" (Milakov and Gimelshein, 2018), so that the scores of all keys
// never exist at once.
func (d *Device) attention(c *call) error {
	if err := c.layouts(3); err != nil {
		return err
	}
	q, k, v, a := &c.in[0], &c.in[1], &c.in[2], &c.attrs
	if len(q.shape) != 3 || len(k.shape) != 3 || len(v.shape) != 3 || len(c.out.shape) != 3 ||
		a.Heads < 1 || a.KVHeads < 1 || a.Heads%a.KVHeads != 0 ||
		q.shape[2]%a.Heads != 0 || k.shape[2]%a.KVHeads != 0 || v.shape[2]%a.KVHeads != 0 {
		return c.shapes(3)
	}
	batches, queries := q.shape[0], q.shape[1]
	h := heads{
		q: plain(q, q.strides[1], q.strides[2]), k: plain(k, k.strides[1], k.strides[2]), v: plain(v, v.strides[2], v.strides[1]),
		scale: a.Scale, causal: a.Causal, keys: k.shape[1], depth: q.shape[2] / a.Heads, valueDepth: v.shape[2] / a.KVHeads,
	}
	if k.shape[2] != h.depth*a.KVHeads || k.shape[0] != batches || v.shape[0] != batches || v.shape[1] != h.keys ||
		!c.out.is(batches, queries, h.valueDepth*a.Heads) {
		return c.shapes(3)
	}
	if a.HasMask {
		if err := c.needs(4); err != nil {
			return err
		}
		var ok bool
		h.masked = &c.in[3]
		if h.mask, ok = broadcast(h.masked, []int{batches, a.Heads, queries, h.keys}); !ok {
			return fmt.Errorf("the mask %v cannot be broadcast to %v", h.masked.shape, []int{batches, a.Heads, queries, h.keys})
		}
	}
	block := min(blockM, maxSum/roundUp(h.valueDepth, kernel.columns)/kernel.rows*kernel.rows, roundUp(queries, kernel.rows))
	if block == 0 {
		return fmt.Errorf("a head has %d features of values, expected at most %d", h.valueDepth, maxSum/kernel.rows)
	}
	if queries <= 4*block && block >= 32 {
		block = roundUp(block/4, kernel.rows) // short sequences: enough blocks for many threads
	}

	blocks := ceilDiv(queries, block)
	return d.pool.run(batches*a.Heads*blocks, func(w *worker, i int) error {
		batch, head, first := i/blocks/a.Heads, i/blocks%a.Heads, i%blocks*block
		group := head * a.KVHeads / a.Heads
		n := min(block, queries-first)
		err := h.attend(w, span{
			q:     batch*q.strides[0] + head*h.depth*q.strides[2],
			k:     batch*k.strides[0] + group*h.depth*k.strides[2],
			v:     batch*v.strides[0] + group*h.valueDepth*v.strides[2],
			mask:  batch*h.mask[0] + head*h.mask[1],
			first: first, n: n,
		})
		if err != nil {
			return err
		}
		ld := roundUp(h.valueDepth, kernel.columns)
		for row := range n {
			values := w.sum[row*ld:][:h.valueDepth]
			if w.total[row] > 0 { // not when every key was masked
				scale(values, 1/w.total[row])
			}
			c.store(w, values, ((batch*queries+first+row)*a.Heads+head)*h.valueDepth)
		}
		return nil
	})
}

// A span is a block of queries of one head, with the offsets at which the
// operands begin.
type span struct {
	q, k, v, mask int
	first, n      int
}

// attend leaves in w.sum the sums of the values, each multiplied by the
// exponential of its score, and in w.total the sums of the exponentials.
func (h *heads) attend(w *worker, s span) error {
	ld := roundUp(h.valueDepth, kernel.columns)
	clear(w.sum[:roundUp(s.n, kernel.rows)*ld])
	clear(w.total[:])
	fill(w.peak[:], float32(math.Inf(-1)))

	end := h.keys
	if h.causal {
		end = min(end, s.first+s.n)
	}
	scores := packed{w.c[:]}
	for key := 0; key < end; key += blockN {
		n := min(blockN, end-key)
		err := w.multiply(&h.q, &h.k, tile{baseA: s.q, baseB: s.k, m0: s.first, m: s.n, n0: key, n: n}, h.depth)
		if err != nil {
			return err
		}
		for row := range s.n {
			x := w.c[row*blockN:][:n]
			scale(x, h.scale)
			query := s.first + row
			if h.masked != nil {
				addMask(x, h.masked, w.line[:], s.mask+query*h.mask[2]+key*h.mask[3], h.mask[3])
			}
			if h.causal && query < key+n-1 {
				fill(x[max(query+1-key, 0):], float32(math.Inf(-1)))
			}
			h.weigh(w, row, x, w.sum[row*ld:][:h.valueDepth])
		}
		scores.pack(w, w.a[:], s.n, n, kernel.rows)
		for j := 0; j < h.valueDepth; j += blockN {
			m := min(blockN, h.valueDepth-j)
			h.v.pack(w, w.b[:], s.v, j, m, key, n, kernel.columns)
			multiplyPanels(w.a[:], w.b[:], w.sum[j:], ld, s.n, m, n)
		}
	}
	return nil
}

// weigh replaces the scores of a row by their exponentials, relative to the
// largest score so far, and scales what was summed before to match.
func (h *heads) weigh(w *worker, row int, scores, sum []float32) {
	peak := max(w.peak[row], kernel.maximum(scores))
	if math.IsInf(float64(peak), -1) {
		clear(scores) // all masked
		return
	}
	if peak != w.peak[row] {
		shrink := exp(w.peak[row] - peak)
		w.total[row] *= shrink
		scale(sum, shrink)
		w.peak[row] = peak
	}
	w.total[row] += kernel.exponentials(scores, peak)
}

// exponentials replaces each x by exp(x - peak) and returns their sum.
func exponentials(x []float32, peak float32) float32 {
	var s0, s1 float32
	for len(x) >= 2 {
		e0, e1 := exp(x[0]-peak), exp(x[1]-peak)
		x[0], x[1] = e0, e1
		s0 += e0
		s1 += e1
		x = x[2:]
	}
	if len(x) > 0 {
		x[0] = exp(x[0] - peak)
		s0 += x[0]
	}
	return s0 + s1
}

// packed packs a tile of a result as the rows of the next product.
type packed struct{ c []float32 }

func (p packed) pack(_ *worker, dst []float32, n, k, r int) {
	for from := 0; from < n; from += r {
		panel := dst[from*k:][:k*r]
		if n-from < r {
			clear(panel)
		}
		for i := range min(r, n-from) {
			row := p.c[(from+i)*blockN:][:k]
			for j, at := 0, i; j < len(row) && at < len(panel); j, at = j+1, at+r {
				panel[at] = row[j]
			}
		}
	}
}

func addMask(x []float32, v *view, line []float32, off, stride int) {
	y := v.slice(line, off, stride, len(x))
	for i := range x {
		x[i] += y[i]
	}
}

func scale(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}

func maximum(x []float32) float32 {
	m := x[0]
	for _, v := range x[1:] {
		m = max(m, v)
	}
	return m
}
