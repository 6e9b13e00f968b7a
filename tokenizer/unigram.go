package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// A unigram cuts a text into the pieces whose scores have the largest sum (Kudo,
// 2018).
type unigram struct {
	pieces  *trie // whose values are tokens
	scores  []float64
	unknown int32   // the token of a character that is no piece
	penalty float64 // its score
	// single has sums rounded to float32, as sentencepiece has them.
	single bool
}

// A part is a token and the bytes that it stands for.
type part struct {
	token      int32
	begin, end int
}

// encode returns the best path through a text. It is sentencepiece's optimized
// algorithm: of equal sums, the one found first is kept. The time is linear in
// the length of the text.
func (u *unigram) encode(text string) []part {
	type node struct {
		score float64
		begin int32 // or -1
		token int32
	}
	ends := make([]node, len(text)+1) // the best paths by where they end
	for i := range ends {
		ends[i].begin = -1
	}
	reach := func(begin, end int, token int32, score float64) {
		score = u.round(score)
		if n := &ends[end]; n.begin < 0 || score > n.score {
			*n = node{score, int32(begin), token}
		}
	}
	for begin := 0; begin < len(text); {
		_, size := utf8.DecodeRuneInString(text[begin:])
		here, known := ends[begin].score, false
		for n, token := range u.pieces.prefixes(text[begin:]) {
			reach(begin, begin+n, token, u.scores[token]+here)
			known = known || n == size
		}
		if !known {
			reach(begin, begin+size, u.unknown, u.penalty+here)
		}
		begin += size
	}
	var out []part
	for end := len(text); end > 0; {
		n := ends[end]
		out = append(out, part{n.token, int(n.begin), end})
		end = int(n.begin)
	}
	slices.Reverse(out)
	return out
}

func (u *unigram) round(score float64) float64 {
	if u.single {
		return float64(float32(score))
	}
	return score
}
