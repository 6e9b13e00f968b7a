package fault

import (
	"fmt"
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"a.b-c_0.weight":          "a.b-c_0.weight",
		"größe":                   "größe",
		"":                        `""`,
		"two words":               `"two words"`,
		"\x1b[31mred":             `"\x1b[31mred"`,
		"a\xff":                   `"a\xff"`,
		"line\nline":              `"line\nline"`,
		"\u202eright to left":     `"\u202eright to left"`,
		strings.Repeat("x", 1000): strings.Repeat("x", 200) + "...",
		strings.Repeat("ä", 1000): strings.Repeat("ä", 100) + "...",
	} {
		if got := Name(name); got != want {
			t.Errorf("%q is shown as %s, want %s", name, got, want)
		}
	}
}

func TestList(t *testing.T) {
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprint(i))
	}
	for want, texts := range map[string][]string{
		"":                       nil,
		"0, 1, 2":                many[:3],
		"0, 1, 2 and 1 more":     many[:4],
		"0, 1, 2 and 1,997 more": many,
	} {
		if got := List(texts, 3); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := Count(1234567); got != "1,234,567" {
		t.Errorf("got %s", got)
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"größe\tand more":             "größe\tand more",
		"\x1b[2J\u202e\u009b\a":       `\x1b[2J\u202e\u009b\a`,
		"two\nlines\r":                `two\nlines\r`,
		"a\xff":                       "a\ufffd",
		strings.Repeat("x", 31):       strings.Repeat("x", 30) + "…",
		strings.Repeat("ä", 31):       strings.Repeat("ä", 15) + "…",
		strings.Repeat("\x1b", 31):    strings.Repeat(`\x1b`, 8) + "… and 25 bytes",
		strings.Repeat("x", 29) + "ä": strings.Repeat("x", 29) + "…",
	} {
		if got := Line(text, 30); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
