package tokenizer

import (
	"strconv"
	"strings"
)

// A Token is a token with the weight that the prompt gives it.
type Token struct {
	ID     int32
	Weight float32
}

// A Segment is a piece of a prompt with one weight.
type Segment struct {
	Text   string
	Weight float32
}

// embedding is what the names of textual inversion embeddings begin with in a
// prompt.
const embedding = "embedding:"

// ParseWeights cuts a prompt into segments by its parentheses: (text) weighs
// 1.1 times what is around it, (text:1.3) weighs 1.3, nested ones multiply or
// replace from the outside in, and \( and \) are plain characters.
func ParseWeights(prompt string) []Segment {
	// Escaped parentheses become control characters while nesting is read.
	escaped := strings.NewReplacer(`\)`, "\x00\x01", `\(`, "\x00\x02").Replace(prompt)
	plain := strings.NewReplacer("\x00\x01", ")", "\x00\x02", "(")
	segments := weigh(nil, escaped, 1, 0)
	for i := range segments {
		segments[i].Text = plain.Replace(segments[i].Text)
	}
	return segments
}

// maxNesting bounds the depth of parentheses; deeper ones are text.
const maxNesting = 256

func weigh(out []Segment, text string, weight float64, depth int) []Segment {
	for _, item := range splitParentheses(text) {
		if depth == maxNesting || len(item) < 2 || item[0] != '(' || item[len(item)-1] != ')' {
			out = append(out, Segment{item, float32(weight)})
			continue
		}
		inner, w := item[1:len(item)-1], weight*1.1
		if colon := strings.LastIndexByte(inner, ':'); colon > 0 {
			if f, err := strconv.ParseFloat(strings.TrimSpace(inner[colon+1:]), 64); err == nil {
				inner, w = inner[:colon], f
			}
		}
		out = weigh(out, inner, w, depth+1)
	}
	return out
}

// splitParentheses cuts text into its outermost parenthesized parts and what
// is between them. A parenthesis without a partner stays in the text.
func splitParentheses(text string) []string {
	var out []string
	begin, level := 0, 0
	cut := func(end int) {
		if end > begin {
			out = append(out, text[begin:end])
		}
		begin = end
	}
	for i := range len(text) {
		switch text[i] {
		case '(':
			if level == 0 {
				cut(i)
			}
			level++
		case ')':
			level--
			if level == 0 {
				cut(i + 1)
			}
		}
	}
	cut(len(text))
	return out
}

// ChunkLength is the number of tokens that CLIP reads at once, start and end
// included.
const ChunkLength = 77

// keepTogether is the number of tokens from which on a segment is cut at the
// end of a chunk rather than moved to the next one as a whole.
const keepTogether = 8

// Chunks encodes a prompt with its weights as ComfyUI does: chunks of 77
// tokens, each with a start and an end token, the last one (and those that a
// short segment did not fit in) filled up with pad. There is at least one.
func (c *CLIP) Chunks(prompt string, pad int32) [][]Token {
	b := chunker{pad: pad}
	b.open()
	for _, s := range ParseWeights(prompt) {
		for _, text := range splitEmbeddings(s.Text) {
			b.add(c.Encode(text), s.Weight)
		}
	}
	b.close()
	return b.chunks
}

type chunker struct {
	pad    int32
	chunks [][]Token
	chunk  []Token
}

func (b *chunker) open() {
	b.chunk = append(make([]Token, 0, ChunkLength), Token{CLIPStart, 1})
}

func (b *chunker) close() {
	b.chunk = append(b.chunk, Token{CLIPEnd, 1})
	for len(b.chunk) < ChunkLength {
		b.chunk = append(b.chunk, Token{b.pad, 1})
	}
	b.chunks = append(b.chunks, b.chunk)
}

// add appends the tokens of a segment, opening chunks as they are needed.
func (b *chunker) add(ids []int32, weight float32) {
	large := len(ids) >= keepTogether
	for len(ids) > 0 {
		n := len(ids)
		if room := ChunkLength - 1 - len(b.chunk); n > room {
			n = 0
			if large {
				n = room
			}
		}
		for _, id := range ids[:n] {
			b.chunk = append(b.chunk, Token{id, weight})
		}
		if ids = ids[n:]; len(ids) > 0 {
			b.close()
			b.open()
		}
	}
}

// Embeddings returns the names of the textual inversion embeddings that a
// prompt asks for.
func Embeddings(prompt string) []string {
	var names []string
	for _, s := range ParseWeights(prompt) {
		for _, text := range splitEmbeddings(s.Text) {
			if name, ok := strings.CutPrefix(text, embedding); ok {
				name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
				names = append(names, strings.TrimRight(name, ","))
			}
		}
	}
	return names
}

// splitEmbeddings cuts a text before each embedding that begins a word.
func splitEmbeddings(text string) []string {
	var out []string
	text = strings.ReplaceAll(text, "\n"+embedding, " "+embedding)
	for i, part := range strings.Split(text, " "+embedding) {
		if i > 0 {
			part = embedding + part
		}
		if part != "" {
			out = append(out, part)
		}
	}
	return out
}
