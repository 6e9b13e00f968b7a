package tokenizer

import (
	_ "embed"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// The special tokens of CLIP's vocabulary.
const (
	CLIPStart int32 = 49406
	CLIPEnd   int32 = 49407
)

// clipMerges is the list of byte pair merges that OpenAI published with CLIP
// (MIT licence), one a line after a header, more than are used.
//
//go:embed clip_merges.txt.gz
var clipMerges []byte

// clipMergeCount is how many merges are used: the vocabulary of 49,408 less
// 256 bytes, 256 bytes that end a word, and 2 special tokens.
const clipMergeCount = 49408 - 2*256 - 2

// CLIP is the lower-cased byte pair encoding of OpenAI's CLIP, which Stable
// Diffusion's text encoders share. It is safe for concurrent use.
type CLIP struct {
	bytes  [256]int32 // the token of each byte within a word
	merges merges
	cache  wordCache
}

// NewCLIP returns the tokenizer. The vocabulary is read once for all callers.
var NewCLIP = sync.OnceValue(func() *CLIP {
	lines := strings.Split(string(unzip(clipMerges)), "\n")[1 : 1+clipMergeCount]
	c := &CLIP{merges: make(merges, clipMergeCount)}
	ids := make(map[string]int32, 49408)
	add := func(token string) { ids[token] = int32(len(ids)) }
	for _, end := range []string{"", endOfWord} {
		for _, b := range byteOrder() {
			add(string(byteRunes[b]) + end)
		}
	}
	for b, r := range byteRunes {
		c.bytes[b] = ids[string(r)]
	}
	for rank, line := range lines {
		left, right, _ := strings.Cut(strings.TrimSpace(line), " ")
		add(left + right)
		c.merges[[2]int32{ids[left], ids[right]}] = merged{int32(rank), ids[left+right]}
	}
	return c
})

// endOfWord marks the tokens that end a word.
const endOfWord = "</w>"

// clipWords cuts text into special tokens, contractions, words, single digits
// and runs of other characters.
var clipWords = regexp.MustCompile(`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+`)

// Encode returns the tokens of a text, without start and end.
func (c *CLIP) Encode(text string) []int32 {
	text = strings.Join(strings.FieldsFunc(composed(text), unicode.IsSpace), " ")
	// İ is the only letter whose lower case is two characters.
	text = strings.ToLower(strings.ReplaceAll(text, "İ", "i\u0307"))
	var out []int32
	for _, word := range clipWords.FindAllString(text, -1) {
		switch word {
		case "<|startoftext|>":
			out = append(out, CLIPStart)
		case "<|endoftext|>":
			out = append(out, CLIPEnd)
		default:
			out = append(out, c.word(word)...)
		}
	}
	return out
}

// word encodes one word. Its time is n log n in the length of the word.
func (c *CLIP) word(word string) []int32 {
	return c.cache.of(word, func() []int32 {
		ids := make([]int32, len(word))
		for i := range len(word) {
			ids[i] = c.bytes[word[i]]
		}
		ids[len(ids)-1] += 256 // the same byte at the end of a word
		return merge(ids, c.merges.rule, true).list()
	})
}
