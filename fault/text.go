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
