package pipeline

import (
	"fmt"
	"slices"

	"github.com/weir-run/weir/tokenizer"
)

// words are what the network reads of the chunks of a prompt.
type words struct {
	tokens, ends []int32
	seen         []bool    // which tokens are not masked
	embedded     bool      // the prompt has vectors of embeddings, and
	known        []float32 // 1 for each token, 0 for each vector
	vectors      []float32 // [tokens, Features], 0 for each token
}

// fits reports whether a token is a vector that the encoder reads.
func (e *encoder) fits(t tokenizer.Token) bool { return len(t.Vector) == e.Features() }

// read appends a chunk. A vector that does not fit is left out: what follows
// moves to the front and a pad comes at the end, as in ComfyUI. The chunk's end
// is at as many tokens as there are up to the first end token, and vectors.
func (e *encoder) read(in *words, chunk []tokenizer.Token) error {
	begin := len(in.tokens)
	m := e.masking()
	end, ended := begin-1, false
	for _, t := range chunk {
		switch {
		case e.fits(t):
			end++
		case t.Vector != nil:
			continue
		case int(t.ID) >= e.Vocabulary():
			return fmt.Errorf("%s: the text encoder's vocabulary has %d tokens, the prompt has token %d", e.name, e.Vocabulary(), t.ID)
		case !ended:
			end++
			ended = t.ID == tokenizer.CLIPEnd
		}
		e.add(in, t, m.next(t))
	}
	for len(in.tokens) < begin+len(chunk) {
		e.add(in, tokenizer.Token{ID: e.slot.Prompt.Pad}, !e.slot.Prompt.Masked)
	}
	in.ends = append(in.ends, int32(end))
	return nil
}

// A masking says token by token which ones are seen.
type masking struct {
	pad, end        int32
	ends            bool // the prompt has an end that is seen
	off, left, over bool
	begun           bool
}

func (e *encoder) masking() masking {
	p := e.slot.Prompt
	m := masking{pad: p.Pad, end: p.Pad, off: !p.Masked}
	if len(p.End) > 0 {
		m.end, m.ends = p.End[0], true
	}
	return m
}

// next reports whether the next token is seen: pads at the beginning are not, nor
// is what follows the first end, as in ComfyUI. Without an end the first pad is
// one, which is not seen itself. Vectors are seen.
func (m *masking) next(t tokenizer.Token) bool {
	if m.off || t.Vector != nil {
		return true
	}
	if !m.begun {
		m.begun, m.left = true, t.ID == m.pad
	}
	if m.over || m.left && t.ID == m.pad {
		return false
	}
	m.left = false
	if t.ID == m.end {
		m.over = true
		return m.ends
	}
	return true
}

// add appends a token or a vector.
func (e *encoder) add(in *words, t tokenizer.Token, seen bool) {
	in.tokens, in.seen = append(in.tokens, t.ID), append(in.seen, seen)
	switch {
	case !in.embedded:
	case t.Vector != nil:
		in.known, in.vectors = append(in.known, 0), append(in.vectors, t.Vector...)
	default:
		in.known, in.vectors = append(in.known, 1), append(in.vectors, make([]float32, e.Features())...)
	}
}

// masked reports whether a token is not seen.
func (in *words) masked() bool { return slices.Contains(in.seen, false) }

// cut leaves out what no chunk, of so many tokens, sees at its end, and returns
// the new length.
func (in *words) cut(length, features int) int {
	end := 1
	for i, seen := range in.seen {
		if seen {
			end = max(end, i%length+1)
		}
	}
	in.tokens, in.seen = shortened(in.tokens, length, end), shortened(in.seen, length, end)
	if in.embedded {
		in.known, in.vectors = shortened(in.known, length, end), shortened(in.vectors, length*features, end*features)
	}
	return end
}

// shortened returns the first values of each run.
func shortened[T any](values []T, run, n int) (out []T) {
	for run := range slices.Chunk(values, run) {
		out = append(out, run[:n]...)
	}
	return out
}

// zeroed returns the states of chunks whose ends were cut off, with zeros for what
// is not seen.
func (in *words) zeroed(hidden []float32, from, to, width int) []float32 {
	out := make([]float32, len(hidden)/from*to)
	for i, seen := range in.seen {
		if seen {
			copy(out[(i/from*to+i%from)*width:][:width], hidden[i*width:])
		}
	}
	return out
}
