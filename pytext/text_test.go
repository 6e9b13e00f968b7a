package pytext

import (
	"strings"
	"testing"
)

// Python's results; those of whole nodes are compared in package node.
func TestTexts(t *testing.T) {
	for _, c := range [][2]string{
		{Title("o'NEIL ΑΣ"), "O'Neil Ας"}, {Capitalize("ŉA ΑΣ"), "ʼNa ας"}, {Upper("ß"), "SS"}, {Strip("\x1f a\u2003"), "a"},
		{Slice("日本語", -2, 9), "本語"}, {Slice("abc", 2, 1), ""},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, c := range [][3]string{{`(?P<a>.)(?P=a)`, "abba", `\g<a>`}, {`[[^]\Z{,3}`, "x", `\1`}, {`(?<=a)(b)|c`, "abc", `\\\0\101`}} {
		f.Add(c[0], c[1], c[2])
	}
	f.Fuzz(func(t *testing.T, pattern, text, with string) {
		p, err := Compile(pattern, Flags{})
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		replace, err := p.Replacement(with)
		if err != nil {
			return
		}
		n := 0
		err = p.Find(t.Context(), []rune(text), func(m Match) (bool, error) {
			if m.From > m.To || m.To > len([]rune(text)) {
				t.Errorf("%q in %q: %v", pattern, text, m)
			}
			replace(m)
			n++
			return n < 100, nil
		})
		if err != nil && !strings.Contains(err.Error(), "given up") {
			t.Errorf("%q in %q: %v", pattern, text, err)
		}
	})
}
