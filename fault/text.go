package fault

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// maxName is how many bytes of a name errors show.
const maxName = 200

// Name returns a name that a file chose as errors show it: cut where it is long,
// and quoted where it is empty or has spaces, quotes or what is no graphic
// character.
func Name(name string) string {
	dots := ""
	if len(name) > maxName {
		name, dots = strings.ToValidUTF8(name[:maxName], ""), "..."
	}
	if quoted := strconv.Quote(name); name == "" || strings.ContainsFunc(name, unicode.IsSpace) || quoted != `"`+name+`"` {
		return quoted + dots
	}
	return name + dots
}

// Control reports whether a character may change a terminal, or the order in
// which the characters around it are shown.
func Control(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// List joins the first of some texts, at most limit, and counts the rest.
func List(texts []string, limit int) string {
	if len(texts) <= limit {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %s more", strings.Join(texts[:limit], ", "), Count(len(texts)-limit))
}

// Count writes a number with commas between its thousands.
func Count(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Cut returns a text of at most limit bytes, and dots for the rest.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// Line returns a text of about limit bytes at most as a terminal shows it: control
// characters but tabs, and what is no UTF-8, are written out.
func Line(text string, limit int) string {
	text = Cut(text, limit)
	written := func(r rune) bool { return r != '\t' && (Control(r) || r == unicode.ReplacementChar) }
	if !strings.ContainsFunc(text, written) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		if b.Len() > limit {
			fmt.Fprintf(&b, "… and %d bytes", len(text)-i)
			break
		}
		if written(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
