// Package pytext does with texts what Python's str and re do: nodes of workflows
// are told in their terms. Places and lengths count code points.
package pytext

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// Upper returns a text in capital letters; some become several.
func Upper(s string) string { return cases.Upper(language.Und).String(s) }

// Lower returns a text in small letters.
func Lower(s string) string { return cases.Lower(language.Und).String(s) }

// Capitalize returns a text in small letters but the first, which is a capital.
func Capitalize(s string) string {
	for i, r := range s {
		n := i + len(string(r))
		return title(r) + strings.TrimPrefix(Lower(s), Lower(s[:n]))
	}
	return ""
}

// Title returns a text whose letters are small but those that follow no letter.
func Title(s string) string {
	var out strings.Builder
	lower := Lower(s) // where the end of a word counts
	inWord := false
	for _, r := range s {
		small := Lower(string(r))
		if rest, ok := strings.CutPrefix(lower, small); ok {
			lower = rest
		} else { // a final sigma
			small = lower[:len(small)]
			lower = lower[len(small):]
		}
		if inWord {
			out.WriteString(small)
		} else {
			out.WriteString(title(r))
		}
		inWord = cased(r)
	}
	return out.String()
}

// title returns a letter as the first of a word.
func title(r rune) string {
	return cases.Title(language.Und, cases.NoLower).String(string(r))
}

// cased reports whether a character has a case.
func cased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) || unicode.Is(unicode.Other_Uppercase, r) || unicode.Is(unicode.Other_Lowercase, r)
}

// space reports whether Python takes a character for white space.
func space(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// Strip returns a text without white space at its ends.
func Strip(s string) string { return StripLeft(StripRight(s)) }

// StripLeft returns a text without white space at its beginning.
func StripLeft(s string) string { return strings.TrimLeftFunc(s, space) }

// StripRight returns a text without white space at its end.
func StripRight(s string) string { return strings.TrimRightFunc(s, space) }

// Slice returns what lies from one place to before another. Negative ones count
// from the end.
func Slice(s string, from, to int) string {
	r := []rune(s)
	at := func(i int) int {
		if i < 0 {
			i += len(r)
		}
		return min(max(i, 0), len(r))
	}
	from, to = at(from), at(to)
	return string(r[from:max(from, to)])
}
