package tokenizer

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// contractions are what an apostrophe makes a word of in English.
var contractions = []string{"s", "t", "re", "ve", "m", "ll", "d"}

// splitWords yields the words that byte pairs are joined in. It is the pattern
// of Llama 3, which Qwen shares but for the number of digits in a word:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}
//	| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func splitWords(text string, digits int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			n := wordLength(text, digits)
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

// wordLength returns the length in bytes of the word that a text begins with.
func wordLength(text string, digits int) int {
	first, size := utf8.DecodeRuneInString(text)
	if n := contraction(text); n > 0 {
		return n
	}
	if unicode.IsLetter(first) {
		return size + span(text[size:], unicode.IsLetter)
	}
	if first != '\r' && first != '\n' && !unicode.IsNumber(first) {
		if n := span(text[size:], unicode.IsLetter); n > 0 {
			return size + n
		}
	}
	if unicode.IsNumber(first) {
		return numberLength(text, digits)
	}
	begin := len(text) - len(strings.TrimPrefix(text, " "))
	if n := span(text[begin:], isOther); n > 0 {
		n += begin
		return n + span(text[n:], isLineEnd)
	}
	return spaceLength(text)
}

// contraction returns the length of the contraction that a text begins with.
func contraction(text string) int {
	rest, ok := strings.CutPrefix(text, "'")
	if !ok {
		return 0
	}
	for _, c := range contractions {
		// The letter ſ is an s without regard to case, and longer.
		end := 0
		for range c {
			_, size := utf8.DecodeRuneInString(rest[end:])
			end += size
		}
		if strings.EqualFold(rest[:end], c) {
			return 1 + end
		}
	}
	return 0
}

// numberLength returns the length of a run of digits, at most so many.
func numberLength(text string, digits int) int {
	n := 0
	for range digits {
		r, size := utf8.DecodeRuneInString(text[n:])
		if size == 0 || !unicode.IsNumber(r) {
			break
		}
		n += size
	}
	return n
}

// spaceLength returns the length of a word of spaces: up to the last end of a
// line among them, or all but one that a word follows.
func spaceLength(text string) int {
	n := span(text, unicode.IsSpace)
	if i := strings.LastIndexAny(text[:n], "\r\n"); i >= 0 {
		return i + 1
	}
	_, first := utf8.DecodeRuneInString(text)
	_, last := utf8.DecodeLastRuneInString(text[:n])
	if n < len(text) && n > first {
		return n - last
	}
	return n
}

// span returns the length of the run of characters that are of a kind.
func span(text string, kind func(rune) bool) int {
	if i := strings.IndexFunc(text, func(r rune) bool { return !kind(r) }); i >= 0 {
		return i
	}
	return len(text)
}

func isOther(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r)
}

func isLineEnd(r rune) bool { return r == '\r' || r == '\n' }
