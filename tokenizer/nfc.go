package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// newMarks are the marks that Unicode has had since version 10. The library that
// ComfyUI's tokenizers are made with (tokenizers, in Rust) composes texts by
// Unicode 9: it moves and composes none of these.
var newMarks = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x07FD, 0x07FD, 1}, {0x0898, 0x089F, 1}, {0x08CA, 0x08D3, 1}, {0x09FE, 0x09FE, 1}, {0x0C3C, 0x0C3C, 1},
		{0x0D3B, 0x0D3C, 1}, {0x0EBA, 0x0EBA, 1}, {0x1715, 0x1715, 1}, {0x1ABF, 0x1ACE, 1}, {0x1DF6, 0x1DFA, 1},
		{0xA82C, 0xA82C, 1},
	},
	R32: []unicode.Range32{
		{0x10D24, 0x10D27, 1}, {0x10EAB, 0x10EAC, 1}, {0x10EFD, 0x10EFF, 1}, {0x10F46, 0x10F50, 1},
		{0x10F82, 0x10F85, 1}, {0x11070, 0x11070, 1}, {0x1133B, 0x1133B, 1}, {0x1145E, 0x1145E, 1},
		{0x11839, 0x1183A, 1}, {0x11930, 0x11930, 1}, {0x1193D, 0x1193E, 1}, {0x11943, 0x11943, 1},
		{0x119E0, 0x119E0, 1}, {0x11A34, 0x11A34, 1}, {0x11A47, 0x11A47, 1}, {0x11A99, 0x11A99, 1},
		{0x11D42, 0x11D42, 1}, {0x11D44, 0x11D45, 1}, {0x11D97, 0x11D97, 1}, {0x11F41, 0x11F42, 1},
		{0x16FF0, 0x16FF1, 1}, {0x1E08F, 0x1E08F, 1}, {0x1E130, 0x1E136, 1}, {0x1E2AE, 0x1E2AE, 1},
		{0x1E2EC, 0x1E2EF, 1}, {0x1E4EC, 0x1E4EF, 1},
	},
}

// composed returns a text in NFC, by Unicode 9.
func composed(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	var b strings.Builder
	for {
		i := strings.IndexFunc(text, func(r rune) bool { return unicode.Is(newMarks, r) })
		if i < 0 {
			b.WriteString(nfc(text))
			return b.String()
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		b.WriteString(nfc(text[:i]))
		b.WriteString(text[i : i+size])
		text = text[i+size:]
	}
}

// nfc returns a text in NFC. Package norm breaks up more than 30 marks on a letter
// by a joiner, as streams need it; that joiner is taken out again.
func nfc(text string) string {
	const joiner = "\u034f"
	out := norm.NFC.String(text)
	if strings.Contains(text, joiner) {
		return out
	}
	return strings.ReplaceAll(out, joiner, "")
}
