package tokenizer

import (
	"math"
	"unicode/utf8"
)

// pairs cuts a normalized text into pieces: of all neighbours that are a piece
// together, those with the highest score are joined first.
func (s *SentencePiece) pairs(text string) []part {
	var begins []int   // of each symbol, and the end
	var tokens []int32 // none is known before it is joined
	frozen := []bool{} // symbols that are never joined
	for at := 0; at < len(text); {
		n, _ := s.frozen.longest(text[at:])
		frozen = append(frozen, n > 0)
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text[at:])
		}
		begins, tokens = append(begins, at), append(tokens, none)
		at += n
	}
	begins = append(begins, len(text))
	halves := map[string]int{} // of pieces that are unused: the length of the left one
	joined := merge(tokens, func(_ *symbols, at, mid, end int32) (int64, int32, bool) {
		if frozen[at] || frozen[mid] {
			return 0, 0, false
		}
		piece := text[begins[at]:begins[end]]
		id, ok := s.ids[piece]
		if !ok {
			return 0, 0, false
		}
		if s.model.Pieces[id].Kind == Unused {
			halves[piece] = begins[mid] - begins[at]
		}
		return descending(s.model.Pieces[id].Score), id, true
	}, false)
	var out []part
	for i := 0; i < len(joined.next); i = int(joined.next[i]) {
		out = s.split(out, text, halves, begins[i], begins[joined.next[i]])
	}
	return out
}

// descending returns a number that is the less the higher a score is.
func descending(score float32) int64 {
	bits := math.Float32bits(0 - score) // without -0
	if bits>>31 != 0 {
		return int64(^bits)
	}
	return int64(bits | 1<<31)
}

// split appends a symbol, or the halves that it was made of if it is unused.
func (s *SentencePiece) split(out []part, text string, halves map[string]int, begin, end int) []part {
	piece := text[begin:end]
	id, ok := s.ids[piece]
	if !ok {
		return append(out, part{s.unknown, begin, end})
	}
	left, unused := halves[piece]
	if s.model.Pieces[id].Kind != Unused || !unused {
		return append(out, part{id, begin, end})
	}
	out = s.split(out, text, halves, begin, begin+left)
	return s.split(out, text, halves, begin+left, end)
}
