package tokenizer

import "strings"

// A BytePair is an encoding by pairs of bytes within words, with special tokens
// that are cut out of a text first. It is safe for concurrent use.
type BytePair struct {
	special  *trie // by their texts
	composed bool  // of texts in NFC
	digits   int   // as many are in a word at most
	bytes    [256]int32
	rule     func(word string) rule
	together bool // see merge
	cache    wordCache
}

// Encode returns the tokens of a text. What is not valid UTF-8 becomes U+FFFD.
func (b *BytePair) Encode(text string) (out []int32) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	for part, id := range b.special.cut(text) {
		if id != none {
			out = append(out, id)
			continue
		}
		if b.composed {
			part = composed(part)
		}
		for word := range splitWords(part, b.digits) {
			out = append(out, b.word(word)...)
		}
	}
	return out
}

// word encodes one word. Its time is n log n in the length of the word.
func (b *BytePair) word(word string) []int32 {
	return b.cache.of(word, func() []int32 {
		ids := make([]int32, len(word))
		for i := range len(word) {
			ids[i] = b.bytes[word[i]]
		}
		return merge(ids, b.rule(word), b.together).list()
	})
}
