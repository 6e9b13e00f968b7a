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
	ids   map[string]int32
	ranks map[[2]string]int
	cache sync.Map // word -> []int32
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
	c := &CLIP{ids: make(map[string]int32, 49408), ranks: make(map[[2]string]int, clipMergeCount)}
	add := func(token string) { c.ids[token] = int32(len(c.ids)) }
	for _, end := range []string{"", endOfWord} {
		for _, b := range byteOrder() {
			add(string(byteRunes[b]) + end)
		}
	}
	for rank, line := range lines {
		left, right, _ := strings.Cut(strings.TrimSpace(line), " ")
		c.ranks[[2]string{left, right}] = rank
		add(left + right)
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
	text = strings.Join(strings.FieldsFunc(norm.NFC.String(text), unicode.IsSpace), " ")
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

// maxCached is the length in bytes of the longest word that is remembered.
const maxCached = 64

// word encodes one word, by joining the pair with the lowest rank until none
// is left.
func (c *CLIP) word(word string) []int32 {
	if ids, ok := c.cache.Load(word); ok {
		return ids.([]int32)
	}
	parts := make([]string, len(word))
	for i := range len(word) {
		parts[i] = string(byteRunes[word[i]])
	}
	parts[len(parts)-1] += endOfWord
	for len(parts) > 1 {
		best, at := clipMergeCount, -1
		for i := range len(parts) - 1 {
			if rank, ok := c.ranks[[2]string{parts[i], parts[i+1]}]; ok && rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			break
		}
		parts = joinPair(parts, parts[at], parts[at+1])
	}
	ids := make([]int32, len(parts))
	for i, p := range parts {
		ids[i] = c.ids[p]
	}
	if len(word) <= maxCached {
		c.cache.Store(word, ids)
	}
	return ids
}

// joinPair joins every left that is followed by right.
func joinPair(parts []string, left, right string) []string {
	out := parts[:0]
	for i := 0; i < len(parts); i++ {
		if i+1 < len(parts) && parts[i] == left && parts[i+1] == right {
			out = append(out, left+right)
			i++
		} else {
			out = append(out, parts[i])
		}
	}
	return out
}
