// Package tokenizer turns prompts into the tokens that text encoders read.
package tokenizer

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"golang.org/x/text/unicode/norm"
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
	bytes  [256]int32             // the token of each byte within a word
	merges map[[2]int32]mergeRule // by the pair that is joined
	cache  sync.Map               // word -> []int32
	cached atomic.Int32           // how many words, about
}

// NewCLIP returns the tokenizer. The vocabulary is read once for all callers.
var NewCLIP = sync.OnceValue(func() *CLIP {
	r, err := gzip.NewReader(bytes.NewReader(clipMerges))
	if err != nil {
		panic(err) // the embedded file is part of the program
	}
	text, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	lines := strings.Split(string(text), "\n")[1 : 1+clipMergeCount]
	c := &CLIP{merges: make(map[[2]int32]mergeRule, clipMergeCount)}
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
		c.merges[[2]int32{ids[left], ids[right]}] = mergeRule{int32(rank), ids[left+right]}
	}
	return c
})

// endOfWord marks the tokens that end a word.
const endOfWord = "</w>"

// byteRunes gives each byte a printable rune: itself where it is printable in
// Latin-1, otherwise one from 256 on. It is GPT-2's table.
var byteRunes = func() (table [256]rune) {
	next := rune(256)
	for b := range 256 {
		if printable(b) {
			table[b] = rune(b)
		} else {
			table[b] = next
			next++
		}
	}
	return table
}()

func printable(b int) bool {
	return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE && b <= 0xFF
}

// byteOrder returns the bytes in the order of the vocabulary: the printable
// ones first.
func byteOrder() []byte {
	var first, rest []byte
	for b := range 256 {
		if printable(b) {
			first = append(first, byte(b))
		} else {
			rest = append(rest, byte(b))
		}
	}
	return append(first, rest...)
}

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

// composed returns the text in NFC. Package norm breaks up more than 30 marks on
// a letter by a joiner, as streams need it; that joiner is taken out again.
func composed(text string) string {
	const joiner = "\u034f"
	nfc := norm.NFC.String(text)
	if strings.Contains(text, joiner) {
		return nfc
	}
	return strings.ReplaceAll(nfc, joiner, "")
}

// The words that are remembered: how long in bytes and how many.
const (
	maxCached   = 64
	maxCachedOf = 1 << 14
)

// word encodes one word. Its time is n log n in the length of the word.
func (c *CLIP) word(word string) []int32 {
	if ids, ok := c.cache.Load(word); ok {
		return ids.([]int32)
	}
	ids := make([]int32, len(word))
	for i := range len(word) {
		ids[i] = c.bytes[word[i]]
	}
	ids[len(ids)-1] += 256 // the same byte at the end of a word
	ids = c.merge(ids)
	if len(word) <= maxCached && c.cached.Load() < maxCachedOf {
		c.cached.Add(1)
		c.cache.Store(word, ids)
	}
	return ids
}
