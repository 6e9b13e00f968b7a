package tokenizer

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/weir-run/weir/fault"
)

// A Token is a token with the weight that the prompt gives it.
type Token struct {
	ID     int32
	Weight float64
	// Vector, if it is not nil, is a vector of a textual inversion embedding,
	// which is read instead of the one that the encoder has for ID.
	Vector []float32
}

// ChunkLength is the number of tokens that CLIP reads at once, start and end
// included.
const ChunkLength = 77

// keepTogether is the number of tokens from which on a segment is cut at the
// end of a chunk rather than moved to the next one as a whole.
const keepTogether = 8

const (
	// MaxEmbeddings is how many names of embeddings a prompt may have.
	MaxEmbeddings = 256
	// MaxVectors is how many vectors they may have in all.
	MaxVectors = 64 * (ChunkLength - 2)
)

// A Finder returns the vectors of the textual inversion embedding of a name,
// or false if there is none.
type Finder func(name string) (vectors [][]float32, ok bool)

// Chunks encodes a prompt with its weights and embeddings as ComfyUI does:
// chunks of 77 tokens, each with a start and an end token, the last one (and
// those that a short segment did not fit in) filled up with pad. There is at
// least one. The names of embeddings that find does not have are left out of
// the prompt and returned.
func (c *CLIP) Chunks(ctx context.Context, prompt string, pad int32, find Finder) (chunks [][]Token, missing []string, err error) {
	segments, err := ParseWeights(prompt)
	if err != nil {
		return nil, nil, err
	}
	b, embedded := chunker{pad: pad}, 0
	b.open()
	for _, s := range segments {
		for _, text := range splitEmbeddings(s.Text) {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			if named, ok := strings.CutPrefix(text, embedding); ok {
				named = strings.Trim(named, "\n")
				vectors, rest, ok := lookup(named, find)
				if !ok {
					missing = append(missing, named)
				}
				if embedded += len(vectors); embedded > MaxVectors {
					return nil, nil, fault.New(fault.Workflow, "the embeddings of the prompt have more than %d vectors", MaxVectors)
				}
				b.add(tokensOf(vectors, s.Weight))
				text = rest
			}
			b.add(weighted(c.Encode(text), s.Weight))
		}
	}
	b.close()
	return b.chunks, missing, nil
}

func weighted(ids []int32, weight float64) []Token {
	tokens := make([]Token, len(ids))
	for i, id := range ids {
		tokens[i] = Token{ID: id, Weight: weight}
	}
	return tokens
}

func tokensOf(vectors [][]float32, weight float64) []Token {
	tokens := make([]Token, len(vectors))
	for i, v := range vectors {
		tokens[i] = Token{Weight: weight, Vector: v}
	}
	return tokens
}

type chunker struct {
	pad    int32
	chunks [][]Token
	chunk  []Token
}

func (b *chunker) open() {
	b.chunk = append(make([]Token, 0, ChunkLength), Token{ID: CLIPStart, Weight: 1})
}

func (b *chunker) close() {
	b.chunk = append(b.chunk, Token{ID: CLIPEnd, Weight: 1})
	for len(b.chunk) < ChunkLength {
		b.chunk = append(b.chunk, Token{ID: b.pad, Weight: 1})
	}
	b.chunks = append(b.chunks, b.chunk)
}

// add appends the tokens of a segment or of an embedding, opening chunks as
// they are needed.
func (b *chunker) add(tokens []Token) {
	large := len(tokens) >= keepTogether
	for len(tokens) > 0 {
		n := len(tokens)
		if room := ChunkLength - 1 - len(b.chunk); n > room {
			n = 0
			if large {
				n = room
			}
		}
		b.chunk = append(b.chunk, tokens[:n]...)
		if tokens = tokens[n:]; len(tokens) > 0 {
			b.close()
			b.open()
		}
	}
}

// embedding is what the names of textual inversion embeddings begin with in a
// prompt.
const embedding = "embedding:"

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

// lookup returns the vectors of the embedding that a text begins with and the
// rest of the text. Commas around a name belong to it only if there is an
// embedding of that name.
func lookup(text string, find Finder) (vectors [][]float32, rest string, ok bool) {
	words := strings.FieldsFunc(text, isSpace)
	if len(words) == 0 {
		return nil, "", false
	}
	name, rest := words[0], strings.Join(words[1:], " ")
	if vectors, ok = find(name); ok {
		return vectors, rest, true
	}
	stripped := strings.Trim(name, ",")
	if stripped == name {
		return nil, rest, false
	}
	vectors, ok = find(stripped)
	// ComfyUI takes as many characters from the front, whatever side the commas
	// were on.
	return vectors, string([]rune(name)[len([]rune(stripped)):]) + " " + rest, ok
}

// isSpace reports what Python's str.split cuts at.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1C && r <= 0x1F }

// Embeddings returns the names that Chunks asks for if it finds none, up to
// MaxEmbeddings and one more.
func Embeddings(prompt string) []string {
	var names []string
	add := func(name string) ([][]float32, bool) {
		if len(names) <= MaxEmbeddings && !slices.Contains(names, name) {
			names = append(names, name)
		}
		return nil, false
	}
	segments, _ := ParseWeights(prompt) // its error is Chunks' too
	for _, s := range segments {
		for _, text := range splitEmbeddings(s.Text) {
			if named, ok := strings.CutPrefix(text, embedding); ok {
				lookup(strings.Trim(named, "\n"), add)
			}
		}
	}
	return names
}
