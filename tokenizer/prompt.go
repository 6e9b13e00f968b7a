package tokenizer

import (
	"strings"

	"github.com/weir-run/weir/fault"
)

// A Segment is a piece of a prompt with one weight.
type Segment struct {
	Text   string
	Weight float64
}

// MaxPrompt is the length in bytes of the longest prompt that is read.
const MaxPrompt = 1 << 18

// maxNesting is how deep parentheses may be nested. ComfyUI fails at about the
// same depth.
const maxNesting = 1000

// ParseWeights cuts a prompt into segments by its parentheses: (text) weighs
// 1.1 times what is around it, (text:1.3) weighs 1.3, nested ones multiply or
// replace from the outside in, and \( and \) are plain characters. Its time is
// linear in the length of the prompt.
func ParseWeights(prompt string) ([]Segment, error) {
	if err := checkLength(prompt); err != nil {
		return nil, err
	}
	return parseWeights(prompt)
}

// checkLength refuses prompts that are too long.
func checkLength(prompt string) error {
	if len(prompt) > MaxPrompt {
		return fault.New(fault.Workflow, "the prompt has %d bytes, expected at most %d", len(prompt), MaxPrompt)
	}
	return nil
}

func parseWeights(prompt string) ([]Segment, error) {
	escaped := escape(prompt)
	w := weigher{text: escaped, closing: closings(escaped)}
	if err := w.prompt(); err != nil {
		return nil, err
	}
	for i := range w.segments {
		w.segments[i].Text = unescape(w.segments[i].Text)
	}
	return w.segments, nil
}

// escape makes control characters of escaped parentheses, unescape makes
// parentheses of them.
func escape(prompt string) string {
	return strings.NewReplacer(`\)`, "\x00\x01", `\(`, "\x00\x02").Replace(prompt)
}

func unescape(text string) string {
	return strings.NewReplacer("\x00\x01", ")", "\x00\x02", "(").Replace(text)
}

// closings returns the place of the parenthesis that closes each one, by the
// place of the one that opens, for those that are closed.
func closings(text string) map[int]int {
	at := map[int]int{}
	var open []int
	for i := range len(text) {
		switch {
		case text[i] == '(':
			open = append(open, i)
		case text[i] == ')' && len(open) > 0:
			at[open[len(open)-1]] = i
			open = open[:len(open)-1]
		}
	}
	return at
}

// A weigher cuts a text into segments.
type weigher struct {
	text     string
	closing  map[int]int
	segments []Segment
}

// prompt cuts the whole text. A parenthesis that closes none takes the meaning
// of the next one that opens, as in ComfyUI.
func (w *weigher) prompt() error {
	begin, level := 0, 0
	for i := range len(w.text) {
		switch w.text[i] {
		case '(':
			if level == 0 {
				w.add(begin, i, 1)
				begin = i
			}
			level++
		case ')':
			level--
			if level == 0 {
				if err := w.item(begin, i+1, 1, 0); err != nil {
					return err
				}
				begin = i + 1
			}
		}
	}
	return w.item(begin, len(w.text), 1, 0)
}

// add appends a segment of text as it is.
func (w *weigher) add(begin, end int, weight float64) {
	if begin < end {
		w.segments = append(w.segments, Segment{w.text[begin:end], weight})
	}
}

// item appends what begins at an outermost parenthesis: what stands between
// parentheses with its own weight, other text as it is.
func (w *weigher) item(begin, end int, weight float64, depth int) error {
	if end-begin < 2 || w.text[begin] != '(' || w.text[end-1] != ')' {
		w.add(begin, end, weight)
		return nil
	}
	if depth == maxNesting {
		return fault.New(fault.Workflow, "the prompt nests parentheses deeper than %d", maxNesting)
	}
	begin, end, weight = begin+1, end-1, weight*1.1
	if colon := w.colon(begin, end); colon > begin {
		if f, ok := parseFloat(w.text[colon+1 : end]); ok {
			end, weight = colon, f
		}
	}
	return w.inner(begin, end, weight, depth+1)
}

// colon returns the place of the last colon with no parenthesis behind it, or
// -1.
func (w *weigher) colon(begin, end int) int {
	i := strings.LastIndexAny(w.text[begin:end], ":()")
	if i < 0 || w.text[begin+i] != ':' {
		return -1
	}
	return begin + i
}

// inner cuts a text in which no parenthesis closes that did not open there. The
// first that is not closed begins an item up to the end.
func (w *weigher) inner(begin, end int, weight float64, depth int) error {
	for i := begin; i < end; i++ {
		if w.text[i] != '(' {
			continue
		}
		w.add(begin, i, weight)
		closing, closed := w.closing[i]
		begin = end
		if closed && closing < end {
			begin = closing + 1
		}
		if err := w.item(i, begin, weight, depth); err != nil {
			return err
		}
		i = begin - 1
	}
	w.add(begin, end, weight)
	return nil
}
