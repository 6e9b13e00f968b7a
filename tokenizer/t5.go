package tokenizer

import (
	_ "embed"
	"math"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// t5Model is the vocabulary of T5 (Apache-2.0 licence) as a sentencepiece model.
// testdata/golden/vocabularies.py writes it.
//
//go:embed t5_model.bin.gz
var t5Model []byte

// T5End is the token that ends a prompt; 0 fills it up.
const T5End int32 = 1

// T5 is the tokenizer of T5 as the tokenizer.json that Google published has it,
// which normalizes otherwise than sentencepiece. It is safe for concurrent use.
type T5 struct {
	charsmap charsmap
	special  *trie
	unigram  unigram
}

// NewT5 returns the tokenizer. The vocabulary is read once for all callers.
var NewT5 = sync.OnceValue(func() *T5 {
	m, err := parseModel(unzip(t5Model))
	if err != nil {
		panic(err) // the embedded file is part of the program
	}
	t := &T5{unigram: unigram{scores: make([]float64, len(m.Pieces)), penalty: math.Inf(1)}}
	if t.charsmap, err = parseCharsmap(m.Charsmap); err != nil {
		panic(err)
	}
	pieces, special := map[string]int32{}, map[string]int32{}
	for i, p := range m.Pieces {
		pieces[p.Text] = int32(i)
		t.unigram.scores[i] = float64(p.Score)
		t.unigram.penalty = min(t.unigram.penalty, float64(p.Score)-unknownPenalty)
		switch p.Kind {
		case Unknown:
			t.unigram.unknown = int32(i)
			special[p.Text] = int32(i)
		case Control:
			special[p.Text] = int32(i)
		}
	}
	t.unigram.pieces, t.special = newTrie(pieces), newTrie(special)
	return t
})

// unknownPenalty is how much less than the least score of a piece that of an
// unknown character is.
const unknownPenalty = 10

// space is the character that stands for a space in pieces.
const space = "▁"

// Encode returns the tokens of a text, without the one that ends it. What is not
// valid UTF-8 becomes U+FFFD.
func (t *T5) Encode(text string) (out []int32) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	first := true
	for part, id := range t.special.cut(text) {
		if id != none {
			out = append(out, id)
		} else {
			out = t.words(out, t.normalize(part), first)
		}
		first = false
	}
	return out
}

// words appends the tokens of a part of the text. The first one begins with a
// space. Neighbouring characters that are unknown are one token.
func (t *T5) words(out []int32, text string, first bool) []int32 {
	text = strings.ReplaceAll(text, " ", space)
	if first && text != "" && !strings.HasPrefix(text, space) {
		text = space + text
	}
	for len(text) > 0 {
		end := len(text)
		_, size := utf8.DecodeRuneInString(text)
		if i := strings.Index(text[size:], space); i >= 0 {
			end = size + i
		}
		unknown := false
		for _, p := range t.unigram.encode(text[:end]) {
			if p.token != t.unigram.unknown || !unknown {
				out = append(out, p.token)
			}
			unknown = p.token == t.unigram.unknown
		}
		text = text[end:]
	}
	return out
}

// maxCluster is the length in bytes from which on a grapheme cluster is replaced
// character by character.
const maxCluster = 6

// normalize returns a text with characters replaced, no space at the end, and one
// space for several.
func (t *T5) normalize(text string) string {
	var b strings.Builder
	for state := -1; len(text) > 0; {
		var cluster string
		cluster, text, _, state = uniseg.FirstGraphemeClusterInString(text, state)
		if len(cluster) < maxCluster {
			if n, replacement := t.charsmap.prefix(cluster, false); n > 0 {
				b.WriteString(replacement) // of the whole cluster
				continue
			}
		}
		for _, r := range cluster {
			if n, replacement := t.charsmap.prefix(string(r), false); n > 0 {
				b.WriteString(replacement)
			} else {
				b.WriteRune(r)
			}
		}
	}
	text = strings.TrimRightFunc(b.String(), unicode.IsSpace)
	return joinSpaces(text)
}

// joinSpaces returns a text with one ▁ for two or more spaces.
func joinSpaces(text string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, "  ")
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		b.WriteString(space)
		text = strings.TrimLeft(text[i:], " ")
	}
}
