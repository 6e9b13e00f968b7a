package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxEmbeddings is how many names of embeddings a prompt may have.
	MaxEmbeddings = 256
	// MaxVectors is how many vectors they may have in all.
	MaxVectors = 64 * (ChunkLength - 2)
)

// A Finder returns the vectors of the textual inversion embedding of a name,
// or false if there is none.
type Finder func(name string) (vectors [][]float32, ok bool)

// embedding is what the names of textual inversion embeddings begin with in a
// prompt.
const embedding = "embedding:"

// splitEmbeddings cuts a text before each embedding that follows a space.
func splitEmbeddings(text string) []string {
	var out []string
	begin := 0
	for at := 0; ; {
		i := strings.Index(text[at:], embedding)
		if i < 0 {
			break
		}
		at += i
		if last, _ := utf8.DecodeLastRuneInString(text[:at]); at > begin && isSpace(last) {
			out = append(out, text[begin:at])
			begin = at
		}
		at += len(embedding)
	}
	if begin < len(text) {
		out = append(out, text[begin:])
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
	if i := strings.IndexAny(words[0], "<["); i >= 0 {
		// What may be a special token ends the name.
		words = append([]string{words[0][:i], words[0][i:]}, words[1:]...)
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

// Embeddings returns the names that a tokenizer asks for if it finds none, up to
// MaxEmbeddings and one more.
func Embeddings(prompt string) []string {
	var names []string
	add := func(name string) ([][]float32, bool) {
		if len(names) <= MaxEmbeddings && !slices.Contains(names, name) {
			names = append(names, name)
		}
		return nil, false
	}
	segments, _ := ParseWeights(prompt) // its error is the tokenizer's too
	for _, s := range segments {
		for _, text := range splitEmbeddings(s.Text) {
			if named, ok := strings.CutPrefix(text, embedding); ok {
				lookup(strings.Trim(named, "\n"), add)
			}
		}
	}
	return names
}
